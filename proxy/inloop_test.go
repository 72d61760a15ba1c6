package proxy_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"hosier/egress"
	"hosier/internal/sockstest"
	"hosier/proxy"
	"hosier/socks"
)

// loopEgress is one that a server may ask in its event loop.
type loopEgress struct {
	egress.Unsupported
	dial          func(context.Context, egress.Loop) (net.Conn, error) // l is nil on a goroutine
	inLoop, other atomic.Int32
}

func (e *loopEgress) Dial(ctx context.Context, _ *socks.Request) (net.Conn, socks.Addr, error) {
	e.other.Add(1)
	c, err := e.dial(ctx, nil)
	return c, socks.Addr{}, err
}

func (e *loopEgress) DialInLoop(ctx context.Context, l egress.Loop, _ *socks.Request) (net.Conn, socks.Addr, error) {
	e.inLoop.Add(1)
	c, err := e.dial(ctx, l)
	return c, socks.Addr{}, err
}

func needsLoops(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" || os.Getenv(sockstest.OnGoroutines) != "" {
		t.Skip("there are no event loops")
	}
}

// TestInLoop has an egress dial in the event loop, and leave it at different times.
func TestInLoop(t *testing.T) {
	needsLoops(t)
	w := sockstest.NewWorld(t)
	at := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port) }
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	mute := at(uint16(silent.Addr().(*net.TCPAddr).Port))
	wait := func() { <-time.After(time.Millisecond) }
	for name, test := range map[string]struct {
		dial func(context.Context, egress.Loop) (net.Conn, error)
		code byte
	}{
		"connects": {dial: func(ctx context.Context, l egress.Loop) (net.Conn, error) {
			return l.Connect(ctx, at(w.Echo), time.Minute)
		}},
		"is refused": {code: 5, dial: func(ctx context.Context, l egress.Loop) (net.Conn, error) {
			return l.Connect(ctx, at(w.Refused), time.Minute)
		}},
		"is refused, and goes on": {dial: func(ctx context.Context, l egress.Loop) (net.Conn, error) {
			l.Connect(ctx, at(w.Refused), time.Minute)
			return l.Connect(ctx, at(w.Echo), time.Minute)
		}},
		"leaves before": {dial: func(ctx context.Context, l egress.Loop) (net.Conn, error) {
			l.Leave()
			wait()
			return l.Connect(ctx, at(w.Echo), time.Minute)
		}},
		"leaves after": {dial: func(ctx context.Context, l egress.Loop) (net.Conn, error) {
			c, err := l.Connect(ctx, at(w.Echo), time.Minute)
			l.Leave()
			wait()
			return c, err
		}},
		"is interrupted": {code: 6, dial: func(ctx context.Context, l egress.Loop) (net.Conn, error) {
			c, err := l.Connect(ctx, mute, time.Minute)
			if err != nil {
				return nil, err
			}
			defer c.Close()
			time.AfterFunc(20*time.Millisecond, func() { c.SetDeadline(time.Unix(1, 0)) })
			_, err = c.Read(make([]byte, 1))
			return nil, err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			out := &loopEgress{dial: test.dial}
			c := connect(t, sockstest.Serve(t, &proxy.Server{}, out))
			c.send(join([]byte{5, 1, 0}, connect5("x.test", 80)))
			c.expect([]byte{5, 0, 5, test.code})
			if test.code == 0 {
				io.ReadFull(c, make([]byte, 8)) // the bound address
				c.send([]byte("ping"))
				c.expect([]byte("ping"))
			}
			if in, other := out.inLoop.Load(), out.other.Load(); in != 1 || other != 0 {
				t.Errorf("dialled %d times in the loop and %d times elsewhere, want 1 and 0", in, other)
			}
		})
	}
}

