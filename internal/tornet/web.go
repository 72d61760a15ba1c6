package tornet

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
)

// Greeting is the body of the web server's page "/".
const Greeting = "you reached the web server of tornet\n"

// Bytes returns the body of the web server's page /bytes/n: always the same n
// bytes, without a pattern that a lost or doubled block could hide in.
func Bytes(n int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{}), n)
}

// web is the server that the exits and the onion service lead to.
type web struct {
	server http.Server
	addr   netip.AddrPort
	loops  sync.WaitGroup
}

// listenWeb starts the server on a port that is free on 127.0.0.1, 127.0.0.2
// and, where this machine has it, ::1.
func listenWeb() (*web, error) {
	listeners, err := listenEverywhere()
	if err != nil {
		return nil, fmt.Errorf("web server: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, Greeting) })
	mux.HandleFunc("GET /bytes/{n}", serveBytes)
	s := &web{addr: netip.MustParseAddrPort(listeners[0].Addr().String())}
	s.server.Handler = mux
	for _, l := range listeners {
		s.loops.Go(func() { s.server.Serve(l) })
	}
	return s, nil
}

func (s *web) close() error {
	err := s.server.Close()
	s.loops.Wait()
	return err
}

func serveBytes(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseInt(r.PathValue("n"), 10, 64)
	if err != nil || n < 0 {
		http.Error(w, "the page is /bytes/N, N a number of bytes", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	w.Header().Set("Content-Type", "application/octet-stream")
	// A client that hangs up before the end is no concern of the server.
	_, _ = io.Copy(w, Bytes(n))
}

// listenEverywhere returns listeners with one port, that on 127.0.0.1 first.
func listenEverywhere() ([]net.Listener, error) {
	var err error
	for range 10 {
		var first, l net.Listener
		if first, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, err
		}
		listeners := []net.Listener{first}
		port := netip.MustParseAddrPort(first.Addr().String()).Port()
		for _, host := range otherHosts() {
			if l, err = net.Listen("tcp", joinPort(host, port)); err != nil {
				break
			}
			listeners = append(listeners, l)
		}
		if err == nil {
			return listeners, nil
		}
		for _, l := range listeners {
			l.Close()
		}
	}
	return nil, errors.Join(errors.New("no port is free on all loopback addresses"), err)
}

// otherHosts returns the addresses, apart from 127.0.0.1, that the zone's names
// lead to and this machine has.
func otherHosts() []string {
	hosts := []string{"127.0.0.2"}
	if l, err := net.Listen("tcp", "[::1]:0"); err == nil {
		l.Close()
		hosts = append(hosts, "::1")
	}
	return hosts
}
