// Package users judges names and passwords against a file of users.
//
// [Load] reads the file, a line "name:hash" a user; a [Verifier] judges logins by it. A
// password hash is slow on purpose, and a browser logs in anew with every connection, so a
// verified login is remembered for a while, under a key that only this process has. What
// is not remembered passes three gates before it costs a hash: one attempt at a time from
// a client for a name, a growing pause after wrong ones, and a bound on the hashes computed
// at once, for which clients take turns.
package users

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"hosier/internal/fair"
)

// Why a login was refused, beside [BackoffError].
var (
	// ErrWrong says that there is no such user or that the password is another one; nobody
	// learns which.
	ErrWrong = errors.New("users: wrong user or password")
	// ErrBusy says that too many others were waiting for a hash: nothing was judged.
	ErrBusy = errors.New("users: too many logins at once")
)

// BackoffError refuses a login, right or wrong, without a look at it, since the client was
// wrong too often about this name, or about too many.
type BackoffError struct{ Until time.Time }

func (e *BackoffError) Error() string {
	return "users: client must wait after wrong logins until " + e.Until.Format(time.RFC3339)
}

const (
	defaultParallel = 2               // each takes 64 MiB
	waitForTurn     = 8 * time.Second // of the 10 s that the proxy gives to a handshake
	rememberRight   = time.Hour
	rememberKnown   = 24 * time.Hour // that a client was right about a name
	rememberWrong   = 10 * time.Minute
	maxRight        = 16384 // logins remembered, of some hundred bytes each
	maxWrong        = 4096
	maxPassword     = 255 // bytes, RFC 1929 section 2
)

// Verifier judges logins by a list. It must come from [NewVerifier] or [Verifier.With], and
// may be used by many goroutines at once.
type Verifier struct {
	*gates
	list *List

	mu           sync.Mutex
	right, wrong cache
	flights      map[key]chan struct{} // closed when the verdict is there
}

// gates are what verifiers share that come one from the other.
type gates struct {
	secret  [sha256.Size]byte // of this process: what is remembered is of no use elsewhere
	workers *workers
	pairs   holds // of a client and a name
	clients holds // of a client, about how many names it was wrong

	mu    sync.Mutex
	known cache // pairs that were right

	accepted, cached, wrongs, heldOff, busy, hashed atomic.Uint64
}

// key stands for a name and a password, or for a client and a name.
type key [sha256.Size]byte

// attempt is who tries to log in.
type attempt struct {
	user         string
	party        fair.Party
	pair, client key
	known        bool // the client was right about the name lately
}

// NewVerifier judges by the list and computes at most so many hashes at once, 2 if
// parallel is 0. Each takes as much memory as the hashes in the file say, 64 MiB for those
// of [Hash], and that is collected before another begins.
func NewVerifier(l *List, parallel int) *Verifier {
	if parallel <= 0 {
		parallel = defaultParallel
	}
	g := &gates{
		workers: newWorkers(parallel),
		pairs:   holds{free: freeOfPair},
		clients: holds{free: freeOfClient},
		known:   cache{max: maxRight, age: rememberKnown},
	}
	rand.Read(g.secret[:])
	return newVerifier(g, l)
}

func newVerifier(g *gates, l *List) *Verifier {
	return &Verifier{
		gates:   g,
		list:    l,
		right:   cache{max: maxRight, age: rememberRight},
		wrong:   cache{max: maxWrong, age: rememberWrong},
		flights: map[key]chan struct{}{},
	}
}

// With returns what judges by another list: v itself if that says the same, else one that
// remembers no verdict. Both hold clients off together, count together, and compute no more
// hashes at once than v alone; v goes on judging by its own list.
func (v *Verifier) With(l *List) *Verifier {
	if l.sum == v.list.sum {
		return v
	}
	return newVerifier(v.gates, l)
}

// List returns the list that v judges by.
func (v *Verifier) List() *List { return v.list }

// Verify returns nil if the password is the user's. Otherwise the error is [ErrWrong], a
// *[BackoffError], or wraps [ErrBusy]: it waits for its turn until ctx ends, and at most
// 8 s. Of a name that is unknown it takes as long as of a wrong password, if the hashes in
// the file are all of one cost.
//
// The first wrong login of a client for a name is free. After the second its further ones
// for that name are refused for a second, and for twice as long after each one more, up to a
// minute; other names are not. A client that was wrong about more than 30 names waits in
// the same way with all names but those that it was right about within a day. What makes a
// client is in [fair.Client]. What is remembered to be right or wrong is told in any case, at
// once, and does not count: a program that repeats its wrong password learns nothing.
//
// Whoever must not wait asks [Verifier.Recalls] before.
func (v *Verifier) Verify(ctx context.Context, client netip.Addr, user, password string) error {
	k := v.key(user, password)
	if known, right := v.recall(k); known {
		return v.tell(right, &v.cached)
	}
	ctx, cancel := context.WithTimeout(ctx, waitForTurn)
	defer cancel()
	a := v.attempt(client, user)
	if err := v.mayTry(a); err != nil {
		return v.refuse(err)
	}
	h, err := v.pairs.enter(ctx, a.pair)
	if err != nil {
		return v.refuse(err)
	}
	known, right := v.recall(k) // perhaps the one before had the same to say
	if !known {
		right, err = v.judge(ctx, k, a, password)
	}
	if v.pairs.leave(h, !known && err == nil && !right) {
		v.clients.note(a.client)
	}
	switch {
	case err != nil:
		return v.refuse(err)
	case known:
		return v.tell(right, &v.cached)
	}
	if right {
		v.remember(a)
	}
	return v.tell(right, &v.accepted)
}

