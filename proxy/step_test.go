package proxy_test

import (
	"context"
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

// stepEgress is one whose next step the test makes.
type stepEgress struct {
	egress.Unsupported
	step      egress.Step
	err       error
	dialed    atomic.Int32
	lookups   atomic.Int32
	cancelled atomic.Int32
}

func (e *stepEgress) Dial(context.Context, *socks.Request) (net.Conn, socks.Addr, error) {
	e.dialed.Add(1)
	return nil, socks.Addr{}, socks.TTLExpired
}

func (e *stepEgress) Resolve(context.Context, *socks.Request) (netip.Addr, error) {
	e.lookups.Add(1)
	return netip.MustParseAddr("192.0.2.9"), nil
}

func (e *stepEgress) ResolvePTR(context.Context, *socks.Request) (string, error) {
	e.lookups.Add(1)
	return "w.test", nil
}

func (e *stepEgress) Plain(*socks.Request) (egress.Step, error) { return e.step, e.err }

// An egress may have the event loop look a name up and connect, and is asked itself for what
// that cannot do.
func TestStep(t *testing.T) {
	if runtime.GOOS != "linux" || os.Getenv(sockstest.OnGoroutines) != "" {
		t.Skip("without event loops nobody asks for a step")
	}
	w := sockstest.NewWorld(t)
	at := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port) }
	for name, test := range map[string]struct {
		step  egress.Step
		err   error
		find  func(ready func(egress.Step, error)) // nil: the step has nothing to find
		code  byte
		dials int32
		ended bool // the search was told that nobody waits
	}{
		"connect":           {step: egress.Step{To: at(w.Echo)}},
		"refused":           {step: egress.Step{To: at(w.Refused)}, code: 5},
		"refused, and more": {step: egress.Step{To: at(w.Refused), More: true}, code: 6, dials: 1},
		"an error":          {err: socks.NotAllowed, code: 2},
		"nothing to say":    {code: 6, dials: 1},
		"found at once":     {find: func(ready func(egress.Step, error)) { ready(egress.Step{To: at(w.Echo)}, nil) }},
		"found later": {find: func(ready func(egress.Step, error)) {
			time.AfterFunc(20*time.Millisecond, func() { ready(egress.Step{To: at(w.Echo)}, nil) })
		}},
		"not found": {code: 4, find: func(ready func(egress.Step, error)) {
			go ready(egress.Step{}, &net.DNSError{Err: "no such host", IsNotFound: true})
		}},
		"found nothing that is plain": {code: 6, dials: 1, find: func(ready func(egress.Step, error)) { go ready(egress.Step{}, nil) }},
		"never found":                 {code: 6, ended: true, find: func(func(egress.Step, error)) {}},
	} {
		t.Run(name, func(t *testing.T) {
			out := &stepEgress{step: test.step, err: test.err}
			if test.find != nil {
				out.step.Find = func(ready func(egress.Step, error)) func() {
					test.find(ready)
					return func() { out.cancelled.Add(1) }
				}
			}
			s := &proxy.Server{}
			if test.ended {
				s.Policy.ConnectTimeout = 50 * time.Millisecond
			}
			c := connect(t, sockstest.Serve(t, s, out))
			c.send(join([]byte{5, 1, 0}, connect5("x.test", 80)))
			c.expect([]byte{5, 0, 5, test.code})
			if n := out.dialed.Load(); n != test.dials {
				t.Errorf("dialled %d times, want %d", n, test.dials)
			}
			if ended := out.cancelled.Load() > 0; ended != test.ended {
				t.Errorf("the search was cancelled: %v, want %v", ended, test.ended)
			}
		})
	}
}

