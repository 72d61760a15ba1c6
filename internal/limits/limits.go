// Package limits counts what clients and users take, and says when it is enough:
// connections at once, new connections a second, bytes a second.
//
// A connection is known by its id, so that its end gives back exactly what it took,
// whatever became of it in between.
package limits

import (
	"container/list"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"hosier/internal/fair"
)

// Why a connection was refused.
var (
	ErrClient = errors.New("limits: too many connections of the client")
	ErrRate   = errors.New("limits: too many new connections of the client")
	ErrUser   = errors.New("limits: too many connections of the user")
)

// Limits bound what may be taken. 0 or less stands for no limit.
type Limits struct {
	ConnsPerClient    int   // at once
	ConnsPerUser      int   // at once
	NewConnsPerSecond int   // of one client; those of two seconds may come at once, but ten in any case
	BytesPerSecond    int64 // of one user, of all his connections and both ways together
}

// Limiter holds clients and users to the limits. Its zero value has none. Its methods may
// be called by many goroutines at once.
//
// A client is what [fair.Client] makes of its address. Clients without an address, on Unix
// sockets, are one.
type Limiter struct {
	rate   atomic.Int64 // BytesPerSecond
	counts atomic.Bool  // any of the others is set

	mu      sync.Mutex
	limits  Limits
	conns   map[uint64]lease
	clients table[netip.Addr]
	users   table[string]
}

// lease is what one connection has taken.
type lease struct {
	client *party[netip.Addr]
	user   *party[string] // nil before Login
}

// Set puts other limits in place. Without any but BytesPerSecond nothing is counted, which
// costs nothing; it reports whether counting begins now, so that the caller can [Limiter.Adopt]
// what is open. What was counted before stays so. A connection that began when users had no
// limit of bytes keeps none.
func (l *Limiter) Set(limits Limits) (begins bool) {
	counts := limits.ConnsPerClient > 0 || limits.ConnsPerUser > 0 || limits.NewConnsPerSecond > 0
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limits = limits
	l.rate.Store(max(limits.BytesPerSecond, 0))
	if !counts {
		now := time.Now()
		for id := range l.conns {
			l.end(id, now)
		}
	}
	return !l.counts.Swap(counts) && counts
}

// Adopt counts a connection that is open already, also beyond the limits.
func (l *Limiter) Adopt(id uint64, client netip.Addr, user string) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end(id, now)
	l.take(id, l.clients.hold(fair.Client(client), now))
	if user != "" {
		l.login(id, l.users.hold(user, now))
	}
}

// Begin takes a connection of the client in. An error wraps [ErrClient] or
// [ErrRate]; then nothing was taken, and the connection is to be refused. Begin of one that
// has begun already moves it to the client.
func (l *Limiter) Begin(id uint64, client netip.Addr) error {
	if !l.counts.Load() {
		return nil
	}
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end(id, now)
	c := l.clients.hold(fair.Client(client), now)
	if err := l.judge(c, now); err != nil {
		l.clients.release(c, now)
		return err
	}
	l.take(id, c)
	return nil
}

func (l *Limiter) take(id uint64, c *party[netip.Addr]) {
	c.conns++
	if l.conns == nil {
		l.conns = map[uint64]lease{}
	}
	l.conns[id] = lease{client: c}
}

// judge comes to the rate last: a connection that is refused uses none of it up.
func (l *Limiter) judge(c *party[netip.Addr], now time.Time) error {
	if most := l.limits.ConnsPerClient; most > 0 && c.conns >= most {
		return fmt.Errorf("%w: %d", ErrClient, most)
	}
	if rate := l.limits.NewConnsPerSecond; rate > 0 && !c.arrive(rate, now) {
		return fmt.Errorf("%w: %d a second", ErrRate, rate)
	}
	return nil
}

