package resolver

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// slowFake answers each family after a time of its own; a negative one is never over.
func slowFake(v4, v6 time.Duration, answers map[Type]records) *Resolver {
	s := Server{Addr: netip.MustParseAddrPort("192.0.2.53:53")}
	return &Resolver{Servers: []Server{s}, NoHosts: true, upstreams: map[Server]*upstream{s: {Server: s, transport: slow{v4, v6, answers}}}}
}

type slow struct {
	v4, v6  time.Duration
	answers map[Type]records
}

func (s slow) ask(q *query, done func(records, error)) func() {
	after := s.v4
	if q.typ == AAAA {
		after = s.v6
	}
	if after >= 0 {
		time.AfterFunc(after, func() { done(s.answers[q.typ], nil) })
	}
	return func() {}
}

func (slow) close() {}

// Find is over when a race would begin its first attempt, and says what Cached says then.
func TestFind(t *testing.T) {
	both := map[Type]records{
		A:    {addrs: addrsOf("192.0.2.1", "192.0.2.2"), ttl: time.Minute},
		AAAA: {addrs: addrsOf("2001:db8::1"), ttl: time.Minute},
	}
	v4only := map[Type]records{A: {addrs: addrsOf("192.0.2.1"), ttl: time.Minute}, AAAA: {ttl: time.Minute}}
	for name, test := range map[string]struct {
		v4, v6   time.Duration
		answers  map[Type]records
		network  string
		allow    func(netip.Addr) error
		want     Targets
		notFound bool
		err      error
		took     time.Duration
		cached   bool
	}{
		"both":             {v4: 5 * ms, v6: 9 * ms, answers: both, want: Targets{addrsOf("2001:db8::1")[0], true}, took: 9 * ms, cached: true},
		"IPv6 first":       {v4: 9 * ms, v6: 5 * ms, answers: both, want: Targets{addrsOf("2001:db8::1")[0], true}, took: 5 * ms},
		"s3/IPv6 silent":   {v4: 5 * ms, v6: -1, answers: both, want: Targets{addrsOf("192.0.2.1")[0], true}, took: 55 * ms},
		"s3/IPv6 has none": {v4: 5 * ms, v6: 7 * ms, answers: v4only, want: Targets{addrsOf("192.0.2.1")[0], false}, took: 7 * ms, cached: true},
		"IPv4 silent":      {v4: -1, v6: 5 * ms, answers: both, want: Targets{addrsOf("2001:db8::1")[0], true}, took: 5 * ms},
		"tcp4":             {v4: 5 * ms, v6: -1, answers: v4only, network: "tcp4", want: Targets{addrsOf("192.0.2.1")[0], false}, took: 5 * ms, cached: true},
		"no such name":     {v4: 5 * ms, v6: -1, answers: map[Type]records{A: {noName: true, ttl: time.Minute}}, notFound: true, took: 5 * ms},
		"RFC4074-s4.2/no such name, of IPv6 alone": {v4: 9 * ms, v6: 5 * ms, answers: map[Type]records{A: v4only[A], AAAA: {noName: true, ttl: time.Minute}}, want: Targets{addrsOf("192.0.2.1")[0], false}, took: 9 * ms, cached: true},
		"no such record":       {v4: 5 * ms, v6: 6 * ms, answers: map[Type]records{A: {ttl: time.Minute}, AAAA: {ttl: time.Minute}}, notFound: true, took: 6 * ms, cached: true},
		"silent":               {v4: -1, v6: -1, took: askLimit, err: errTimeout, cached: true},
		"the first is refused": {v4: 5 * ms, v6: 5 * ms, answers: both, allow: no("2001:db8::1"), want: Targets{addrsOf("192.0.2.1")[0], true}, took: 5 * ms, cached: true},
		"one is left":          {v4: 5 * ms, v6: 5 * ms, answers: both, allow: no("2001:db8::1", "192.0.2.1"), want: Targets{addrsOf("192.0.2.2")[0], false}, took: 5 * ms, cached: true},
		"all are refused":      {v4: 5 * ms, v6: 5 * ms, answers: v4only, allow: no("192.0.2.1"), err: errRefused, took: 5 * ms, cached: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := "tcp"
				if test.network != "" {
					network = test.network
				}
				d := Dialer{Lookup: slowFake(test.v4, test.v6, test.answers).For(""), Allow: test.allow}
				if _, _, known := d.Cached(network, "x.test"); known {
					t.Error("known before anybody asked")
				}
				type outcome struct {
					Targets
					err error
				}
				done := make(chan outcome, 2)
				begun := time.Now()
				d.Find(network, "x.test", func(t Targets, err error) { done <- outcome{t, err} })
				got := <-done
				check := func(got outcome) {
					var dns *net.DNSError
					if test.notFound {
						if !errors.As(got.err, &dns) || !dns.IsNotFound {
							t.Errorf("error %v", got.err)
						}
						return
					}
					if got.Targets != test.want || !errors.Is(got.err, test.err) {
						t.Errorf("%+v, %v; want %+v, %v", got.Targets, got.err, test.want, test.err)
					}
				}
				if took := time.Since(begun); took != test.took {
					t.Errorf("took %v, want %v", took, test.took)
				}
				check(got)
				targets, err, known := d.Cached(network, "x.test")
				if known != test.cached {
					t.Errorf("cached: %v, want %v", known, test.cached)
				}
				if known {
					check(outcome{targets, err})
				}
				time.Sleep(time.Minute)
				if len(done) > 0 {
					t.Error("ready was called twice")
				}
			})
		})
	}
}