// A lookup is answered in the event loop, and the route hears of the answer before the client
// does. What the egress cannot say so, its methods are asked for.
func TestStepOfLookup(t *testing.T) {
	if runtime.GOOS != "linux" || os.Getenv(sockstest.OnGoroutines) != "" {
		t.Skip("without event loops nobody asks for a step")
	}
	var (
		resolve  = join([]byte{5, 0xF0, 0, 3, 6}, []byte("x.test"), []byte{0, 0})
		resolve4 = join([]byte{4, 0xF0, 0, 0, 0, 0, 0, 1, 0}, []byte("x.test"), []byte{0})
		ptr      = join([]byte{5, 0xF1, 0, 1, 192, 0, 2, 1, 0, 0})
		four     = egress.Step{Answer: socks.Addr{IP: netip.MustParseAddr("192.0.2.1")}}
		six      = egress.Step{Answer: socks.Addr{IP: netip.MustParseAddr("2001:db8::1")}}
		name     = egress.Step{Answer: socks.Addr{Name: "x.test"}}
		failure  = []byte{5, 4, 0, 1, 0, 0, 0, 0, 0, 0}
	)
	later := func(s egress.Step, err error) egress.Step {
		return egress.Step{Find: func(ready func(egress.Step, error)) func() {
			timer := time.AfterFunc(20*time.Millisecond, func() { ready(s, err) })
			return func() { timer.Stop() }
		}}
	}
	for what, test := range map[string]struct {
		request  []byte
		step     egress.Step
		answer   []byte
		resolved string // "": not called
		lookups  int32
	}{
		"RESOLVE":                {resolve, four, []byte{5, 0, 0, 1, 192, 0, 2, 1, 0, 0}, "192.0.2.1", 0},
		"RESOLVE, later":         {resolve, later(four, nil), []byte{5, 0, 0, 1, 192, 0, 2, 1, 0, 0}, "192.0.2.1", 0},
		"RESOLVE of version 4":   {resolve4, later(four, nil), []byte{0, 90, 0, 0, 192, 0, 2, 1}, "192.0.2.1", 0},
		"version 4 has no IPv6":  {resolve4, six, []byte{0, 91, 0, 0, 0, 0, 0, 0}, "", 0},
		"RESOLVE fails":          {resolve, later(egress.Step{}, &net.DNSError{Err: "no such host", IsNotFound: true}), failure, "", 0},
		"RESOLVE takes too long": {resolve, egress.Step{Limit: 30 * time.Millisecond, Find: func(func(egress.Step, error)) func() { return func() {} }}, failure, "", 0},
		"RESOLVE by the method":  {resolve, egress.Step{}, []byte{5, 0, 0, 1, 192, 0, 2, 9, 0, 0}, "192.0.2.9", 1},
		"RESOLVE_PTR":            {ptr, name, join([]byte{5, 0, 0, 3, 6}, []byte("x.test"), []byte{0, 0}), "", 0},
		"RESOLVE_PTR, later":     {ptr, later(name, nil), join([]byte{5, 0, 0, 3, 6}, []byte("x.test"), []byte{0, 0}), "", 0},
		"RESOLVE_PTR fails":      {ptr, later(egress.Step{}, socks.HostUnreachable), failure, "", 0},
		"RESOLVE_PTR by method":  {ptr, egress.Step{}, join([]byte{5, 0, 0, 3, 6}, []byte("w.test"), []byte{0, 0}), "", 1},
	} {
		t.Run(what, func(t *testing.T) {
			out := &stepEgress{step: test.step}
			var resolved atomic.Pointer[string]
			s := &proxy.Server{Policy: proxy.Policy{Route: func(context.Context, *proxy.Session) (proxy.Route, error) {
				return proxy.Route{
					Egress:   out,
					Wrap:     func(c net.Conn) net.Conn { return c }, // of no concern to a lookup
					Resolved: func(a socks.Addr) { text := a.IP.String(); resolved.Store(&text) },
				}, nil
			}}}
			c := connect(t, sockstest.Serve(t, s, nil))
			want := test.answer
			if test.request[0] == 5 {
				c.send([]byte{5, 1, 0})
				want = join([]byte{5, 0}, want)
			}
			c.send(test.request)
			c.expect(want)
			got := ""
			if text := resolved.Load(); text != nil { // by the time that the client has its reply
				got = *text
			}
			if got != test.resolved || out.lookups.Load() != test.lookups {
				t.Errorf("Resolved with %q, want %q; %d lookups by a method, want %d", got, test.resolved, out.lookups.Load(), test.lookups)
			}
		})
	}
}
