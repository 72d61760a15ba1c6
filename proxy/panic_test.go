package proxy_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hosier/egress"
	"hosier/internal/sockstest"
	"hosier/proxy"
	"hosier/socks"
)

var errOfTest = errors.New("panic of the test")

// A panic in code that the server was given, and a runtime.Goexit, end the connection for which
// it was called, and nothing else.
func TestPanic(t *testing.T) {
	w := sockstest.NewWorld(t)
	for how, act := range map[string]func(){"panic": func() { panic(errOfTest) }, "goexit": runtime.Goexit} {
		for where, wants := range map[string]panicWant{
			"PolicyFor":  {request: []byte{5, 1, 0}},
			"Identify":   {request: []byte{5, 1, 0}},
			"Admit":      {request: []byte{5, 1, 0}},
			"Prepare":    {request: []byte{5, 1, 0}},
			"Known":      {request: []byte{5, 1, 0}},
			"Verify":     {request: []byte{5, 1, 0}},
			"Page":       {request: []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")},
			"Route":      {request: join([]byte{5, 1, 0}, connect5("echo.test", w.Echo)), answer: []byte{5, 0, 5, 1}},
			"Plain":      {request: join([]byte{5, 1, 0}, connect5("echo.test", w.Echo)), answer: []byte{5, 0, 5, 1}},
			"DialInLoop": {request: join([]byte{5, 1, 0}, connect5("echo.test", w.Echo)), answer: []byte{5, 0, 5, 1}},
			"Before":     {request: join([]byte{5, 1, 0}, connect5("echo.test", w.Echo)), answer: []byte{5, 0, 5, 1}},
			"Dial":       {request: join([]byte{5, 1, 0}, connect5("echo.test", w.Echo)), answer: []byte{5, 0, 5, 1}},
			"Wrap":       {request: join([]byte{5, 1, 0}, connect5("echo.test", w.Echo)), answer: []byte{5, 0, 5, 1}},
			"Resolved":   {request: join([]byte{5, 1, 0}, lookup5(0xF0)), answer: []byte{5, 0, 5, 1}},
			"Resolve":    {request: join([]byte{5, 1, 0}, lookup5(0xF0)), answer: []byte{5, 0, 5, 1}},
			"ResolvePTR": {request: join([]byte{5, 1, 0}, lookup5(0xF1)), answer: []byte{5, 0, 5, 1}},
		} {
			t.Run(how+"/"+where, func(t *testing.T) { testPanic(t, w, where, act, wants) })
		}
	}
}

type panicWant struct{ request, answer []byte }

// lookup5 is a RESOLVE or RESOLVE_PTR of 127.0.0.1.
func lookup5(command byte) []byte { return []byte{5, command, 0, 1, 127, 0, 0, 1, 0, 0} }

func testPanic(t *testing.T, w *sockstest.World, where string, act func(), want panicWant) {
	trap := &trap{where: where, act: act}
	var logs logBuffer
	closed := make(chan *proxy.Session, 8)
	s := &proxy.Server{
		PolicyFor: trap.policyFor(w.Direct()),
		Closed:    func(ses *proxy.Session) { closed <- ses },
		Log:       slog.New(slog.NewJSONHandler(&logs, nil)),
	}
	address := sockstest.Serve(t, s, nil)
	echo := join([]byte{5, 1, 0}, connect5("echo.test", w.Echo))
	stands := connect(t, address)
	stands.send(echo)
	stands.expect([]byte{5, 0, 5, 0})
	io.ReadFull(stands, make([]byte, 8))

	trap.armed.Store(true)
	c := connect(t, address)
	c.send(want.request)
	got, err := io.ReadAll(c)
	c.Close()
	if want.answer == nil && len(bytes.TrimPrefix(got, []byte{5, 0})) > 0 || !bytes.HasPrefix(got, want.answer) {
		t.Errorf("the client got % x, %v", got, err)
	}
	ses := <-closed
	if !errors.Is(ses.Err, proxy.ErrPanic) || trap.armed.Load() {
		t.Errorf("Err of the session is %v", ses.Err)
	}
	if want.answer != nil && ses.Status != socks.GeneralFailure {
		t.Errorf("Status of the session is %v", ses.Status)
	}
	if text := logs.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "trap") {
		t.Errorf("logged: %s", text)
	}

	next := connect(t, address)
	next.send(echo)
	next.expect([]byte{5, 0, 5, 0})
	stands.send([]byte("ping"))
	stands.expect([]byte("ping"))
	s.Close() // ends the two that are left
	if n := len(closed); n != 2 {
		t.Errorf("Closed was called for %d more sessions, want 2", n)
	}
}

