package tor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hosier/internal/fair"
	"hosier/internal/sockstest"
	"hosier/socks"
)

// holding is a tor that answers when it is told to, and counts what waits.
type holding struct {
	mu        sync.Mutex
	now, most int
	release   chan error
}

func (h *holding) egress() *sockstest.Egress {
	return &sockstest.Egress{DialFunc: func(ctx context.Context, _ *socks.Request) (net.Conn, socks.Addr, error) {
		h.add(1)
		defer h.add(-1)
		select {
		case err := <-h.release:
			return nil, socks.Addr{}, err
		case <-ctx.Done():
			return nil, socks.Addr{}, ctx.Err()
		}
	}}
}

func (h *holding) add(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now += n
	h.most = max(h.most, h.now)
}

func (h *holding) waiting() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

// Keys beyond the cap wait for their turn, and all get it.
func TestDialsAreCapped(t *testing.T) {
	const limit, keys = 3, 12
	h := &holding{release: make(chan error)}
	socksPort, _ := fakeTor(t, h.egress())
	p := &Pool{Members: []Member{{SOCKS: socksPort}}, MaxDials: limit}
	errs := make(chan error, keys)
	for i := range keys {
		go func() {
			_, _, err := p.Dial(t.Context(), connectRequest(fmt.Sprint(i)))
			errs <- err
		}()
	}
	await(t, "the first dials", func() bool { return h.waiting() == limit })
	await(t, "the others to queue", func() bool { return p.queued() == keys-limit })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	proxy := (*socks.ProxyError)(nil)
	if _, _, err := p.Dial(ctx, connectRequest("late")); !errors.As(err, &proxy) || !errors.Is(err, context.Canceled) {
		t.Errorf("one that does not wait: %v", err)
	}
	for range keys {
		h.release <- socks.ConnectionRefused
		if err := <-errs; !errors.Is(err, socks.ConnectionRefused) {
			t.Error(err)
		}
	}
	if h.most != limit {
		t.Errorf("%d dials at once, want %d", h.most, limit)
	}
	if n := p.queued(); n != 0 || p.all[0].slots.taken != 0 || len(p.all[0].slots.keys) != 0 {
		t.Errorf("%d wait, %d slots are taken, %d keys are known, though nothing goes on", n, p.all[0].slots.taken, len(p.all[0].slots.keys))
	}
}

func (p *Pool) queued() int {
	s := &p.all[0].slots
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting.Len()
}

// Dials of one key share a circuit, and so a slot.
func TestDialsOfOneKey(t *testing.T) {
	const dials = 10
	h := &holding{release: make(chan error)}
	socksPort, _ := fakeTor(t, h.egress())
	p := &Pool{Members: []Member{{SOCKS: socksPort}}, MaxDials: 1}
	errs := make(chan error, dials)
	for range dials {
		go func() {
			_, _, err := p.Dial(t.Context(), connectRequest("one"))
			errs <- err
		}()
	}
	await(t, "all dials", func() bool { return h.waiting() == dials })
	for range dials {
		h.release <- socks.ConnectionRefused
		<-errs
	}
}

func TestSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slots{most: 1, keys: map[string]*slot{}}
		take := func(key string) error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return s.acquire(ctx, anywhere, key, fair.Party{})
		}
		if take("a") != nil || take("b") == nil {
			t.Fatal("not one of two")
		}
		s.release("a", true)
		if take("b") != nil || take("a") != nil || take("c") == nil {
			t.Fatal("a key with a circuit wants a slot, or one without gets it without")
		}
		s.release("a", false)
		time.Sleep(circuitLife)
		// The slot that b has held for so long is free again.
		if take("a") != nil || take("c") == nil {
			t.Fatal("a key whose circuit is old gets no slot, or two do")
		}
		s.release("a", true)
		s.release("b", false)
		s.cool()
		if take("c") != nil || take("a") == nil {
			t.Fatal("a circuit outlives its tor")
		}
		s.release("c", false)
		for i := range 2 * manyKeys {
			if i == manyKeys {
				time.Sleep(circuitLife)
			}
			key := fmt.Sprint(i)
			if take(key) != nil {
				t.Fatal("no slot though none is taken")
			}
			s.release(key, true)
		}
		if len(s.keys) > manyKeys+1 {
			t.Errorf("%d keys are remembered", len(s.keys))
		}
	})
}

