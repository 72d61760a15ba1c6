package limits

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func newLimiter(limits Limits) *Limiter {
	l := &Limiter{}
	l.Set(limits)
	return l
}

func addr(last byte) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, last}) }

// wantEmpty fails if anything is left of what has ended.
func wantEmpty(t *testing.T, l *Limiter) {
	t.Helper()
	if len(l.conns) != 0 || len(l.clients.parties) != 0 || len(l.users.parties) != 0 || l.clients.idle.Len()+l.users.idle.Len() != 0 {
		t.Errorf("%d connections, %d clients, %d users, %d and %d idle are left",
			len(l.conns), len(l.clients.parties), len(l.users.parties), l.clients.idle.Len(), l.users.idle.Len())
	}
}

// step is one call and the error that it must give.
type step struct {
	call string // begin, login, end
	id   uint64
	who  string // an address, or a user
	want error
}

func TestCounts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		limits Limits
		steps  []step
	}{
		{"none", Limits{}, []step{
			{"begin", 1, "192.0.2.1", nil},
			{"begin", 2, "192.0.2.1", nil},
			{"login", 1, "alice", nil},
			{"login", 2, "alice", nil},
		}},
		{"of a client", Limits{ConnsPerClient: 2}, []step{
			{"begin", 1, "192.0.2.1", nil},
			{"begin", 2, "::ffff:192.0.2.1", nil},
			{"begin", 3, "192.0.2.1", ErrClient},
			{"begin", 4, "192.0.2.2", nil},
			{"end", 3, "", nil},
			{"begin", 5, "192.0.2.1", ErrClient},
			{"end", 2, "", nil},
			{"end", 2, "", nil},
			{"begin", 6, "192.0.2.1", nil},
			{"begin", 7, "192.0.2.1", ErrClient},
		}},
		{"of an IPv6 network", Limits{ConnsPerClient: 1}, []step{
			{"begin", 1, "2001:db8::1", nil}, {"begin", 2, "2001:db8::2", ErrClient}, {"begin", 3, "2001:db8:0:1::1", nil},
		}},
		{"of one link", Limits{ConnsPerClient: 1}, []step{
			{"begin", 1, "fe80::1%eth0", nil}, {"begin", 2, "fe80::2%eth0", nil}, {"begin", 3, "fe80::1", ErrClient},
		}},
		{"without an address", Limits{ConnsPerClient: 1}, []step{
			{"begin", 1, "", nil}, {"begin", 2, "", ErrClient}, {"begin", 3, "192.0.2.1", nil},
		}},
		{"of a user", Limits{ConnsPerUser: 2}, []step{
			{"begin", 1, "192.0.2.1", nil},
			{"begin", 2, "192.0.2.2", nil},
			{"begin", 3, "192.0.2.3", nil},
			{"login", 1, "alice", nil},
			{"login", 2, "alice", nil},
			{"login", 3, "alice", ErrUser},
			{"login", 3, "bob", nil},
			{"login", 2, "alice", nil}, // once more, of the same connection
			{"login", 3, "alice", ErrUser},
			{"end", 1, "", nil},
			{"login", 3, "alice", nil},
		}},
		{"of another user", Limits{ConnsPerUser: 1}, []step{
			{"begin", 1, "192.0.2.1", nil},
			{"begin", 2, "192.0.2.2", nil},
			{"login", 1, "alice", nil},
			{"login", 1, "bob", nil},
			{"login", 2, "alice", nil},
		}},
		{"of nobody", Limits{ConnsPerUser: 1}, []step{
			{"begin", 1, "192.0.2.1", nil},
			{"begin", 2, "192.0.2.2", nil},
			{"login", 1, "", nil},
			{"login", 2, "", nil},
			{"login", 9, "alice", nil}, // of a connection that was not taken in
			{"login", 1, "alice", nil},
		}},
		{"moved to another client", Limits{ConnsPerClient: 1}, []step{
			{"begin", 1, "192.0.2.1", nil},
			{"begin", 1, "192.0.2.2", nil},
			{"begin", 2, "192.0.2.1", nil},
			{"begin", 2, "192.0.2.2", ErrClient},
			{"begin", 3, "192.0.2.1", nil},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLimiter(c.limits)
			for i, s := range c.steps {
				var err error
				switch s.call {
				case "begin":
					client, _ := netip.ParseAddr(s.who)
					err = l.Begin(s.id, client)
				case "login":
					err = l.Login(s.id, s.who)
				case "end":
					l.End(s.id)
				}
				if !errors.Is(err, s.want) || (err == nil) != (s.want == nil) {
					t.Fatalf("step %d, %+v: %v", i, s, err)
				}
			}
			for id := range uint64(10) {
				l.End(id)
			}
			wantEmpty(t, l)
		})
	}
}