// A panic in Closed has the session closed all the same, and Closed is not called again for it.
func TestPanicInClosed(t *testing.T) {
	w := sockstest.NewWorld(t)
	for how, act := range map[string]func(){"panic": func() { panic(errOfTest) }, "goexit": runtime.Goexit} {
		for name, request := range map[string][]byte{
			"relay":   join([]byte{5, 1, 0}, connect5("echo.test", w.Echo)),
			"refusal": join([]byte{5, 1, 0}, connect5("x.onion", 1)),
			"nothing": nil,
		} {
			t.Run(how+"/"+name, func(t *testing.T) {
				var calls atomic.Int32
				var logs logBuffer
				s := &proxy.Server{
					Closed: func(*proxy.Session) { calls.Add(1); act() },
					Log:    slog.New(slog.NewJSONHandler(&logs, nil)),
				}
				address := sockstest.Serve(t, s, w.Direct())
				for range 3 {
					c := connect(t, address)
					c.send(request)
					if request != nil {
						c.expect([]byte{5, 0, 5})
					}
					c.CloseWrite()
					io.Copy(io.Discard, c)
				}
				s.Close()
				if n := calls.Load(); n != 3 || s.Open() != 0 {
					t.Errorf("Closed was called %d times, and %d are open", n, s.Open())
				}
				if text := logs.String(); strings.Count(text, "\n") != 3 {
					t.Errorf("logged: %s", text)
				}
			})
		}
	}
}

// ServeConn is no other path.
func TestPanicInServeConn(t *testing.T) {
	for how, act := range map[string]func(){"panic": func() { panic(errOfTest) }, "goexit": runtime.Goexit} {
		t.Run(how, func(t *testing.T) {
			closed := make(chan *proxy.Session, 1)
			s := &proxy.Server{
				PolicyFor: func(*proxy.Session) *proxy.Policy { act(); return nil },
				Closed:    func(ses *proxy.Session) { closed <- ses },
				Log:       slog.New(slog.DiscardHandler),
			}
			near, far := net.Pipe()
			s.ServeConn(far, "pipe")
			if _, err := near.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("Read: %v", err)
			}
			ses := <-closed
			if !errors.Is(ses.Err, proxy.ErrPanic) || errors.Is(ses.Err, errOfTest) != (how == "panic") {
				t.Errorf("Err of the session is %v", ses.Err)
			}
			s.Close()
		})
	}
}

// A request of ServeRequest gets its reply, wherever the panic is.
func TestPanicInServeRequest(t *testing.T) {
	for how, act := range map[string]func(){"panic": func() { panic(errOfTest) }, "goexit": runtime.Goexit} {
		for _, where := range []string{"PolicyFor", "Admit", "Route"} {
			t.Run(how+"/"+where, func(t *testing.T) {
				var events []string
				trap := &trap{where: where, act: act}
				trap.armed.Store(true)
				s := &proxy.Server{PolicyFor: trap.policyFor(nil), Log: slog.New(slog.DiscardHandler)}
				p := newPending(&events, socks.Connect, "a.test:80")
				served := make(chan struct{})
				go func() {
					defer close(served)
					s.ServeRequest(t.Context(), p)
				}()
				<-served
				checkEvents(t, events, "refuse")
				if p.status != socks.GeneralFailure || !errors.Is(p.cause, proxy.ErrPanic) || s.Open() != 0 {
					t.Errorf("refused with %v, %v; %d are open", p.status, p.cause, s.Open())
				}
			})
		}
	}
}

