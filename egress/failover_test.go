package egress_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hosier/egress"
	"hosier/internal/sockstest"
	"hosier/socks"
)

// A list whose first way is dead passes the suite that every egress passes.
func TestFailoverEgress(t *testing.T) {
	sockstest.TestEgress(t, func(t *testing.T, w *sockstest.World) egress.Egress {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		dead := &egress.SOCKS{Dialer: socks.Dialer{Proxy: l.Addr().String()}}
		return &egress.Failover{Members: []egress.Member{
			{Name: "dead", Egress: dead},
			{Name: "live", Egress: w.Direct()},
		}}
	})
}

func fakeMember(name string, err *error) (egress.Member, *sockstest.Egress) {
	out := &sockstest.Egress{DialFunc: func(_ context.Context, r *socks.Request) (net.Conn, socks.Addr, error) {
		if name == "pool" {
			r.Member = "second"
		}
		return nil, socks.Addr{}, *err
	}}
	return egress.Member{Name: name, Egress: out}, out
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
			one, first := fakeMember("one", &c.err)
			pool, second := fakeMember("pool", &none)
			f := &egress.Failover{Members: []egress.Member{one, pool}}
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
		one, first := fakeMember("one", &fails)
		two, second := fakeMember("two", &works)
		var judged []time.Time
		one.Judged = func(until time.Time, err error) {
			judged = append(judged, until)
			if until.IsZero() != (err == nil) || err != nil && err != fails {
				t.Errorf("judged %v, %v", until, err)
			}
		}
		f := &egress.Failover{Members: []egress.Member{one, two}}
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
			t.Errorf("a client that has gone fixes it: %+v", s)
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
	one, first := fakeMember("one", &works)
	one.Ready = func() bool { return false }
	two, _ := fakeMember("two", &gone)
	f := &egress.Failover{Members: []egress.Member{one, two}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := f.Dial(ctx, &socks.Request{Command: socks.Connect}); err != gone || len(first.Requests()) != 0 {
		t.Errorf("%v, the one that is not ready was asked %d times", err, len(first.Requests()))
	}
	if s := f.Status(); s[0].Working || !s[1].Working {
		t.Errorf("status %+v", s)
	}
	if _, _, err := new(egress.Failover).Dial(t.Context(), &socks.Request{}); err == nil || !strings.Contains(err.Error(), "no members") {
		t.Errorf("without members: %v", err)
	}
}

// hangs is a way that never answers; its error is made of its context.
func hangs(name string, wrap func(error) error) egress.Member {
	return egress.Member{Name: name, Egress: &sockstest.Egress{DialFunc: func(ctx context.Context, _ *socks.Request) (net.Conn, socks.Addr, error) {
		<-ctx.Done()
		return nil, socks.Addr{}, wrap(ctx.Err())
	}}}
}

// Each way has its share of the time: one that hangs leaves the next its own. A request
// that a working way has left without an answer is not repeated elsewhere.
func TestFailoverShares(t *testing.T) {
	broken := func(err error) error { return &socks.ProxyError{Proxy: "a", Err: err} }
	slow := func(err error) error { return err }
	const each = 4 * time.Second
	for name, c := range map[string]struct {
		ways  []egress.Member
		works bool
		after time.Duration
	}{
		"both hang":        {[]egress.Member{hangs("one", broken), hangs("two", broken)}, false, 2 * each},
		"three hang":       {[]egress.Member{hangs("one", broken), hangs("two", broken), hangs("three", broken)}, false, 3 * each},
		"the first hangs":  {[]egress.Member{hangs("one", broken)}, true, each},
		"the target hangs": {[]egress.Member{hangs("one", slow), hangs("two", slow)}, false, each},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var none error
				live, _ := fakeMember("live", &none)
				if c.works {
					c.ways = append(c.ways, live)
				}
				f := &egress.Failover{Members: c.ways}
				if f.Attempts() != len(c.ways) {
					t.Errorf("%d attempts of %d ways", f.Attempts(), len(c.ways))
				}
				ctx, cancel := context.WithTimeout(t.Context(), each*time.Duration(len(c.ways)))
				defer cancel()
				began := time.Now()
				_, _, err := f.Dial(ctx, &socks.Request{Command: socks.Connect})
				if took := time.Since(began); (err == nil) != c.works || took != c.after {
					t.Errorf("%v after %v, want success %t after %v", err, took, c.works, c.after)
				}
				if !c.works && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%v, want the deadline", err)
				}
			})
		})
	}
}