// Recalls reports whether the password is remembered to be the user's, and counts that as Verify
// would, which need not be asked then. It does not wait.
func (v *Verifier) Recalls(user, password string) bool {
	_, right := v.recall(v.key(user, password))
	return right && v.tell(right, &v.cached) == nil
}

func (g *gates) attempt(client netip.Addr, user string) attempt {
	c := fair.Client(client)
	a := attempt{user: user, party: fair.OfClient(c), pair: g.key(c.String(), user), client: g.key(c.String(), "")}
	g.mu.Lock()
	defer g.mu.Unlock()
	a.known = g.known.has(a.pair, time.Now())
	return a
}

// mayTry refuses a client that was wrong about too many names.
func (g *gates) mayTry(a attempt) error {
	if a.known {
		return nil
	}
	return g.clients.check(a.client)
}

func (g *gates) remember(a attempt) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.known.add(a.pair, time.Now())
}

// key has the length of the name in it, or "ab" with "c" would be "a" with "bc".
func (g *gates) key(user, password string) (k key) {
	mac := hmac.New(sha256.New, g.secret[:])
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(user))))
	mac.Write([]byte(user))
	mac.Write([]byte(password))
	mac.Sum(k[:0])
	return k
}

func (v *Verifier) tell(right bool, counter *atomic.Uint64) error {
	if !right {
		v.wrongs.Add(1)
		return ErrWrong
	}
	counter.Add(1)
	return nil
}

func (v *Verifier) refuse(err error) error {
	if errors.Is(err, ErrBusy) {
		v.busy.Add(1)
	} else {
		v.heldOff.Add(1)
	}
	return err
}

// judge computes the hash, or waits for whoever computes it for the same login. An error is
// a *BackoffError or wraps ErrBusy.
func (v *Verifier) judge(ctx context.Context, k key, a attempt, password string) (right bool, err error) {
	for {
		done, mine := v.takeOff(k)
		if mine {
			right, err = v.hash(ctx, a, password)
			v.land(k, right, err)
			return right, err
		}
		select {
		case <-done:
		case <-ctx.Done():
			return false, busy(ctx)
		}
		if known, right := v.recall(k); known {
			return right, nil
		}
		// Whoever computed it was called off: it is up to the next.
	}
}

func (v *Verifier) hash(ctx context.Context, a attempt, password string) (bool, error) {
	if password == "" || len(password) > maxPassword {
		return false, nil // whoever the user is: it tells nothing about him
	}
	if err := v.workers.acquire(ctx, a); err != nil {
		return false, err
	}
	// The next may begin when the memory of this one is free, but its client need not wait.
	defer func() { go v.workers.release(a, v.list.memory(a.user)) }()
	if err := v.mayTry(a); err != nil { // others of the client were wrong meanwhile
		return false, err
	}
	v.hashed.Add(1)
	return v.list.matches(a.user, password), nil
}

func busy(ctx context.Context) error { return fmt.Errorf("%w: %w", ErrBusy, ctx.Err()) }

func (v *Verifier) recall(k key) (known, right bool) {
	now := time.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.right.has(k, now) {
		return true, true
	}
	return v.wrong.has(k, now), false
}

// takeOff makes the caller the one who computes, or says when another one has.
func (v *Verifier) takeOff(k key) (done chan struct{}, mine bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if done = v.flights[k]; done != nil {
		return done, false
	}
	done = make(chan struct{})
	v.flights[k] = done
	return done, true
}

func (v *Verifier) land(k key, right bool, err error) {
	now := time.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case err != nil:
	case right:
		v.right.add(k, now)
	default:
		v.wrong.add(k, now)
	}
	close(v.flights[k])
	delete(v.flights, k)
}

// Counts says what became of the logins since the process began.
type Counts struct {
	Accepted uint64 // after a hash
	Cached   uint64 // accepted because they were remembered
	Wrong    uint64
	HeldOff  uint64 // refused by a BackoffError
	Busy     uint64
	Hashed   uint64 // hashes computed
}

// Counts returns what was counted so far.
func (v *Verifier) Counts() Counts {
	return Counts{
		Accepted: v.accepted.Load(), Cached: v.cached.Load(), Wrong: v.wrongs.Load(),
		HeldOff: v.heldOff.Load(), Busy: v.busy.Load(), Hashed: v.hashed.Load(),
	}
}
