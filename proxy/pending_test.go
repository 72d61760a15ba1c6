package proxy_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"testing"
	"time"

	"hosier/internal/sockstest"
	"hosier/proxy"
	"hosier/socks"
)

// pending is a client that remembers how it was answered.
type pending struct {
	request *socks.Request
	events  *[]string
	client  net.Conn // that Grant returns
	early   string
	err     error // that Grant returns

	bound  socks.Addr
	status socks.Status
	cause  error
}

func (p *pending) Request() *socks.Request { return p.request }

func (p *pending) Grant(bound socks.Addr) (net.Conn, []byte, error) {
	*p.events = append(*p.events, "grant")
	p.bound = bound
	return p.client, []byte(p.early), p.err
}

func (p *pending) Refuse(s socks.Status, cause error) {
	*p.events = append(*p.events, "refuse")
	p.status, p.cause = s, cause
}

var pendingClient = netip.MustParseAddrPort("192.0.2.7:4321")

// pendingServer serves requests of "ann" by route, and records in events what is called.
func pendingServer(t *testing.T, events *[]string, route proxy.Route, err error) (*proxy.Server, chan *proxy.Session) {
	closed := make(chan *proxy.Session, 1)
	route.Done = func(*proxy.Session) { *events = append(*events, "done") }
	s := &proxy.Server{
		Policy: proxy.Policy{Route: func(_ context.Context, ses *proxy.Session) (proxy.Route, error) {
			if ses.User != "ann" || ses.Client != pendingClient || ses.Listener != "test" || ses.ID != 1 {
				t.Errorf("policy is asked about %+v", ses)
			}
			return route, err
		}},
		Closed: func(ses *proxy.Session) {
			*events = append(*events, "closed")
			closed <- ses
		},
		Log: slog.New(slog.DiscardHandler),
	}
	t.Cleanup(func() { s.Close() })
	return s, closed
}

func newPending(events *[]string, c socks.Command, target string) *pending {
	addr, err := socks.ParseAddr(target)
	if err != nil {
		panic(err)
	}
	return &pending{events: events, request: &socks.Request{Command: c, Addr: addr, Client: pendingClient, Listener: "test", User: "ann"}}
}

func checkEvents(t *testing.T, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("events are %q, want %q", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("events are %q, want %q", got, want)
		}
	}
}

// A request of another inbound takes the path of those of the port, from policy to Closed.
func TestServeRequest(t *testing.T) {
	var events []string
	target, far := net.Pipe()
	client, program := net.Pipe()
	wrapped := false
	out := &sockstest.Egress{DialFunc: func(context.Context, *socks.Request) (net.Conn, socks.Addr, error) {
		events = append(events, "dial")
		return target, socks.Addr{IP: netip.MustParseAddr("192.0.2.9"), Port: 9}, nil
	}}
	s, closed := pendingServer(t, &events, proxy.Route{
		Egress: out, Name: "far", Rule: "rule 1",
		Before: func(context.Context) error { events = append(events, "before"); return nil },
		Wrap:   func(c net.Conn) net.Conn { wrapped = c == target; return c },
	}, nil)
	p := newPending(&events, socks.Connect, "a.test:80")
	p.client, p.early = client, "early "
	s.ServeRequest(t.Context(), p)
	if p.bound.Port != 9 || !wrapped {
		t.Errorf("bound is %v, wrapped: %v", p.bound, wrapped)
	}
	if live := s.Sessions(); len(live) != 1 || live[0].Egress != "far" || live[0].Rule != "rule 1" || live[0].Client != pendingClient {
		t.Errorf("sessions are %+v", live)
	}
	go program.Write([]byte("and late"))
	got := make([]byte, len("early and late"))
	if _, err := io.ReadFull(far, got); err != nil || string(got) != "early and late" {
		t.Errorf("the target got %q, %v", got, err)
	}
	far.Close()
	program.Close()
	ses := <-closed
	if ses.Up != int64(len(got)) || ses.Egress != "far" || ses.Request.User != "ann" || ses.Status != socks.Succeeded {
		t.Errorf("the session is %+v", ses)
	}
	checkEvents(t, events, "before", "dial", "grant", "done", "closed")
}

