package tor

import (
	"context"
	"slices"
	"sync"
	"time"
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
type slots struct {
	most int

	mu      sync.Mutex
	taken   int
	keys    map[string]*slot
	waiting []*waiter // in the order of their coming
	swept   time.Time // when forget last looked
}

// slot is what is known of a key.
type slot struct {
	dials int         // in progress
	held  *time.Timer // it occupies a slot until this fires; nil if it does not
	warm  time.Time   // it has a circuit until then
}

type waiter struct {
	key     string
	granted chan struct{}
}

// acquire waits until a dial for the key may begin. Unless it fails, which is when ctx
// ends, release must follow.
func (s *slots) acquire(ctx context.Context, key string) error {
	s.mu.Lock()
	if s.admit(key) {
		s.mu.Unlock()
		return nil
	}
	w := &waiter{key: key, granted: make(chan struct{})}
	s.waiting = append(s.waiting, w)
	s.mu.Unlock()
	select {
	case <-w.granted:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.waiting, w); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
		return context.Cause(ctx)
	}
	return nil // granted meanwhile; the dial will see that ctx has ended
}

// admit begins a dial if it needs no slot or there is one. s.mu is held.
func (s *slots) admit(key string) bool {
	k := s.keys[key]
	now := time.Now()
	if k != nil && (k.dials > 0 || now.Before(k.warm)) {
		k.dials++
		return true
	}
	if s.taken >= s.most {
		return false
	}
	if k == nil {
		s.forget(now)
		k = &slot{}
		s.keys[key] = k
	}
	s.taken++
	k.dials++
	k.held = time.AfterFunc(slotLife, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.free(k)
	})
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
	if k.dials == 0 && k.warm.IsZero() {
		delete(s.keys, key)
	}
}

// free gives back the slot that k holds, if it does, to those that wait. s.mu is held.
func (s *slots) free(k *slot) {
	if k.held == nil {
		return
	}
	k.held.Stop()
	k.held = nil
	s.taken--
	s.waiting = slices.DeleteFunc(s.waiting, func(w *waiter) bool {
		if !s.admit(w.key) {
			return false
		}
		close(w.granted)
		return true
	})
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
		if k.dials == 0 && !now.Before(k.warm) {
			delete(s.keys, key)
		}
	}
}
