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
	cancelled atomic.Int32
}

func (e *stepEgress) Dial(context.Context, *socks.Request) (net.Conn, socks.Addr, error) {
	e.dialed.Add(1)
	return nil, socks.Addr{}, socks.TTLExpired
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
