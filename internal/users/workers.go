package users

import (
	"context"
	"runtime/debug"
	"sync"

	"hosier/internal/fair"
)

// collectFrom is the memory of a hash, in KiB, from which on it is given back to the system
// before the next one may begin, which takes some hundredths of what the hash took. The
// collector alone would let several of 64 MiB stand there, or their gaps.
const collectFrom = 8 << 10

// workers are the right to compute hashes. Clients that wait take turns, those that were
// right before the others, and nobody's name occupies all of them.
type workers struct {
	most int

	mu           sync.Mutex
	busy         int
	names        map[string]int // hashes under way, by user
	known, other fair.Queue[*job]
}

// job is a hash that waits for its turn or is computed.
type job struct {
	attempt
	granted chan struct{}
}

func newWorkers(most int) *workers {
	w := &workers{most: most, names: map[string]int{}}
	w.known.NewestFirst, w.other.NewestFirst = true, true
	return w
}

// acquire waits for the right to compute a hash. Unless it fails, which is when ctx ends,
// release must follow.
func (w *workers) acquire(ctx context.Context, a attempt) error {
	j := &job{a, make(chan struct{})}
	queue := &w.other
	if a.known {
		queue = &w.known
	}
	w.mu.Lock()
	at := queue.Push(a.party, j)
	w.grant()
	w.mu.Unlock()
	select {
	case <-j.granted:
		return nil
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-j.granted:
		return nil
	default:
	}
	queue.Remove(at)
	return busy(ctx)
}

// release ends a hash that took so much memory, in KiB.
func (w *workers) release(a attempt, memory uint32) {
	if memory >= collectFrom {
		debug.FreeOSMemory()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy--
	if w.names[a.user]--; w.names[a.user] == 0 {
		delete(w.names, a.user)
	}
	w.grant()
}

// grant lets begin what may. w.mu is held.
func (w *workers) grant() {
	for w.busy < w.most {
		j, ok := w.known.Next(w.take)
		if !ok {
			j, ok = w.other.Next(w.take)
		}
		if !ok {
			return
		}
		close(j.granted)
	}
}

// take occupies a worker for a job, but not the last one for a name that has all others.
func (w *workers) take(_ fair.Party, j *job) bool {
	if n := w.names[j.user]; n > 0 && n >= w.most-1 {
		return false
	}
	w.busy++
	w.names[j.user]++
	return true
}
