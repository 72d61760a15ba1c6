package egress_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hosier/egress"
	"hosier/internal/sockstest"
	"hosier/proxy"
	"hosier/socks"
)

// A list whose first way is dead passes the suite that every way out passes.
func TestFailoverEgress(t *testing.T) {
	sockstest.TestEgress(t, func(t *testing.T, w *sockstest.World) proxy.Egress {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		dead := &egress.SOCKS{Dialer: socks.Dialer{Proxy: l.Addr().String()}}
		return &egress.Failover{Ways: []egress.Way{
			{Name: "dead", Egress: dead},
			{Name: "live", Egress: &egress.Direct{DNS: w.DNS.Addr}},
		}}
	})
}

func fakeWay(name string, err *error) (egress.Way, *sockstest.Egress) {
	out := &sockstest.Egress{DialFunc: func(_ context.Context, r *socks.Request) (net.Conn, socks.Addr, error) {
		if name == "pool" {
			r.Member = "second"
		}
		return nil, socks.Addr{}, *err
	}}
	return egress.Way{Name: name, Egress: out}, out
}

// What a way says of itself leads to the next; what it says of the target does not.
func TestFailover(t *testing.T) {
	broken := &socks.ProxyError{Proxy: "a", Err: errors.New("is on fire")}
	for name, c := range map[string]struct {
		err  error
		next bool
	}{
		"works":               {nil, false},
		"way is broken":       {broken, true},
		"target refuses":      {socks.ConnectionRefused, false},
		"target unknown":      {socks.HostUnreachable, false},
		"not allowed":         {socks.NotAllowed, false},
		"command unsupported": {errors.ErrUnsupported, false},
		"something else":      {errors.New("odd"), false},
	} {
		t.Run(name, func(t *testing.T) {
			var none error
			one, first := fakeWay("one", &c.err)
			pool, second := fakeWay("pool", &none)
			f := &egress.Failover{Ways: []egress.Way{one, pool}}
			r := &socks.Request{Command: socks.Connect, Addr: socks.Addr{Name: "a.test", Port: 80}}
			_, _, err := f.Dial(t.Context(), r)
			want, member := c.err, "one"
			if c.next {
				want, member = nil, "pool second"
			}
			if err != want || r.Member != member || len(first.Requests()) != 1 || (len(second.Requests()) == 1) != c.next {
				t.Errorf("%v by %q, asked %d and %d times", err, r.Member, len(first.Requests()), len(second.Requests()))
			}
		})
	}
}

// A way that failed is passed over, longer each time, and asked again when there is no
// other or its time is over.
func TestFailoverHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := error(&socks.ProxyError{Proxy: "a", Err: errors.New("is on fire")})
		works := error(nil)
		one, first := fakeWay("one", &fails)
		two, second := fakeWay("two", &works)
		var judged []time.Time
		one.Judged = func(until time.Time) { judged = append(judged, until) }
		f := &egress.Failover{Ways: []egress.Way{one, two}}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		asked := func() (a, b int) {
			a, b = len(first.Requests()), len(second.Requests())
			f.Dial(t.Context(), &socks.Request{Command: socks.Connect})
			return len(first.Requests()) - a, len(second.Requests()) - b
		}
		for i, hold := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
			if a, b := asked(); a != 1 || b != 1 {
				t.Fatalf("failure %d: asked %d, %d", i, a, b)
			}
			if want := time.Now().Add(hold * time.Second); len(judged) != i+1 || !judged[i].Equal(want) {
				t.Errorf("failure %d: told %v, want %v at the end", i, judged, want)
			}
			time.Sleep(hold*time.Second - time.Millisecond)
			if a, b := asked(); a != 0 || b != 1 {
				t.Fatalf("shortly before %d s: asked %d, %d", hold, a, b)
			}
			if s := f.Status(); s[0].Working || s[0].Err != fails || !s[1].Working {
				t.Errorf("status %+v", s)
			}
			time.Sleep(2 * time.Millisecond)
		}
		works = fails
		if a, b := asked(); a != 1 || b != 1 {
			t.Errorf("both broken: asked %d, %d", a, b)
		}
		if a, b := asked(); a != 1 || b != 1 {
			t.Errorf("all passed over: asked %d, %d", a, b)
		}
		f.Dial(gone, &socks.Request{Command: socks.Connect}) // whose client does not wait for the answer
		if s := f.Status(); s[0].Working {
			t.Errorf("a client that has gone mends it: %+v", s)
		}
		fails, works = nil, nil
		asked()
		if s := f.Status(); !s[0].Working || !judged[len(judged)-1].IsZero() {
			t.Errorf("it works again: %+v, told %v", s, judged)
		}
	})
}

// A way that says it is not ready is asked last, and a client that has gone breaks nothing.
func TestFailoverReady(t *testing.T) {
	works, gone := error(nil), error(&socks.ProxyError{Proxy: "b", Err: context.Canceled})
	one, first := fakeWay("one", &works)
	one.Ready = func() bool { return false }
	two, _ := fakeWay("two", &gone)
	f := &egress.Failover{Ways: []egress.Way{one, two}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := f.Dial(ctx, &socks.Request{Command: socks.Connect}); err != gone || len(first.Requests()) != 0 {
		t.Errorf("%v, the one that is not ready was asked %d times", err, len(first.Requests()))
	}
	if s := f.Status(); s[0].Working || !s[1].Working {
		t.Errorf("status %+v", s)
	}
	if _, _, err := new(egress.Failover).Dial(t.Context(), &socks.Request{}); err == nil || !strings.Contains(err.Error(), "no ways") {
		t.Errorf("without ways: %v", err)
	}
}