// Allow of a request is called by whatever goroutine has the answer of a DNS server.
func TestPanicInAllow(t *testing.T) {
	w := sockstest.NewWorld(t)
	var logs logBuffer
	closed := make(chan *proxy.Session, 1)
	s := &proxy.Server{
		Policy: proxy.Policy{Route: func(_ context.Context, ses *proxy.Session) (proxy.Route, error) {
			ses.Request.Allow = func(netip.Addr) error { panic(errOfTest) }
			return proxy.Route{Egress: w.Direct()}, nil
		}},
		Closed: func(ses *proxy.Session) { closed <- ses },
		Log:    slog.New(slog.NewJSONHandler(&logs, nil)),
	}
	c := connect(t, sockstest.Serve(t, s, nil))
	c.send(join([]byte{5, 1, 0}, connect5("echo.test", w.Echo)))
	c.expect([]byte{5, 0, 5, 1})
	if ses := <-closed; !errors.Is(ses.Err, proxy.ErrPanic) || !errors.Is(ses.Err, errOfTest) {
		t.Errorf("Err of the session is %v", ses.Err)
	}
	if text := logs.String(); !strings.Contains(text, "TestPanicInAllow") {
		t.Errorf("logged: %s", text)
	}
}

// The connection to the target is closed if the one to the client panics when it is granted.
func TestPanicInGrant(t *testing.T) {
	for how, act := range map[string]func(){"panic": func() { panic(errOfTest) }, "goexit": runtime.Goexit} {
		t.Run(how, func(t *testing.T) {
			near, far := net.Pipe()
			closed := make(chan *proxy.Session, 1)
			s := &proxy.Server{Closed: func(ses *proxy.Session) { closed <- ses }, Log: slog.New(slog.DiscardHandler)}
			s.Policy.Prepare = func(_ context.Context, _ *proxy.Session, c net.Conn) (net.Conn, error) {
				return &repliedConn{Conn: c, replied: act}, nil
			}
			c := connect(t, sockstest.Serve(t, s, connEgress{Conn: far}))
			c.send(join([]byte{5, 1, 0}, connect5("x.test", 1)))
			if got, err := io.ReadAll(c); err == nil {
				t.Errorf("the client got % x and an end in order", got)
			}
			if ses := <-closed; !errors.Is(ses.Err, proxy.ErrPanic) {
				t.Errorf("Err of the session is %v", ses.Err)
			}
			near.SetReadDeadline(time.Now().Add(10 * time.Second))
			if _, err := near.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("the target has %v", err)
			}
		})
	}
}

// A connection that an egress returned panics while it is relayed.
func TestPanicInRelay(t *testing.T) {
	closed := make(chan *proxy.Session, 1)
	var logs logBuffer
	s := &proxy.Server{
		Closed: func(ses *proxy.Session) { closed <- ses },
		Log:    slog.New(slog.NewJSONHandler(&logs, nil)),
	}
	near, far := net.Pipe()
	defer near.Close()
	address := sockstest.Serve(t, s, connEgress{Conn: panicConn{far}})
	c := connect(t, address)
	c.send(join([]byte{5, 1, 0}, connect5("x.test", 1)))
	c.expect([]byte{5, 0, 5, 0})
	ses := <-closed
	if !errors.Is(ses.Err, proxy.ErrPanic) || !strings.Contains(logs.String(), "panicConn") {
		t.Errorf("Err of the session is %v, logged: %s", ses.Err, logs.String())
	}
}

// http.ErrAbortHandler is a silent end, as in net/http.
func TestAbortHandler(t *testing.T) {
	var logs logBuffer
	s := &proxy.Server{
		Policy: proxy.Policy{Page: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })},
		Log:    slog.New(slog.NewJSONHandler(&logs, nil)),
	}
	c := connect(t, sockstest.Serve(t, s, nil))
	c.send([]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"))
	if got, _ := io.ReadAll(c); len(got) > 0 || logs.String() != "" {
		t.Errorf("got %q, logged %s", got, logs.String())
	}
}

// A connection that is ended when its client has just been told of success does not look like
// one that its target ended.
func TestEndBetweenReplyAndRelay(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	s := new(proxy.Server)
	s.Policy.Prepare = func(_ context.Context, _ *proxy.Session, c net.Conn) (net.Conn, error) {
		return &repliedConn{Conn: c, replied: func() { s.End(nil, func(*proxy.Session) bool { return true }) }}, nil
	}
	c := connect(t, sockstest.Serve(t, s, connEgress{Conn: far}))
	c.send(join([]byte{5, 1, 0}, connect5("x.test", 1)))
	if got, err := io.ReadAll(c); err == nil {
		t.Errorf("got % x and an end in order", got)
	}
}