// Those who look at a session do not see what its egress is writing in the request.
func TestSessionsAreCopies(t *testing.T) {
	var events []string
	var s *proxy.Server
	out := &sockstest.Egress{DialFunc: func(_ context.Context, r *socks.Request) (net.Conn, socks.Addr, error) {
		live := s.Sessions()
		r.Member = "second"
		if len(live) != 1 || live[0].Request.Addr.Name != "a.test" || live[0].Request.Member != "" {
			t.Errorf("sessions are %+v", live)
		}
		return nil, socks.Addr{}, socks.TTLExpired
	}}
	var closed chan *proxy.Session
	s, closed = pendingServer(t, &events, proxy.Route{Egress: out}, nil)
	s.ServeRequest(t.Context(), newPending(&events, socks.Connect, "a.test:80"))
	if ses := <-closed; ses.Request.Member != "second" {
		t.Errorf("at the end the session is %+v", ses)
	}
}

// The answer of a RESOLVE is known to its route before the client has it.
func TestServeRequestResolve(t *testing.T) {
	var events []string
	ip := netip.MustParseAddr("192.0.2.9")
	s, closed := pendingServer(t, &events, proxy.Route{
		Egress:   &sockstest.Egress{ResolveFunc: func(context.Context, *socks.Request) (netip.Addr, error) { return ip, nil }},
		Resolved: func(a socks.Addr) { events = append(events, "resolved "+a.IP.String()) },
	}, nil)
	p := newPending(&events, socks.Resolve, "a.test:0")
	s.ServeRequest(t.Context(), p)
	if ses := <-closed; p.bound.IP != ip || ses.Err != nil || s.Open() != 0 {
		t.Errorf("bound is %v, the session %+v", p.bound, ses)
	}
	checkEvents(t, events, "resolved 192.0.2.9", "grant", "done", "closed")
}

// Each request is refused or granted, once, whatever goes wrong.
func TestServeRequestRefusals(t *testing.T) {
	broken := errors.New("broken")
	hangs := &sockstest.Egress{DialFunc: func(ctx context.Context, _ *socks.Request) (net.Conn, socks.Addr, error) {
		<-ctx.Done()
		return nil, socks.Addr{}, ctx.Err()
	}}
	for name, tt := range map[string]struct {
		route  proxy.Route
		err    error
		change func(*proxy.Server, context.CancelFunc)
		status socks.Status
		cause  error
		events []string
	}{
		"by-policy":  {err: socks.NotAllowed, status: socks.NotAllowed, cause: socks.NotAllowed, events: []string{"refuse", "closed"}},
		"no-egress":  {status: socks.NotAllowed, cause: socks.NotAllowed, events: []string{"refuse", "done", "closed"}},
		"before":     {route: proxy.Route{Egress: hangs, Before: func(context.Context) error { return broken }}, status: socks.GeneralFailure, cause: broken, events: []string{"refuse", "done", "closed"}},
		"no-command": {route: proxy.Route{Egress: &sockstest.Egress{}}, status: socks.CommandNotSupported, cause: errors.ErrUnsupported, events: []string{"refuse", "done", "closed"}},
		"admit": {
			route: proxy.Route{Egress: hangs}, status: socks.NotAllowed, cause: proxy.ErrLimit, events: []string{"refuse", "closed"},
			change: func(s *proxy.Server, _ context.CancelFunc) {
				s.Policy.Admit = func(*proxy.Session) error { return proxy.ErrLimit }
			},
		},
		"full": {
			route: proxy.Route{Egress: hangs}, status: socks.GeneralFailure, cause: proxy.ErrFull, events: []string{"refuse", "closed"},
			change: func(s *proxy.Server, _ context.CancelFunc) {
				s.MaxConns = 1
				near, far := net.Pipe()
				s.PolicyFor = func(ses *proxy.Session) *proxy.Policy { // the one place is taken by another client
					if ses.Listener == "other" {
						return &proxy.Policy{}
					}
					return &s.Policy
				}
				s.ServeConn(far, "other")
				near.Write([]byte{5})
			},
		},
		"no-policy": {
			route: proxy.Route{Egress: hangs}, status: socks.NotAllowed, events: []string{"refuse", "closed"},
			change: func(s *proxy.Server, _ context.CancelFunc) {
				s.PolicyFor = func(*proxy.Session) *proxy.Policy { return nil }
			},
		},
		"context": {
			route: proxy.Route{Egress: hangs, Before: nil}, status: socks.GeneralFailure, cause: context.Canceled, events: []string{"refuse", "done", "closed"},
			change: func(_ *proxy.Server, cancel context.CancelFunc) { cancel() },
		},
		"panic": {
			route: proxy.Route{Egress: hangs, Before: func(context.Context) error { panic(broken) }}, status: socks.GeneralFailure, cause: broken,
			events: []string{"refuse", "done", "closed"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var events []string
			s, closed := pendingServer(t, &events, tt.route, tt.err)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if tt.change != nil {
				tt.change(s, cancel)
			}
			p := newPending(&events, socks.Connect, "a.test:80")
			if name == "full" {
				s.Policy.Route = nil // it has another ID
			}
			s.ServeRequest(ctx, p)
			ses := <-closed
			if p.status != tt.status || !errors.Is(p.cause, tt.cause) && tt.cause != nil || ses.Status != tt.status || ses.Err == nil {
				t.Errorf("refused with %v, %v; the session is %+v", p.status, p.cause, ses)
			}
			checkEvents(t, events, tt.events...)
		})
	}
}

