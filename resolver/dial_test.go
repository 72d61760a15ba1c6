package resolver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// world is names and hosts that a Dialer meets, in the time of a synctest bubble.
type world struct {
	v4, v6 lookup
	hosts  map[string]host

	mu    *sync.Mutex
	tried []string
}

type lookup struct {
	addrs  []string
	after  time.Duration
	silent bool
}

type host struct {
	after   time.Duration
	dead    bool // no answer at all
	refuses bool
}

func (w *world) LookupNetIP(ctx context.Context, network, name string) ([]netip.Addr, error) {
	l := w.v4
	if network == "ip6" {
		l = w.v6
	}
	if l.silent {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	select {
	case <-time.After(l.after):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if len(l.addrs) == 0 {
		return nil, notFound(name, "", "no record")
	}
	return addrsOf(l.addrs...), nil
}

func (w *world) dial(ctx context.Context, _ string, to netip.AddrPort) (net.Conn, error) {
	w.mu.Lock()
	w.tried = append(w.tried, to.Addr().String())
	h := w.hosts[to.Addr().String()]
	w.mu.Unlock()
	if h.dead {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	select {
	case <-time.After(h.after):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if h.refuses {
		return nil, syscall.ECONNREFUSED
	}
	c, other := net.Pipe()
	other.Close()
	return conn{c, to}, nil
}

type conn struct {
	net.Conn
	to netip.AddrPort
}

const ms = time.Millisecond

func dead(n int) (addrs []string, hosts map[string]host) {
	hosts = map[string]host{"192.0.2.200": {after: ms}}
	for i := range n {
		a := fmt.Sprintf("192.0.2.%d", i+1)
		addrs = append(addrs, a)
		hosts[a] = host{dead: true}
	}
	return append(addrs, "192.0.2.200"), hosts
}

// How long a connection takes where something is silent, slow or dead: RFC 8305.
func TestRace(t *testing.T) {
	eight, eightHosts := dead(8)
	twelve, twelveHosts := dead(12)
	up := map[string]host{"192.0.2.1": {after: 20 * ms}, "2001:db8::1": {after: 20 * ms}}
	for name, test := range map[string]struct {
		world
		network string
		to      string
		took    time.Duration
		err     error
	}{
		"s4/IPv6 first":            {world: world{v4: lookup{addrs: []string{"192.0.2.1"}}, v6: lookup{addrs: []string{"2001:db8::1"}}, hosts: up}, to: "2001:db8::1", took: 20 * ms},
		"s3/IPv6 within the delay": {world: world{v4: lookup{addrs: []string{"192.0.2.1"}}, v6: lookup{addrs: []string{"2001:db8::1"}, after: 40 * ms}, hosts: up}, to: "2001:db8::1", took: 60 * ms},
		"s3/IPv6 silent":           {world: world{v4: lookup{addrs: []string{"192.0.2.1"}}, v6: lookup{silent: true}, hosts: up}, to: "192.0.2.1", took: 70 * ms},
		"s3/IPv4 silent":           {world: world{v4: lookup{silent: true}, v6: lookup{addrs: []string{"2001:db8::1"}}, hosts: up}, to: "2001:db8::1", took: 20 * ms},
		"s3/IPv6 has none":         {world: world{v4: lookup{addrs: []string{"192.0.2.1"}}, hosts: up}, to: "192.0.2.1", took: 20 * ms},
		"s3/late answer joins": {
			world: world{
				v4: lookup{addrs: []string{"192.0.2.9"}}, v6: lookup{addrs: []string{"2001:db8::1"}, after: 100 * ms},
				hosts: map[string]host{"192.0.2.9": {dead: true}, "2001:db8::1": {after: 20 * ms}},
			},
			to: "2001:db8::1", took: 320 * ms,
		},
		"s5/IPv6 dead": {
			world: world{
				v4: lookup{addrs: []string{"192.0.2.1"}}, v6: lookup{addrs: []string{"2001:db8::9"}},
				hosts: map[string]host{"2001:db8::9": {dead: true}, "192.0.2.1": {after: 20 * ms}},
			},
			to: "192.0.2.1", took: 270 * ms,
		},
		"s5/refused: the next at once": {
			world: world{
				v4: lookup{addrs: []string{"192.0.2.1"}}, v6: lookup{addrs: []string{"2001:db8::9"}},
				hosts: map[string]host{"2001:db8::9": {refuses: true}, "192.0.2.1": {after: 20 * ms}},
			},
			to: "192.0.2.1", took: 20 * ms,
		},
		"s5/a slow first address wins": {
			world: world{
				v4: lookup{addrs: []string{"192.0.2.1"}}, v6: lookup{addrs: []string{"2001:db8::1"}},
				hosts: map[string]host{"2001:db8::1": {after: 300 * ms}, "192.0.2.1": {after: 100 * ms}},
			},
			to: "2001:db8::1", took: 300 * ms,
		},
		"s5/eight dead addresses":  {world: world{v4: lookup{addrs: eight}, hosts: eightHosts}, to: "192.0.2.200", took: 1401 * ms},
		"s5/twelve dead addresses": {world: world{v4: lookup{addrs: twelve}, hosts: twelveHosts}, to: "192.0.2.200", took: 2001 * ms},
		"s5/six slow addresses": {
			world: world{v4: lookup{addrs: eight[:6]}, hosts: map[string]host{
				"192.0.2.1": {after: 3000 * ms}, "192.0.2.2": {after: 3000 * ms}, "192.0.2.3": {after: 3000 * ms},
				"192.0.2.4": {after: 3000 * ms}, "192.0.2.5": {after: 3000 * ms}, "192.0.2.6": {after: 3000 * ms},
			}}, to: "192.0.2.3", took: 3500 * ms,
		},
		"tcp4 asks one family": {world: world{v4: lookup{addrs: []string{"192.0.2.1"}}, v6: lookup{addrs: []string{"2001:db8::1"}}, hosts: up}, network: "tcp4", to: "192.0.2.1", took: 20 * ms},
		"all refuse": {
			world: world{v4: lookup{addrs: []string{"192.0.2.1", "192.0.2.2"}}, hosts: map[string]host{"192.0.2.1": {refuses: true}, "192.0.2.2": {refuses: true}}},
			err:   syscall.ECONNREFUSED,
		},
		"no address": {err: &net.DNSError{}},
		"all silent": {world: world{v4: lookup{silent: true}, v6: lookup{silent: true}}, err: context.DeadlineExceeded, took: 30 * time.Second},
		"all dead":   {world: world{v4: lookup{addrs: eight[:8]}, hosts: eightHosts}, err: context.DeadlineExceeded, took: 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				test.mu = new(sync.Mutex)
				d := Dialer{Lookup: &test.world, DialAddr: test.dial}
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				network := "tcp"
				if test.network != "" {
					network = test.network
				}
				begun := time.Now()
				c, err := d.Dial(ctx, network, "x.test", 80)
				if took := time.Since(begun); took != test.took {
					t.Errorf("took %v, want %v", took, test.took)
				}
				if test.err != nil {
					var dns *net.DNSError
					if want := new(net.DNSError); errors.As(test.err, &want) && errors.As(err, &dns) && dns.IsNotFound {
						return
					}
					if !errors.Is(err, test.err) {
						t.Errorf("error %v, want %v", err, test.err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if got := c.(conn).to; got.Addr().String() != test.to || got.Port() != 80 {
					t.Errorf("connected to %v, want %s", got, test.to)
				}
			})
		})
	}
}

// The address that worked is the first one of the next connection, and after a while is not.
func TestWorked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		addrs, hosts := dead(2)
		w := &world{v4: lookup{addrs: addrs}, hosts: hosts, mu: new(sync.Mutex)}
		d := Dialer{Lookup: w, DialAddr: w.dial, Memory: new(Memory)}
		dial := func() time.Duration {
			begun := time.Now()
			c, err := d.Dial(t.Context(), "tcp", "x.test", 80)
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
			return time.Since(begun)
		}
		for _, want := range []time.Duration{501 * ms, ms, ms} {
			if took := dial(); took != want {
				t.Errorf("took %v, want %v", took, want)
			}
		}
		time.Sleep(memoryLife)
		if took := dial(); took != 501*ms {
			t.Errorf("took %v when the memory was old", took)
		}
	})
}

// Where IPv6 leads nowhere, IPv4 comes first for other names too.
func TestPreferIPv4(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{
			v4: lookup{addrs: []string{"192.0.2.1"}}, v6: lookup{addrs: []string{"2001:db8::9"}},
			hosts: map[string]host{"2001:db8::9": {dead: true}}, mu: new(sync.Mutex),
		}
		d := Dialer{Lookup: w, DialAddr: w.dial, Memory: new(Memory)}
		for i := range 3 {
			c, err := d.Dial(t.Context(), "tcp", fmt.Sprintf("x%d.test", i), 80)
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
		}
		if want := []string{"2001:db8::9", "192.0.2.1", "192.0.2.1", "192.0.2.1"}; !slices.Equal(w.tried, want) {
			t.Errorf("tried %v, want %v", w.tried, want)
		}
		time.Sleep(preferIPv4For)
		c, err := d.Dial(t.Context(), "tcp", "y.test", 80)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if w.tried[4] != "2001:db8::9" {
			t.Errorf("tried %v: IPv6 gets no second chance", w.tried)
		}
	})
}
