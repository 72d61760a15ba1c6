package tor

import (
	"container/list"
	"context"
	"sync"
	"time"

	"hosier/internal/fair"
)

const (
	// defaultDials is tor's MaxClientCircuitsPending: beyond it tor drops circuits that
	// it has begun to build.
	defaultDials = 32

	// circuitLife is how long a key is taken to have a circuit after a success: tor's
	// MaxCircuitDirtiness.
	circuitLife = 10 * time.Minute

	// slotLife is how long a key may occupy a slot. By then its circuit is there, and what
	// keeps it waiting is the target.
	slotLife = 20 * time.Second

	// manyKeys is when keys of old circuits are forgotten.
	manyKeys = 4096
)

// slots caps the keys for which one tor is building circuits. All dials of a key share a
// slot, since they share the circuit; a key that has a circuit needs none.
//
// Clients make keys up, so slots are dealt out by party: in turns, and of the last quarter
// only to those that hold little of the rest.
type slots struct {
	most int

	mu      sync.Mutex
	taken   int
	shares  fair.Shares // of those that are taken
	keys    map[string]*slot
	waiting fair.Queue[*slot] // that have dials waiting and none in progress
	swept   time.Time         // when forget last looked
}

// slot is what is known of a key.
type slot struct {
	key    string
	dials  int       // in progress
	queued list.List // of chan struct{}: dials that wait, closed when they may begin
	turn   *fair.Waiting[*slot]
	party  fair.Party  // that the slot counts for
	held   *time.Timer // it occupies a slot until this fires; nil if it does not
	warm   time.Time   // it has a circuit until then
}

// acquire waits until a dial of the party for the key may begin, and calls wait before it does.
// Unless it fails, which is when ctx ends, release must follow.
func (s *slots) acquire(ctx context.Context, wait func(), key string, p fair.Party) error {
	s.mu.Lock()
	k := s.of(key)
	if k.dials > 0 || time.Now().Before(k.warm) || k.turn == nil && s.take(p, k) {
		k.dials++
		s.mu.Unlock()
		return nil
	}
	if k.turn == nil {
		k.turn = s.waiting.Push(p, k)
	}
	granted := make(chan struct{})
	at := k.queued.PushBack(granted)
	s.mu.Unlock()
	wait()
	select {
	case <-granted:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-granted:
		return nil // meanwhile; the dial will see that ctx has ended
	default:
	}
	k.queued.Remove(at)
	if k.queued.Len() == 0 {
		s.waiting.Remove(k.turn)
		k.turn = nil
		s.drop(k)
	}
	return context.Cause(ctx)
}

// of returns what is known of the key, if only from now on. s.mu is held.
func (s *slots) of(key string) *slot {
	k := s.keys[key]
	if k == nil {
		s.forget(time.Now())
		k = &slot{key: key}
		s.keys[key] = k
	}
	return k
}

// take has k occupy a slot of the party's, if it may have one. s.mu is held.
func (s *slots) take(p fair.Party, k *slot) bool {
	free := s.most - s.taken
	if free <= 0 || !s.shares.Admits(p, free, s.most/4) {
		return false
	}
	s.taken++
	s.shares.Add(p)
	k.party = p
	var timer *time.Timer
	timer = time.AfterFunc(slotLife, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if k.held == timer { // else it was given back, and perhaps taken anew
			s.free(k)
		}
	})
	k.held = timer
	return true
}

// release ends a dial. One that succeeded shows that its key has a circuit.
func (s *slots) release(key string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.keys[key]
	k.dials--
	if ok {
		k.warm = time.Now().Add(circuitLife)
	}
	if ok || k.dials == 0 {
		s.free(k)
	}
	s.drop(k)
}

// free gives back the slot that k holds, if it does, to those that wait. s.mu is held.
func (s *slots) free(k *slot) {
	if k.held == nil {
		return
	}
	k.held.Stop()
	k.held = nil
	s.taken--
	s.shares.Remove(k.party)
	for s.taken < s.most {
		next, ok := s.waiting.Next(s.take)
		if !ok {
			return
		}
		next.begin()
	}
}

// begin lets all dials of k begin that wait.
func (k *slot) begin() {
	k.turn = nil
	for e := k.queued.Front(); e != nil; e = k.queued.Front() {
		close(k.queued.Remove(e).(chan struct{}))
		k.dials++
	}
}

// drop forgets a key of which nothing is known. s.mu is held.
func (s *slots) drop(k *slot) {
	if k.dials == 0 && k.turn == nil && k.held == nil && k.warm.IsZero() {
		delete(s.keys, k.key)
	}
}

// cool forgets the circuits of a tor that has lost them.
func (s *slots) cool() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.keys {
		k.warm = time.Time{}
	}
}

// forget makes room. s.mu is held.
func (s *slots) forget(now time.Time) {
	if len(s.keys) < manyKeys || now.Sub(s.swept) < time.Minute {
		return
	}
	s.swept = now
	for key, k := range s.keys {
		if k.dials == 0 && k.turn == nil && !now.Before(k.warm) {
			delete(s.keys, key)
		}
	}
}
