package main

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"hosier/internal/sockstest"
	"hosier/internal/tcptest"
	"hosier/proxy"
	"hosier/socks"
)

// hungProxy accepts and says nothing. It counts those who come.
func hungProxy(tb testing.TB) (address string, came *atomic.Int32) {
	came = new(atomic.Int32)
	return tcptest.Listen(tb, func(c net.Conn) {
		came.Add(1)
		io.Copy(io.Discard, c)
	}), came
}

func codeThrough(tb testing.TB, proxy, target string) socks.Status {
	tb.Helper()
	c, err := (&socks.Dialer{Proxy: proxy}).DialContext(tb.Context(), "tcp", target)
	if err == nil {
		c.Close()
		return socks.Succeeded
	}
	status := socks.Status(0)
	if !errors.As(err, &status) {
		tb.Fatal(err)
	}
	return status
}

// A member that hangs does not use up the time of the next one, which then has the requests
// to itself. Where a dialect has no greeting, it takes three requests to tell it from a slow
// target.
func TestHungMember(t *testing.T) {
	for kind, first := range map[string][]socks.Status{
		"socks5":  {socks.Succeeded},
		"socks4a": {socks.TTLExpired, socks.TTLExpired, socks.Succeeded},
		"http":    {socks.TTLExpired, socks.TTLExpired, socks.Succeeded},
		"tor":     {socks.Succeeded},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			hung, came := hungProxy(t)
			live, target := start(t), tcptest.Listen(t, tcptest.Echo)
			h := start(t, "--via", kind+"://"+hung, "--via", "socks5://"+live.addr(), "--connect-timeout", "2s")
			for i, want := range first {
				if got := codeThrough(t, h.addr(), target); got != want {
					t.Fatalf("request %d: %v, want %v\n%s", i, got, want, h.log.String())
				}
			}
			before := came.Load()
			if got := codeThrough(t, h.addr(), target); got != socks.Succeeded {
				t.Errorf("afterwards: %v", got)
			}
			if kind == "tor" {
				h.awaitLog(t, `level=WARN msg="tor is out"`)
			} else {
				h.awaitLog(t, `level=WARN msg="egress does not work" egress=`+kind+`://`)
			}
			if n := int(came.Load() - before); n > 1 { // a slow machine may be here when it is to be tried again
				t.Errorf("%d connections went to the one that hangs", n)
			}
		})
	}
}

// A lookup goes on to the next member like a connection.
func TestLookupFailsOver(t *testing.T) {
	dns := sockstest.NewWorld(t).DNS
	live := start(t, "--dns", dns.Addr)
	for name, closes := range map[string]func(net.Conn){
		"at once":              func(net.Conn) {},
		"behind the greeting":  func(c net.Conn) { c.Read(make([]byte, 512)) },
		"in place of a reply":  func(c net.Conn) { c.Read(make([]byte, 3)); io.WriteString(c, "\x05\x00"); c.Read(make([]byte, 512)) },
		"with a broken answer": func(c net.Conn) { c.Read(make([]byte, 512)); io.WriteString(c, "HTTP/1.0 400 no\r\n\r\n") },
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, "--via", "socks5://"+tcptest.Listen(t, closes), "--via", "socks5://"+live.addr())
			d := &socks.Dialer{Proxy: h.addr()}
			if ip, err := d.Resolve(t.Context(), "both.test"); err != nil || ip.String() != "127.0.0.1" {
				t.Errorf("RESOLVE: %v, %v", ip, err)
			}
		})
	}
}

// An egress that stands alone has one line when it goes away, one when it refuses the login,
// one when it is back, and none for what its targets do. None of them has a password.
func TestEgressNews(t *testing.T) {
	// Nobody takes a port of this address meanwhile.
	l, err := net.Listen("tcp", "127.93.7.42:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	h := start(t, "--via", "socks5://me:hunter2@"+address)
	lines := func(level string) int {
		return strings.Count(h.log.String(), "level="+level+` msg="egress `)
	}
	target := tcptest.Listen(t, tcptest.Echo)
	for range 5 {
		if got := codeThrough(t, h.addr(), target); got != socks.GeneralFailure {
			t.Fatalf("nobody there: %v", got)
		}
	}
	h.awaitLog(t, `level=WARN msg="egress does not work" egress=socks5://`+address+` reason=.*connection refused`)
	if l, err = net.Listen("tcp", address); err != nil {
		t.Fatal(err)
	}
	s := &proxy.Server{Policy: proxy.Policy{Route: nil}} // which refuses every request, with an answer
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-done })
	for range 5 {
		if got := codeThrough(t, h.addr(), target); got != socks.NotAllowed {
			t.Fatalf("a target that is refused: %v", got)
		}
	}
	h.awaitLog(t, `level=INFO msg="egress works again" egress=socks5://`+address+` after=`)
	if lines("WARN") != 1 || lines("INFO") != 1 || strings.Contains(h.log.String(), "hunter2") {
		t.Errorf("the log:\n%s", h.log.String())
	}
}

// Without a tor the service stays, says so and refuses with 01. That it serves once there is
// one is TestOthers of package tor.
func TestTorComesLater(t *testing.T) {
	for _, address := range []string{"127.0.0.1:9050", "127.0.0.1:9150"} {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			t.Skipf("a tor runs on %s", address)
		}
	}
	h := start(t, "--via", "tor")
	h.awaitLog(t, `level=WARN msg="no tor runs here yet.*apt-get install tor`)
	for range 2 {
		if got := codeThrough(t, h.addr(), "a.test:80"); got != socks.GeneralFailure {
			t.Errorf("without a tor: %v", got)
		}
	}
	h.awaitLog(t, `level=WARN msg="tor is out"`)
}
