package tor

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"hosier/internal/sockstest"
	"hosier/proxy"
	"hosier/socks"
)

// listen serves each connection to a port of 127.0.0.1 until the test ends.
func listen(tb testing.TB, serve func(net.Conn)) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			all.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	tb.Cleanup(func() {
		l.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return l.Addr().String()
}

// fakeControl is a control port that lets everybody in, and knows no cookie. It passes each
// command on.
func fakeControl(tb testing.TB, methods, file string, command func(string)) string {
	tb.Helper()
	return listen(tb, func(c net.Conn) {
		for lines := bufio.NewScanner(c); lines.Scan(); {
			command(lines.Text())
			switch verb, _, _ := strings.Cut(lines.Text(), " "); verb {
			case "PROTOCOLINFO":
				fmt.Fprintf(c, "250-PROTOCOLINFO 1\r\n250-AUTH METHODS=%s COOKIEFILE=%s\r\n250-VERSION Tor=\"0.4.9.11\"\r\n250 OK\r\n", methods, quote(file))
			case "AUTHCHALLENGE":
				fmt.Fprintf(c, "250 AUTHCHALLENGE SERVERHASH=%064d SERVERNONCE=%064d\r\n", 0, 0)
			default:
				fmt.Fprint(c, "250 OK\r\n")
			}
		}
	})
}

// fakeTor is a SOCKS port that remembers what it was asked.
func fakeTor(tb testing.TB, answer *sockstest.Egress) (address string, logins func() []socks.Auth) {
	var mu sync.Mutex
	var all []socks.Auth
	s := &proxy.Server{Policy: proxy.Policy{Verify: func(_ *proxy.Session, a socks.Auth) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, a)
		return "", nil
	}}}
	address = sockstest.Serve(tb, s, answer)
	return address, func() []socks.Auth {
		mu.Lock()
		defer mu.Unlock()
		return append([]socks.Auth(nil), all...)
	}
}

func servePlain(tb testing.TB, p *Pool) string {
	tb.Helper()
	return sockstest.Serve(tb, &proxy.Server{}, p)
}

// logged collects what a pool logs.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
