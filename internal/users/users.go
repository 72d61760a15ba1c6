// Package users judges names and passwords against a file of users.
//
// [Load] reads the file, a line "name:hash" a user; a [Verifier] judges logins by it. A
// password hash is slow on purpose, and a browser logs in anew with every connection, so a
// verified login is remembered for a while, under a key that only this process has. What
// is not remembered passes three gates before it costs a hash: one attempt at a time from
// a client, a growing pause after wrong ones, and a bound on the hashes computed at once.
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
// wrong too often.
type BackoffError struct{ Until time.Time }

func (e *BackoffError) Error() string {
	return "users: client must wait after wrong logins until " + e.Until.Format(time.RFC3339)
}

const (
	defaultParallel = 2               // each takes 64 MiB
	waitForTurn     = 5 * time.Second // half of what the proxy gives to a handshake
	rememberRight   = time.Hour
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
	secret [sha256.Size]byte // of this process: what is remembered is of no use elsewhere
	slots  chan struct{}     // a token is the right to compute a hash
	holds  holds

	accepted, cached, wrongs, heldOff, busy, hashed atomic.Uint64
}

// key stands for a name and a password.
type key [sha256.Size]byte

// NewVerifier judges by the list and computes at most so many hashes at once, 2 if
// parallel is 0. Each takes as much memory as the hashes in the file say: 64 MiB for those
// of [Hash].
func NewVerifier(l *List, parallel int) *Verifier {
	if parallel <= 0 {
		parallel = defaultParallel
	}
	g := &gates{slots: make(chan struct{}, parallel)}
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
// 5 s. Of a name that is unknown it takes as long as of a wrong password, if the hashes in
// the file are all of one cost.
//
// The first wrong login of a client is free. After the second its further ones are refused
// for a second, and for twice as long after each one more, up to a minute. IPv6 clients
// count by their /64, those without an address as one. What is remembered to be right or
// wrong is told in any case, at once, and does not count: a program that repeats its
// wrong password learns nothing, and must not shut out others on its host.
func (v *Verifier) Verify(ctx context.Context, client netip.Addr, user, password string) error {
	k := v.key(user, password)
	if known, right := v.recall(k); known {
		return v.tell(right, &v.cached)
	}
	ctx, cancel := context.WithTimeout(ctx, waitForTurn)
	defer cancel()
	h, err := v.holds.enter(ctx, client)
	if err != nil {
		return v.refuse(err)
	}
	known, right := v.recall(k) // perhaps the one before had the same to say
	if !known {
		right, err = v.judge(ctx, k, user, password)
	}
	v.holds.leave(h, !known && err == nil && !right)
	switch {
	case err != nil:
		return v.refuse(err)
	case known:
		return v.tell(right, &v.cached)
	}
	return v.tell(right, &v.accepted)
}

// key has the length of the name in it, or "ab" with "c" would be "a" with "bc".
func (v *Verifier) key(user, password string) (k key) {
	mac := hmac.New(sha256.New, v.secret[:])
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

// judge computes the hash, or waits for whoever computes it for the same login. An error
// wraps ErrBusy.
func (v *Verifier) judge(ctx context.Context, k key, user, password string) (right bool, err error) {
	for {
		done, mine := v.takeOff(k)
		if mine {
			right, err = v.hash(ctx, user, password)
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

func (v *Verifier) hash(ctx context.Context, user, password string) (bool, error) {
	if password == "" || len(password) > maxPassword {
		return false, nil // whoever the user is: it tells nothing about him
	}
	select {
	case v.slots <- struct{}{}:
	case <-ctx.Done():
		return false, busy(ctx)
	}
	defer func() { <-v.slots }()
	v.hashed.Add(1)
	return v.list.matches(user, password), nil
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