var errRefused = errors.New("refused")

func no(list ...string) func(netip.Addr) error {
	return func(ip netip.Addr) error {
		for _, a := range addrsOf(list...) {
			if a == ip {
				return errRefused
			}
		}
		return nil
	}
}

// After cancel nothing comes.
func TestFindCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := Dialer{Lookup: slowFake(5*ms, 9*ms, map[Type]records{A: {addrs: addrsOf("192.0.2.1"), ttl: time.Minute}}).For("")}
		d.Find("tcp", "x.test", func(Targets, error) { t.Error("called") })()
		time.Sleep(time.Minute)
	})
}

// RFC 4074 section 4.2: a server that answers a question about IPv6 with NXDOMAIN may still have
// an IPv4 address. Each way to look a name up waits for that answer.
func TestNoNameOfIPv6Alone(t *testing.T) {
	answers := map[Type]records{A: {addrs: addrsOf("192.0.2.1"), ttl: time.Minute}, AAAA: {noName: true, ttl: time.Minute}}
	want := answers[A].addrs[0]
	for name, ask := range map[string]func(context.Context, View) (netip.Addr, error){
		"Addresses": func(ctx context.Context, v View) (netip.Addr, error) {
			a, err := v.Addresses(ctx, "ip", "x.test")
			return append(a.Addrs, netip.Addr{})[0], err
		},
		"Dial": func(ctx context.Context, v View) (dialed netip.Addr, err error) {
			d := Dialer{Lookup: v, DialAddr: func(_ context.Context, _ string, to netip.AddrPort) (net.Conn, error) {
				dialed = to.Addr()
				c, other := net.Pipe()
				return c, other.Close()
			}}
			c, err := d.Dial(ctx, "tcp", "x.test", 80)
			if err == nil {
				err = c.Close()
			}
			return dialed, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				got, err := ask(t.Context(), slowFake(200*ms, 5*ms, answers).For(""))
				if took := time.Since(begun); err != nil || got != want || took != 200*ms {
					t.Errorf("%v, %v after %v", got, err, took)
				}
			})
		})
	}
}

// Both families are waited for, but one alone no longer than a grace; ready, and cancel, once.
func TestAskAddresses(t *testing.T) {
	v4 := records{addrs: addrsOf("192.0.2.1"), ttl: time.Minute}
	v6 := records{addrs: addrsOf("2001:db8::1"), ttl: 30 * time.Second}
	for name, test := range map[string]struct {
		v4, v6 time.Duration
		aaaa   records
		want   []netip.Addr
		took   time.Duration
	}{
		"both":         {v4: 9 * ms, v6: 5 * ms, aaaa: v6, want: addrsOf("192.0.2.1", "2001:db8::1"), took: 9 * ms},
		"IPv6 silent":  {v4: 5 * ms, v6: -1, aaaa: v6, want: v4.addrs, took: 5*ms + familyGrace},
		"IPv4 silent":  {v4: -1, v6: 5 * ms, aaaa: v6, want: v6.addrs, took: 5*ms + familyGrace},
		"IPv6 is none": {v4: 9 * ms, v6: 5 * ms, aaaa: records{ttl: time.Minute}, want: v4.addrs, took: 9 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := slowFake(test.v4, test.v6, map[Type]records{A: v4, AAAA: test.aaaa}).For("")
				begun, calls := time.Now(), atomic.Int32{}
				v.AskAddresses("ip", "x.test", func(a Answer, err error) {
					calls.Add(1)
					if took := time.Since(begun); err != nil || !slices.Equal(a.Addrs, test.want) || took != test.took {
						t.Errorf("%+v, %v after %v", a, err, took)
					}
				})
				v.AskAddresses("ip", "y.test", func(Answer, error) { t.Error("called after cancel") })()
				time.Sleep(time.Minute)
				if n := calls.Load(); n != 1 {
					t.Errorf("called %d times", n)
				}
			})
		})
	}
}