// TestStaysInLoop has clients of each dialect, with a login and without, come to the egress in
// the event loop.
func TestStaysInLoop(t *testing.T) {
	needsLoops(t)
	w := sockstest.NewWorld(t)
	ann := []byte{1, 3, 'a', 'n', 'n', 1, 'x'}
	connectTo := "CONNECT x.test:80 HTTP/1.1\r\nHost: x.test:80\r\n"
	for name, test := range map[string]struct {
		known  bool
		say    []byte
		answer []byte
		inLoop bool
	}{
		"SOCKS4A":                {say: []byte("\x04\x01\x00\x50\x00\x00\x00\x01\x00x.test\x00"), answer: []byte{0, 90}, inLoop: true},
		"SOCKS5, known login":    {known: true, say: join([]byte{5, 1, 2}, ann, connect5("x.test", 80)), answer: []byte{5, 2, 1, 0, 5, 0}, inLoop: true},
		"SOCKS5, new login":      {say: join([]byte{5, 1, 2}, ann, connect5("x.test", 80)), answer: []byte{5, 2, 1, 0, 5, 0}},
		"CONNECT":                {say: []byte(connectTo + "\r\n"), answer: []byte("HTTP/1.1 200 "), inLoop: true},
		"CONNECT, known login":   {known: true, say: []byte(connectTo + "Proxy-Authorization: Basic YW5uOng=\r\n\r\n"), answer: []byte("HTTP/1.1 200 "), inLoop: true},
		"CONNECT, new login":     {say: []byte(connectTo + "Proxy-Authorization: Basic YW5uOng=\r\n\r\n"), answer: []byte("HTTP/1.1 200 ")},
		"SOCKS4A, known user id": {known: true, say: []byte("\x04\x01\x00\x50\x00\x00\x00\x01ann\x00x.test\x00"), answer: []byte{0, 90}, inLoop: true},
	} {
		t.Run(name, func(t *testing.T) {
			out := &loopEgress{}
			out.dial = func(ctx context.Context, l egress.Loop) (net.Conn, error) {
				to := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), w.Echo)
				if l == nil {
					return net.Dial("tcp", to.String())
				}
				return l.Connect(ctx, to, time.Minute)
			}
			var verified atomic.Int32
			users := make(chan string, 1)
			s := &proxy.Server{Closed: func(ses *proxy.Session) { users <- ses.User }}
			asksLogin := test.known || !test.inLoop
			if asksLogin {
				s.Policy.Known = func(_ *proxy.Session, a socks.Auth) (string, bool) { return a.User, test.known }
				s.Policy.Verify = func(_ *proxy.Session, a socks.Auth) (string, error) { verified.Add(1); return a.User, nil }
			}
			c := connect(t, sockstest.Serve(t, s, out))
			c.send(test.say)
			c.expect(test.answer)
			c.Close()
			if in := out.inLoop.Load() == 1; in != test.inLoop {
				t.Errorf("dialled in the loop: %v, want %v", in, test.inLoop)
			}
			if asked := verified.Load() > 0; asked != (asksLogin && !test.known) {
				t.Errorf("Verify was asked: %v", asked)
			}
			if user := <-users; asksLogin && user != "ann" {
				t.Errorf("user is %q", user)
			}
		})
	}
}

// TestEndInLoop ends connections from outside whose upstream takes the request and says nothing,
// or nothing at all.
func TestEndInLoop(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	greeted := make(chan bool, 8)
	answer := atomic.Bool{}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			if answer.Load() {
				c.Write([]byte{5, 0})
			}
			b := make([]byte, 64)
			c.Read(b) // the greeting
			greeted <- true
		}
	}()
	errEnd := errors.New("ended by the test")
	for _, out := range []egress.Egress{
		&egress.SOCKS{Dialer: socks.Dialer{Proxy: l.Addr().String()}},
		&egress.HTTP{Proxy: l.Addr().String()},
		&egress.Failover{Members: []egress.Member{{Name: "a", Egress: &egress.SOCKS{Dialer: socks.Dialer{Proxy: l.Addr().String()}}}}},
	} {
		for _, answers := range []bool{false, true} {
			answer.Store(answers)
			closed := make(chan *proxy.Session, 1)
			s := &proxy.Server{Closed: func(ses *proxy.Session) { closed <- ses }}
			c := connect(t, sockstest.Serve(t, s, out))
			c.send(join([]byte{5, 1, 0}, connect5("x.test", 80)))
			<-greeted
			if n := s.End(errEnd, func(*proxy.Session) bool { return true }); n != 1 {
				t.Fatalf("%v: %d connections ended, want 1", out, n)
			}
			if ses := <-closed; !errors.Is(ses.Err, errEnd) {
				t.Errorf("%v: Err of the session is %v", out, ses.Err)
			}
			c.Close()
		}
	}
}