// What a way refuses by itself, and a target that does not answer, show nothing of the way:
// neither that it fails nor that it works again.
func TestFailoverVerdict(t *testing.T) {
	broken := error(&socks.ProxyError{Proxy: "a", Err: errors.New("is on fire")})
	onion := &egress.SOCKS{Dialer: socks.Dialer{Proxy: "127.0.0.1:9"}}
	_, _, errOnion := onion.Dial(t.Context(), &socks.Request{Command: socks.Connect, Addr: socks.Addr{Name: "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion", Port: 80}})
	for name, c := range map[string]struct {
		err  error
		want string // what becomes of a way that works, and of one that failed before
	}{
		"works":               {nil, "works works"},
		"answers":             {socks.ConnectionRefused, "works works"},
		"answers 07":          {socks.CommandNotSupported, "works works"},
		"failed":              {broken, "fails fails"},
		"does not have it":    {errors.ErrUnsupported, "works fails"},
		"cannot say it":       {&socks.FormatError{Status: socks.GeneralFailure}, "works fails"},
		"onion names stay":    {errOnion, "works fails"},
		"target is too slow":  {context.DeadlineExceeded, "works fails"},
		"connection is reset": {errors.New("odd"), "works works"},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, before := range []error{nil, broken} {
				synctest.Test(t, func(t *testing.T) {
					err := before
					one := egress.Member{Name: "one", Egress: &sockstest.Egress{DialFunc: func(ctx context.Context, _ *socks.Request) (net.Conn, socks.Addr, error) {
						if errors.Is(err, context.DeadlineExceeded) {
							<-ctx.Done()
						}
						return nil, socks.Addr{}, err
					}}}
					works := error(nil)
					two, _ := fakeMember("two", &works)
					f := &egress.Failover{Members: []egress.Member{one, two}}
					f.Dial(t.Context(), &socks.Request{Command: socks.Connect})
					time.Sleep(1100 * time.Millisecond) // it may be asked again
					err = c.err
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					f.Dial(ctx, &socks.Request{Command: socks.Connect})
					// A second failure is held against it twice as long as a first.
					err = broken
					time.Sleep(time.Hour)
					f.Dial(t.Context(), &socks.Request{Command: socks.Connect})
					time.Sleep(1100 * time.Millisecond)
					if f.Status()[0].Working {
						got = append(got, "works")
					} else {
						got = append(got, "fails")
					}
				})
			}
			want := strings.Fields(c.want)
			if c.err == broken {
				want = []string{"fails", "fails"}
			}
			if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
				t.Errorf("it is taken for one that %v, want %v", got, want)
			}
		})
	}
}

// After its time is over a way that failed is tried by one request; others pass it over.
func TestFailoverTriesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := error(&socks.ProxyError{Proxy: "a", Err: errors.New("is on fire")})
		asked, hang := 0, make(chan struct{})
		one := egress.Member{Name: "one", Egress: &sockstest.Egress{DialFunc: func(context.Context, *socks.Request) (net.Conn, socks.Addr, error) {
			if asked++; asked > 1 {
				<-hang
			}
			return nil, socks.Addr{}, broken
		}}}
		works := error(nil)
		two, second := fakeMember("two", &works)
		f := &egress.Failover{Members: []egress.Member{one, two}}
		f.Dial(t.Context(), &socks.Request{Command: socks.Connect})
		time.Sleep(2 * time.Second)
		for range 5 {
			go f.Dial(t.Context(), &socks.Request{Command: socks.Connect})
		}
		synctest.Wait()
		if n := len(second.Requests()); asked != 2 || n != 5 {
			t.Errorf("one was asked %d times, two %d", asked, n)
		}
		close(hang)
		synctest.Wait()
		if n := len(second.Requests()); asked != 2 || n != 6 {
			t.Errorf("at the end one was asked %d times, two %d", asked, n)
		}
	})
}

// RESOLVE and RESOLVE_PTR go on to the next way where CONNECT does, also where a proxy that
// stands alone would be taken for one that does not know them.
func TestFailoverLookups(t *testing.T) {
	refused := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), sockstest.RefusedPort(t)).String()
	for name, c := range map[string]struct {
		proxy string
		works bool // as far as is known after it
	}{
		"nobody there":                 {refused, false},
		"hangs up at once":             {scripted(t, ""), false},
		"hangs up in place of a reply": {twoStep(t, "\x05\x00"), true},
	} {
		t.Run(name, func(t *testing.T) {
			first := &egress.SOCKS{Dialer: socks.Dialer{Proxy: c.proxy}}
			second := &sockstest.Egress{
				ResolveFunc: func(context.Context, *socks.Request) (netip.Addr, error) {
					return netip.MustParseAddr("192.0.2.1"), nil
				},
				PTRFunc: func(context.Context, *socks.Request) (string, error) { return "a.test", nil },
			}
			f := &egress.Failover{Members: []egress.Member{{Name: "one", Egress: first}, {Name: "two", Egress: second}}}
			r := &socks.Request{Command: socks.Resolve, Addr: socks.Addr{Name: "a.test"}}
			if ip, err := f.Resolve(t.Context(), r); err != nil || ip.String() != "192.0.2.1" || r.Member != "two" {
				t.Errorf("RESOLVE: %v, %v by %s", ip, err, r.Member)
			}
			r = &socks.Request{Command: socks.ResolvePTR, Addr: socks.Addr{IP: netip.MustParseAddr("192.0.2.1")}}
			if name, err := f.ResolvePTR(t.Context(), r); err != nil || name != "a.test" {
				t.Errorf("RESOLVE_PTR: %v, %v", name, err)
			}
			if s := f.Status(); s[0].Working != c.works {
				t.Errorf("status %+v", s)
			}
			// The last one's error is the request's.
			alone := &egress.Failover{Members: []egress.Member{{Name: "one", Egress: first}}}
			r = &socks.Request{Command: socks.Resolve, Addr: socks.Addr{Name: "a.test"}}
			_, err := alone.Resolve(t.Context(), r)
			if broken := (*socks.ProxyError)(nil); errors.As(err, &broken) == c.works || errors.Is(err, errors.ErrUnsupported) != c.works {
				t.Errorf("alone: %v", err)
			}
			if r.Member != "" {
				t.Errorf("one that stands alone is member %q", r.Member)
			}
		})
	}
}