// repliedConn calls replied after the reply to a request was written.
type repliedConn struct {
	net.Conn
	replied func()
}

func (c *repliedConn) NetConn() net.Conn { return c.Conn }

func (c *repliedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if len(b) > 2 { // not the choice of a method
		c.replied()
	}
	return n, err
}

// trap is code of all kinds that acts once, at one place.
type trap struct {
	where string
	act   func()
	armed atomic.Bool
}

func (tr *trap) at(where string) {
	if where == tr.where && tr.armed.CompareAndSwap(true, false) {
		tr.act()
	}
}

func (tr *trap) policyFor(out *egress.Direct) func(*proxy.Session) *proxy.Policy {
	return func(*proxy.Session) *proxy.Policy {
		tr.at("PolicyFor")
		p := &proxy.Policy{
			Identify: func(context.Context, *proxy.Session, net.Conn) error {
				tr.at("Identify")
				return nil
			},
			Admit: func(*proxy.Session) error {
				tr.at("Admit")
				return nil
			},
			Prepare: func(_ context.Context, _ *proxy.Session, c net.Conn) (net.Conn, error) {
				tr.at("Prepare")
				return c, nil
			},
			Route: func(context.Context, *proxy.Session) (proxy.Route, error) {
				tr.at("Route")
				if tr.where == "DialInLoop" {
					return tr.route(trapInLoop{trapEgress{out, tr}}), nil
				}
				return tr.route(trapEgress{out, tr}), nil
			},
			Page: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { tr.at("Page") }),
		}
		if tr.where == "Known" {
			p.Known = func(*proxy.Session, socks.Auth) (string, bool) { tr.at("Known"); return "", true }
			p.Verify = func(*proxy.Session, socks.Auth) (string, error) { return "", nil }
		}
		if tr.where == "Verify" { // with it the event loop is left
			p.Verify = func(*proxy.Session, socks.Auth) (string, error) { tr.at("Verify"); return "", nil }
		}
		return p
	}
}

// route has only the function that is to panic: with another the event loop is left.
func (tr *trap) route(out egress.Egress) proxy.Route {
	r := proxy.Route{Egress: out}
	switch tr.where {
	case "Before":
		r.Before = func(context.Context) error { tr.at("Before"); return nil }
	case "Wrap":
		r.Wrap = func(c net.Conn) net.Conn { tr.at("Wrap"); return c }
	case "Resolved":
		r.Resolved = func(socks.Addr) { tr.at("Resolved") }
	}
	return r
}

type trapEgress struct {
	*egress.Direct
	trap *trap
}

func (e trapEgress) Dial(ctx context.Context, r *socks.Request) (net.Conn, socks.Addr, error) {
	e.trap.at("Dial")
	e.trap.at("Plain") // on goroutines nobody asks for that
	e.trap.at("DialInLoop")
	return e.Direct.Dial(ctx, r)
}

type trapInLoop struct{ trapEgress }

func (e trapInLoop) DialInLoop(ctx context.Context, l egress.Loop, r *socks.Request) (net.Conn, socks.Addr, error) {
	c, err := l.Connect(ctx, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), r.Addr.Port), time.Second)
	e.trap.at("DialInLoop") // with a connection that nobody has
	if err == nil {
		c.Close()
	}
	l.Leave()
	return e.trapEgress.Dial(ctx, r)
}

func (e trapEgress) Plain(r *socks.Request) (egress.Step, error) {
	e.trap.at("Plain")
	return egress.Step{}, nil // so that Dial is called in any mode
}

func (e trapEgress) Resolve(context.Context, *socks.Request) (netip.Addr, error) {
	e.trap.at("Resolve")
	return netip.Addr{}, nil
}

func (e trapEgress) ResolvePTR(context.Context, *socks.Request) (string, error) {
	e.trap.at("ResolvePTR")
	return "", nil
}

// connEgress leads to one connection.
type connEgress struct {
	egress.Unsupported
	net.Conn
}

func (e connEgress) Dial(context.Context, *socks.Request) (net.Conn, socks.Addr, error) {
	return e.Conn, socks.Addr{}, nil
}

type panicConn struct{ net.Conn }

func (panicConn) Read([]byte) (int, error) { panic(errOfTest) }

// logBuffer is a bytes.Buffer for several goroutines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
