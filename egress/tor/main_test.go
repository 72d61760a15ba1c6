package tor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hosier/internal/sockstest"
	"hosier/internal/tornet"
	"hosier/proxy"
	"hosier/socks"
)

// patience bounds every wait in these tests. None of them measures time.
const patience = time.Minute

// network is for all tests that kill none of its clients.
var network = tornet.Shared{Options: tornet.Options{Clients: 2, Onion: true}}

func TestMain(m *testing.M) {
	code := m.Run()
	network.Close()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// attached is the member that a client of the network is, with its control port.
func attached(c *tornet.Client) Member {
	return Member{SOCKS: c.SOCKSExtended, Control: c.Control}
}

// run has the pool watch its members until the test ends, or the function is called.
func run(tb testing.TB, p *Pool) (stop func()) {
	tb.Helper()
	p.init()
	ctx, cancel := context.WithCancelCause(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.Run(ctx)
	}()
	stop = func() {
		cancel(errors.New("the test has ended"))
		<-done
	}
	tb.Cleanup(stop)
	return stop
}

// serve runs hosier over the pool and returns its address.
func serve(tb testing.TB, p *Pool) string {
	tb.Helper()
	return sockstest.Serve(tb, &proxy.Server{Policy: proxy.Policy{ExtendedErrors: true}}, p)
}

// await waits until the condition holds.
func await(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("waited %v for %s", patience, what)
		}
	}
}

// awaitState waits until the members have these states.
func awaitState(tb testing.TB, p *Pool, want ...State) {
	tb.Helper()
	await(tb, fmt.Sprintf("states %v", want), func() bool {
		for i, m := range p.all {
			if want[i] != p.status(m).State {
				return false
			}
		}
		return true
	})
}

// awaitWatched waits until the control port of each member has told that it is ready.
func awaitWatched(tb testing.TB, p *Pool) {
	tb.Helper()
	await(tb, "control ports", func() bool {
		for _, m := range p.all {
			if s := p.status(m); s.State != Ready || s.Circuits != "yes" {
				return false
			}
		}
		return true
	})
}

// web is the address of a page's host by a name that only the exits can look up.
func web(n *tornet.Network, label string) string {
	return fmt.Sprintf("%s.%s:%d", label, tornet.Domain, n.Web.Port())
}

// get fetches a page over a connection that leads to its server.
func get(c net.Conn, path string) (string, error) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	r, err := request(c, path)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	return string(body), err
}

// request begins to fetch a page; the body is the caller's to read.
func request(c net.Conn, path string) (*http.Response, error) {
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: tornet\r\nConnection: close\r\n\r\n", path); err != nil {
		return nil, err
	}
	return http.ReadResponse(bufio.NewReader(c), nil)
}

// user is a client with credentials.
func user(proxy, name string) *socks.Dialer {
	return &socks.Dialer{Proxy: proxy, Auth: socks.Auth{Method: socks.UserPass, User: name, Password: "secret of " + name}}
}

// dial connects, or fails the test.
func dial(tb testing.TB, d *socks.Dialer, target string) net.Conn {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	c, err := d.DialContext(ctx, "tcp", target)
	if err != nil {
		tb.Fatalf("%s: %v", target, err)
	}
	tb.Cleanup(func() { c.Close() })
	return c
}

// attempt connects and hangs up, and returns the error.
func attempt(tb testing.TB, d *socks.Dialer, target string) error {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	c, err := d.DialContext(ctx, "tcp", target)
	if err == nil {
		c.Close()
	}
	return err
}

func connectRequest(user string) *socks.Request {
	return &socks.Request{
		Version: socks.V5, Command: socks.Connect,
		Addr:   socks.Addr{Name: "www.example", Port: 80},
		Auth:   socks.Auth{Method: socks.UserPass, User: user, Password: "p"},
		Client: netip.MustParseAddrPort("192.0.2.1:4321"), Listener: "127.0.0.1:1080",
	}
}