// Login makes the connection one of the user. With an error, which wraps [ErrUser], it is
// not, and is to be refused. A second Login takes the place of the first. An empty name is
// no user, and a connection that was not taken in has none.
func (l *Limiter) Login(id uint64, user string) error {
	if !l.counts.Load() {
		return nil
	}
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	c, ok := l.conns[id]
	if !ok {
		return nil
	}
	if c.user != nil {
		l.logout(c.user, now)
		c.user = nil
		l.conns[id] = c
	}
	if user == "" {
		return nil
	}
	u := l.users.hold(user, now)
	if most := l.limits.ConnsPerUser; most > 0 && u.conns >= most {
		l.users.release(u, now)
		return fmt.Errorf("%w: %d", ErrUser, most)
	}
	l.login(id, u)
	return nil
}

func (l *Limiter) login(id uint64, u *party[string]) {
	u.conns++
	l.conns[id] = lease{client: l.conns[id].client, user: u}
}

// End gives back what the connection took: nothing if it was not taken in, or has ended.
func (l *Limiter) End(id uint64) {
	if !l.counts.Load() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end(id, time.Now())
}

func (l *Limiter) end(id uint64, now time.Time) {
	c, ok := l.conns[id]
	if !ok {
		return
	}
	if c.user != nil {
		l.logout(c.user, now)
	}
	c.client.conns--
	l.clients.release(c.client, now)
	delete(l.conns, id)
}

func (l *Limiter) logout(u *party[string], now time.Time) {
	u.conns--
	l.users.release(u, now)
}

// arrive reports whether one more connection may come now: the generic cell rate algorithm,
// a token bucket that needs one number.
func (p *party[K]) arrive(rate int, now time.Time) bool {
	each := time.Second / time.Duration(rate)
	burst := max(2*rate, 10)
	next := later(p.arrivals, now).Add(each)
	if next.Sub(now) > time.Duration(burst)*each {
		return false
	}
	p.arrivals = next
	return true
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// maxIdle is how many parties are remembered that have no connection, for what they have
// used up; of more, the one that left first is forgotten.
const maxIdle = 16384

// table knows the parties that have connections, or had some so lately that their rates
// still count. Its zero value is empty.
type table[K comparable] struct {
	parties map[K]*party[K]
	idle    list.List // of *party[K] without holders, the one that left last at the back
}

// party is a client or a user.
type party[K comparable] struct {
	key      K
	holders  int // leases, and connections of [Limiter.Conn]
	conns    int
	arrivals time.Time // when all that came would have come at the rate; of clients
	bytes    pace      // of users
	place    *list.Element
}

func (t *table[K]) hold(key K, now time.Time) *party[K] {
	t.sweep(now)
	p := t.parties[key]
	if p == nil {
		p = &party[K]{key: key}
		if t.parties == nil {
			t.parties = map[K]*party[K]{}
		}
		t.parties[key] = p
	}
	if p.place != nil {
		t.idle.Remove(p.place)
		p.place = nil
	}
	p.holders++
	return p
}

func (t *table[K]) release(p *party[K], now time.Time) {
	p.holders--
	switch {
	case p.holders > 0:
	case p.isRested(now):
		delete(t.parties, p.key)
	default:
		p.place = t.idle.PushBack(p)
	}
	t.sweep(now)
}

// sweep forgets the idle, those first that left first. One of them may hide others behind
// it that have nothing used up, but not for longer than it takes itself.
func (t *table[K]) sweep(now time.Time) {
	for e := t.idle.Front(); e != nil; e = t.idle.Front() {
		p := e.Value.(*party[K])
		if t.idle.Len() <= maxIdle && !p.isRested(now) {
			return
		}
		t.idle.Remove(e)
		delete(t.parties, p.key)
	}
}

// isRested reports whether forgetting the party makes no difference.
func (p *party[K]) isRested(now time.Time) bool {
	return !p.arrivals.After(now) && !p.bytes.paidUntil().After(now.Add(-slack))
}