// Whatever happens to connections, and in whatever order, nothing is left of them.
func TestNothingLeaks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(Limits{ConnsPerClient: 5, ConnsPerUser: 7, NewConnsPerSecond: 20})
		var all sync.WaitGroup
		for worker := range uint64(20) {
			all.Go(func() {
				r := rand.New(rand.NewPCG(worker, 1))
				for i := range uint64(200) {
					id := worker<<32 | i
					for range r.IntN(3) {
						l.Begin(id, addr(byte(r.IntN(10))))
					}
					for range r.IntN(3) {
						l.Login(id, []string{"", "alice", "bob"}[r.IntN(3)])
					}
					time.Sleep(time.Duration(r.IntN(1000)) * time.Millisecond)
					for range 1 + r.IntN(2) {
						l.End(id)
					}
				}
			})
			all.Go(func() {
				l.Set(Limits{ConnsPerClient: int(worker), ConnsPerUser: 3, NewConnsPerSecond: 5})
			})
		}
		all.Wait()
		time.Sleep(time.Minute)
		l.Begin(1, addr(99)) // sweeps
		l.Login(1, "carol")
		l.End(1)
		time.Sleep(time.Minute)
		l.Begin(1, addr(99))
		l.clients.sweep(time.Now())
		if len(l.conns) != 1 || len(l.clients.parties) != 1 || len(l.users.parties) != 0 {
			t.Errorf("%d connections, %d clients, %d users are left of others",
				len(l.conns)-1, len(l.clients.parties)-1, len(l.users.parties))
		}
	})
}

func TestRate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rate, burst int
	}{{1, 10}, {3, 10}, {5, 10}, {50, 100}} {
		synctest.Test(t, func(t *testing.T) {
			l := newLimiter(Limits{NewConnsPerSecond: c.rate})
			id := uint64(0)
			arrive := func() error {
				id++
				defer l.End(id) // it is the coming that counts, not the staying
				return l.Begin(id, addr(1))
			}
			for i := range c.burst {
				if err := arrive(); err != nil {
					t.Fatalf("%d a second: connection %d of the burst: %v", c.rate, i, err)
				}
			}
			for range 5 {
				if err := arrive(); !errors.Is(err, ErrRate) {
					t.Fatalf("%d a second: after the burst: %v", c.rate, err)
				}
			}
			if err := l.Begin(1<<40, addr(2)); err != nil {
				t.Errorf("another client: %v", err)
			}
			l.End(1 << 40)
			in := 0
			for range 10 * 1000 {
				time.Sleep(time.Millisecond)
				if arrive() == nil {
					in++
				}
			}
			if want := 10 * c.rate; in < want-1 || in > want {
				t.Errorf("%d a second: %d came in 10 s", c.rate, in)
			}
			time.Sleep(time.Minute)
			l.clients.sweep(time.Now())
			wantEmpty(t, l)
		})
	}
}

// A connection that is refused for another reason uses nothing of the rate up.
func TestRefusedIsNotCharged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(Limits{ConnsPerClient: 1, NewConnsPerSecond: 1})
		if err := l.Begin(1, addr(1)); err != nil {
			t.Fatal(err)
		}
		for range 100 {
			if err := l.Begin(2, addr(1)); !errors.Is(err, ErrClient) {
				t.Fatal(err)
			}
		}
		l.End(1)
		if err := l.Begin(3, addr(1)); err != nil {
			t.Error(err)
		}
	})
}

func TestSet(t *testing.T) {
	t.Parallel()
	l := newLimiter(Limits{BytesPerSecond: 1000})
	for id := range uint64(3) {
		if err := errors.Join(l.Begin(id, addr(1)), l.Login(id, "alice")); err != nil {
			t.Fatal(err)
		}
	}
	wantEmpty(t, l) // nothing is counted where there is nothing to count for
	if !l.Set(Limits{ConnsPerClient: 2, ConnsPerUser: 2}) {
		t.Error("counting does not begin")
	}
	for id := range uint64(3) {
		l.Adopt(id, addr(1), "alice")
		l.Adopt(id, addr(1), "alice") // is no second one
	}
	l.End(0)
	if err := l.Begin(9, addr(1)); !errors.Is(err, ErrClient) {
		t.Errorf("what was open before the limit does not count: %v", err)
	}
	if err := errors.Join(l.Begin(8, addr(2)), l.Login(8, "alice")); !errors.Is(err, ErrUser) {
		t.Errorf("what a user had before the limit does not count: %v", err)
	}
	l.End(1)
	if err := l.Begin(9, addr(1)); err != nil {
		t.Error(err)
	}
	if err := l.Login(9, "alice"); err != nil {
		t.Error(err)
	}
	if l.Set(Limits{ConnsPerClient: 1}) {
		t.Error("counting begins, and had never ended")
	}
	l.Set(Limits{})
	wantEmpty(t, l)
	if err := l.Begin(10, addr(1)); err != nil {
		t.Errorf("a limit that is gone: %v", err)
	}
	l.End(9)
	wantEmpty(t, l)
}

// Many addresses must not fill the memory.
func TestIdleIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(Limits{NewConnsPerSecond: 1})
		for i := range maxIdle + 100 {
			if err := l.Begin(1, netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})); err != nil {
				t.Fatal(err)
			}
			l.End(1)
		}
		if n := len(l.clients.parties); n != maxIdle || l.clients.idle.Len() != n {
			t.Errorf("%d clients are remembered, %d of them idle, want %d", n, l.clients.idle.Len(), maxIdle)
		}
		time.Sleep(time.Second)
		l.Begin(1, addr(1))
		if n := len(l.clients.parties); n != 1 {
			t.Errorf("%d clients are remembered when they are rested, want 1", n)
		}
	})
}
