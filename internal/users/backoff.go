package users

import (
	"container/list"
	"context"
	"sync"
	"time"
)

const (
	firstHold  = time.Second
	longHold   = time.Minute
	forgetHold = 15 * time.Minute // since the last wrong login
	maxHeld    = 8192             // of each kind; of more, the one that was wrong the longest ago is forgotten

	// freeOfPair is how often a client may be wrong about one name before it has to wait.
	freeOfPair = 1
	// freeOfClient is how many names a client may be wrong about before it has to wait with
	// all those that it was not right about lately. Behind one address may be many people.
	freeOfClient = 30
)

// holds knows which keys had wrong logins lately, and lets each have one attempt at a time:
// otherwise a hundred guesses at once would all be the first.
type holds struct {
	free int // wrong logins without a hold

	mu    sync.Mutex
	of    map[key]*held
	wrong list.List // of *held with wrong logins, the latest at the back
}

// held is one key. It is in the table while somebody uses it or it was wrong lately.
type held struct {
	key   key
	turn  chan struct{} // holds a token while one attempt is judged
	using int           // attempts that wait or are judged

	wrongs int
	last   time.Time // of the wrong logins
	until  time.Time
	place  *list.Element // in holds.wrong; nil without wrong logins
}

// enter waits until the key has no other attempt under way. The error is a *BackoffError or
// wraps ErrBusy. Without one, leave must follow.
func (hs *holds) enter(ctx context.Context, k key) (*held, error) {
	h, err := hs.use(k)
	if err != nil {
		return nil, err
	}
	select {
	case h.turn <- struct{}{}:
	case <-ctx.Done():
		hs.release(h)
		return nil, busy(ctx)
	}
	if err := hs.check(k); err != nil { // the one before may have been wrong
		hs.leave(h, false)
		return nil, err
	}
	return h, nil
}

// leave ends an attempt. It reports whether it was the first wrong one of its key.
func (hs *holds) leave(h *held, wrong bool) (first bool) {
	if wrong {
		first = hs.note(h.key)
	}
	<-h.turn
	hs.release(h)
	return first
}

func (hs *holds) use(k key) (*held, error) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	hs.forget(time.Now())
	h := hs.get(k)
	if err := h.check(); err != nil {
		return nil, err
	}
	h.using++
	return h, nil
}

// get returns what is known of the key, if only from now on. hs.mu is held.
func (hs *holds) get(k key) *held {
	h := hs.of[k]
	if h == nil {
		h = &held{key: k, turn: make(chan struct{}, 1)}
		if hs.of == nil {
			hs.of = map[key]*held{}
		}
		hs.of[k] = h
	}
	return h
}

func (hs *holds) release(h *held) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h.using--
	hs.drop(h)
}

// check returns a *BackoffError while the key is held off.
func (hs *holds) check(k key) error {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if h := hs.of[k]; h != nil {
		return h.check()
	}
	return nil
}

// note counts a wrong login, and reports whether it is the first that is remembered.
func (hs *holds) note(k key) (first bool) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	now := time.Now()
	hs.forget(now)
	h := hs.get(k)
	h.wrongs++
	h.last = now
	if over := h.wrongs - hs.free; over > 0 {
		h.until = now.Add(min(firstHold<<min(over-1, 10), longHold))
	}
	if h.place == nil {
		h.place = hs.wrong.PushBack(h)
	}
	hs.wrong.MoveToBack(h.place)
	hs.forget(now)
	return h.wrongs == 1
}

// forget drops what is too old, or too much.
func (hs *holds) forget(now time.Time) {
	for e := hs.wrong.Front(); e != nil; e = hs.wrong.Front() {
		h := e.Value.(*held)
		if hs.wrong.Len() <= maxHeld && now.Sub(h.last) < forgetHold {
			return
		}
		hs.wrong.Remove(e)
		h.place, h.wrongs, h.until = nil, 0, time.Time{}
		hs.drop(h)
	}
}

// drop takes out of the table what nobody needs there.
func (hs *holds) drop(h *held) {
	if h.using == 0 && h.place == nil {
		delete(hs.of, h.key)
	}
}

func (h *held) check() error {
	if time.Now().Before(h.until) {
		return &BackoffError{h.until}
	}
	return nil
}