// A timeout that is as good as none is none, however often an egress may need it.
func TestLongConnectTimeout(t *testing.T) {
	var events []string
	left := time.Duration(0)
	out := &severalAttempts{sockstest.Egress{DialFunc: func(ctx context.Context, _ *socks.Request) (net.Conn, socks.Addr, error) {
		end, _ := ctx.Deadline()
		left = time.Until(end)
		return nil, socks.Addr{}, socks.HostUnreachable
	}}}
	s, closed := pendingServer(t, &events, proxy.Route{Egress: out}, nil)
	s.Policy.ConnectTimeout = math.MaxInt64
	s.ServeRequest(t.Context(), newPending(&events, socks.Connect, "a.test:80"))
	if <-closed; left < 1000*time.Hour {
		t.Errorf("the egress had %v", left)
	}
}

type severalAttempts struct{ sockstest.Egress }

func (*severalAttempts) Attempts() int { return 3 }

// From outside a request ends while the egress is asked, and after Close there is none.
func TestServeRequestEnds(t *testing.T) {
	var events []string
	errMine := errors.New("mine")
	asked := make(chan struct{})
	s, closed := pendingServer(t, &events, proxy.Route{Egress: &sockstest.Egress{DialFunc: func(ctx context.Context, _ *socks.Request) (net.Conn, socks.Addr, error) {
		close(asked)
		<-ctx.Done()
		return nil, socks.Addr{}, ctx.Err()
	}}}, nil)
	go func() {
		<-asked
		s.End(errMine, func(*proxy.Session) bool { return true })
	}()
	s.ServeRequest(t.Context(), newPending(&events, socks.Connect, "a.test:80"))
	if ses := <-closed; ses.Err != errMine {
		t.Errorf("Err is %v", ses.Err)
	}
	checkEvents(t, events, "refuse", "done", "closed")
	s.Close()
	p := newPending(&events, socks.Connect, "a.test:80")
	if s.ServeRequest(t.Context(), p); p.status != socks.GeneralFailure || p.cause != proxy.ErrServerClosed {
		t.Errorf("after Close: %v, %v", p.status, p.cause)
	}
}

// A client that is gone when it is granted costs the target's connection, and nothing else.
func TestServeRequestClientLeft(t *testing.T) {
	var events []string
	target, far := net.Pipe()
	s, closed := pendingServer(t, &events, proxy.Route{Egress: &sockstest.Egress{DialFunc: func(context.Context, *socks.Request) (net.Conn, socks.Addr, error) {
		return target, socks.Addr{}, nil
	}}}, nil)
	p := newPending(&events, socks.Connect, "a.test:80")
	p.err = io.ErrClosedPipe
	s.ServeRequest(t.Context(), p)
	if _, err := far.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the target's end: %v", err)
	}
	if ses := <-closed; !errors.Is(ses.Err, proxy.ErrClientLeft) {
		t.Errorf("Err is %v", ses.Err)
	}
	checkEvents(t, events, "grant", "done", "closed")
}