// One client that asks for any number of circuits keeps neither another client nor a user
// waiting, and those get no more than it left to them.
func TestSlotsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const each = 5 * time.Second // that a circuit takes
		s := &slots{most: defaultDials, keys: map[string]*slot{}}
		greedy, other, user := fair.OfClient(netip.MustParseAddr("192.0.2.1")), fair.OfClient(netip.MustParseAddr("192.0.2.2")), fair.OfUser("ann")
		dial := func(p fair.Party, key string) (waited time.Duration) {
			start := time.Now()
			if err := s.acquire(t.Context(), anywhere, key, p); err != nil {
				t.Error(err)
			}
			waited = time.Since(start)
			time.Sleep(each)
			s.release(key, false)
			return waited
		}
		var all sync.WaitGroup
		for i := range 200 {
			all.Go(func() { dial(greedy, fmt.Sprint("greedy ", i)) })
		}
		synctest.Wait()
		if s.taken != defaultDials*3/4 {
			t.Errorf("one client has %d of %d slots", s.taken, defaultDials)
		}
		for name, p := range map[string]fair.Party{"another client": other, "a user": user} {
			if waited := dial(p, name); waited != 0 {
				t.Errorf("%s waits %v", name, waited)
			}
		}
		// As many as the others keep busy: those have turns, too.
		for i := range 20 {
			all.Go(func() {
				if waited := dial(other, fmt.Sprint("other ", i)); waited > 4*each {
					t.Errorf("request %d of 20 of another client waited %v", i, waited)
				}
			})
		}
		all.Wait()
		if s.taken != 0 || s.shares.Parties() != 0 || len(s.keys) != 0 || s.waiting.Len() != 0 {
			t.Errorf("%d slots, %d parties, %d keys, %d waiting are left of nothing", s.taken, s.shares.Parties(), len(s.keys), s.waiting.Len())
		}
	})
}

// A dial that gives up leaves the others of its key, and their turn, as they are.
func TestSlotsGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slots{most: 1, keys: map[string]*slot{}}
		if err := s.acquire(t.Context(), anywhere, "first", fair.Party{}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		gaveUp, stayed := make(chan error, 1), make(chan error, 1)
		go func() { gaveUp <- s.acquire(ctx, anywhere, "second", fair.Party{}) }()
		synctest.Wait()
		go func() { stayed <- s.acquire(t.Context(), anywhere, "second", fair.Party{}) }()
		synctest.Wait()
		cancel()
		if err := <-gaveUp; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		s.release("first", false)
		if err := <-stayed; err != nil {
			t.Error(err)
		}
		s.release("second", false)
		if len(s.keys) != 0 || s.waiting.Len() != 0 || s.taken != 0 {
			t.Errorf("%d keys, %d waiting, %d slots are left of nothing", len(s.keys), s.waiting.Len(), s.taken)
		}
	})
}

// anywhere is for those that may wait where they are.
func anywhere() {}

// A request that waits for its turn leaves the event loop, in which others are served meanwhile.
func TestWaitersLeaveLoop(t *testing.T) {
	h := &holding{release: make(chan error)}
	socksPort, _ := fakeTor(t, h.egress())
	p := &Pool{Members: []Member{{SOCKS: socksPort}}, MaxDials: 1}
	address := servePlain(t, p)
	ask := func(user string) net.Conn {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(patience))
		login := append(append([]byte{5, 1, 2, 1, byte(len(user))}, user...), 1, 'x')
		if _, err := c.Write(append(login, "\x05\x01\x00\x03\x06x.test\x00\x50"...)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 4)); err != nil { // method and verdict
			t.Fatalf("%s: %v", user, err)
		}
		return c
	}
	var all []net.Conn
	for i := range 8 { // those after the second would not be heard
		all = append(all, ask(fmt.Sprint(i)))
		await(t, "the others to queue", func() bool { return h.waiting() == 1 && p.queued() == i })
	}
	for range all {
		h.release <- socks.ConnectionRefused
	}
	for _, c := range all {
		reply := make([]byte, 2)
		if _, err := io.ReadFull(c, reply); err != nil || reply[1] != 5 {
			t.Errorf("reply % x, %v", reply, err)
		}
	}
}
