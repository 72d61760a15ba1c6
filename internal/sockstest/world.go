package sockstest

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"testing"

	"hosier/egress"
	"hosier/internal/tcptest"
	"hosier/proxy"
	"hosier/resolver"
	"hosier/socks"
)

func itoa(b byte) string { return strconv.Itoa(int(b)) }

// World is what an egress leads to in a test, on loopback. Its zone has
//
//	echo.test     127.0.0.1         six.test      ::1
//	both.test     127.0.0.1, ::1    dead6.test    127.0.0.1, and an IPv6 address that refuses
//	broken.test   SERVFAIL          silent.test   never answered
//
// and PTR records for 192.0.2.7 (ptr.test) and 2001:db8::7 (ptr6.test).
type World struct {
	DNS     *DNS
	Echo    uint16 // a port of 127.0.0.1 and ::1 where what is sent comes back, then the end
	Greeter uint16 // a port of 127.0.0.1 where the server speaks first: "hello\n", then echoes
	Refused uint16 // a port of 127.0.0.1 where nobody listens

	tb testing.TB
}

// NewWorld starts a world that ends with the test.
func NewWorld(tb testing.TB) *World {
	tb.Helper()
	w := &World{DNS: NewDNS(tb), tb: tb}
	w.DNS.Set("echo.test", "127.0.0.1")
	w.DNS.Set("six.test", "::1")
	w.DNS.Set("both.test", "127.0.0.1", "::1")
	w.DNS.Set("dead6.test", "127.0.0.1", "::2")
	w.DNS.Set("ptr.test", "192.0.2.7")
	w.DNS.Set("ptr6.test", "2001:db8::7")
	w.DNS.Break("broken.test")
	w.DNS.Silence("silent.test")
	w.Echo = serve(tb, "127.0.0.1:0", "")
	serve(tb, net.JoinHostPort("::1", strconv.Itoa(int(w.Echo))), "")
	w.Greeter = serve(tb, "127.0.0.1:0", "hello\n")
	w.Refused = RefusedPort(tb)
	return w
}

// RefusedPort returns a port of 127.0.0.1 that is held but not listened on.
func RefusedPort(tb testing.TB) uint16 {
	tb.Helper()
	held, err := holdPort()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(held.close)
	return held.port
}

// serve echoes each connection after a greeting, and returns the port.
func serve(tb testing.TB, address, greeting string) uint16 {
	tb.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		tb.Fatal(err)
	}
	tcptest.Serve(tb, l, func(c net.Conn) {
		io.WriteString(c, greeting)
		tcptest.Echo(c)
	})
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}

// Direct returns the egress of w's network, whose names w's DNS server knows.
func (w *World) Direct() *egress.Direct {
	return &egress.Direct{Resolver: Resolver(w.tb, w.DNS.Addr)}
}

// Resolver returns one that asks the DNS server at an address, ip:port, and ends with the test.
func Resolver(tb testing.TB, dns string) *resolver.Resolver {
	r := &resolver.Resolver{Servers: []resolver.Server{{Addr: netip.MustParseAddrPort(dns)}}}
	tb.Cleanup(func() { r.Close() })
	return r
}

// Egress is an egress made of functions. A nil one is refused as unsupported. It
// remembers each request, and is safe for concurrent use if the functions are.
type Egress struct {
	DialFunc    func(context.Context, *socks.Request) (net.Conn, socks.Addr, error)
	ResolveFunc func(context.Context, *socks.Request) (netip.Addr, error)
	PTRFunc     func(context.Context, *socks.Request) (string, error)

	mu       sync.Mutex
	requests []socks.Request
}

// Dial calls DialFunc.
func (e *Egress) Dial(ctx context.Context, r *socks.Request) (net.Conn, socks.Addr, error) {
	e.remember(r)
	if e.DialFunc == nil {
		return nil, socks.Addr{}, errors.ErrUnsupported
	}
	return e.DialFunc(ctx, r)
}

// Resolve calls ResolveFunc.
func (e *Egress) Resolve(ctx context.Context, r *socks.Request) (netip.Addr, error) {
	e.remember(r)
	if e.ResolveFunc == nil {
		return netip.Addr{}, errors.ErrUnsupported
	}
	return e.ResolveFunc(ctx, r)
}

// ResolvePTR calls PTRFunc.
func (e *Egress) ResolvePTR(ctx context.Context, r *socks.Request) (string, error) {
	e.remember(r)
	if e.PTRFunc == nil {
		return "", errors.ErrUnsupported
	}
	return e.PTRFunc(ctx, r)
}

func (e *Egress) remember(r *socks.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.requests = append(e.requests, *r)
}

// Requests returns the requests so far, in order.
func (e *Egress) Requests() []socks.Request {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]socks.Request(nil), e.requests...)
}

// OnGoroutines is the environment variable that has Serve give each connection a
// goroutine, where it would be in an event loop otherwise.
const OnGoroutines = "SOCKSTEST_GOROUTINES"

// Serve runs s on a port of loopback until the test ends, and returns its address. Its
// Route leads to out unless s has one, and must not wait.
func Serve(tb testing.TB, s *proxy.Server, out egress.Egress) string {
	tb.Helper()
	s.NonBlocking = os.Getenv(OnGoroutines) == ""
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	if s.Policy.Route == nil && s.PolicyFor == nil {
		s.Policy.Route = func(context.Context, *proxy.Session) (proxy.Route, error) { return proxy.Route{Egress: out}, nil }
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	tb.Cleanup(func() {
		s.Close()
		if err := <-done; !errors.Is(err, proxy.ErrServerClosed) {
			tb.Errorf("Serve returned %v", err)
		}
	})
	return l.Addr().String()
}
