package relay

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// One loop that accepts costs less for each connection than two that share them: fewer
// threads are woken, and the caches have what the last connection left there. So the first
// loop accepts alone while it sleeps now and then. When it does not, the next one helps,
// until the others could do without. Relays that last are shared out in any case.
const (
	// window is the time of which a loop knows how much it has slept. It is longer than a
	// moment in which many come at once.
	window = 100 * time.Millisecond

	// A loop that works for so many thousandths of a window needs help.
	needsHelp = 950

	// sharing is how much more all work together that share what one of them could do: its
	// part of a waking thread, of what a cache has not, and the time for which each waits
	// for a processor, which counts as work.
	sharing = 450

	// trial is after how many windows in a row in which the last one seemed not to be needed
	// the others try without it.
	trial = 20
)

// workload says how much of its time a loop works. What is not atomic is the loop's own.
type workload struct {
	from   time.Duration // when the window began, counted from eventLoops.born
	slept  time.Duration // in the window so far
	worked atomic.Int64  // thousandths of the last window that is over
	until  atomic.Int64  // when that was, likewise
}

// recent is how much the loop works now, which is nothing if it has slept on.
func (w *workload) recent(now time.Duration) int {
	if now-time.Duration(w.until.Load()) > 2*window {
		return 0
	}
	return int(w.worked.Load())
}

// acceptance says which loops accept. The zero value is ready for use.
type acceptance struct {
	helpers atomic.Int32 // those beside the first, in their order

	mu   sync.Mutex
	easy int // windows in a row in which the last was not needed
}

// slept notes that l slept from a time to now.
func (l *eventLoop) slept(from, now time.Duration) {
	w := &l.work
	w.slept += now - from
	if past := now - w.from; past >= window {
		w.worked.Store(int64(1000 - w.slept*1000/past))
		w.until.Store(int64(now))
		w.from, w.slept = now, 0
		l.engine.loops.share(now)
	}
}

// share has one loop more accept, or one less, as they work.
func (ls *eventLoops) share(now time.Duration) {
	a := &ls.acceptance
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 1 + int(a.helpers.Load())
	sum, least := 0, 1000
	for _, l := range ls.all[:n] {
		worked := l.work.recent(now)
		sum, least = sum+worked, min(least, worked)
	}
	switch {
	case least >= needsHelp && n < len(ls.all):
		ls.all[a.helpers.Add(1)].wakeAcceptors()
	case n == 1 || sum > (n-1)*needsHelp+sharing:
	case a.easy < trial:
		a.easy++
		return
	default:
		ls.all[a.helpers.Load()].wakeAcceptors()
		a.helpers.Add(-1)
	}
	a.easy = 0
}

// accepts reports whether l is one of the loops that accept.
func (l *eventLoop) accepts() bool { return l.place <= int(l.engine.loops.acceptance.helpers.Load()) }

// wakeAcceptors makes the acceptors of l check again whether to accept.
func (l *eventLoop) wakeAcceptors() { l.post(nil, false) }

// checkAcceptors is wakeAcceptors in the loop.
func (l *eventLoop) checkAcceptors() {
	for _, t := range l.acceptors {
		t.serve(l, toClient, unix.EPOLLIN)
	}
}
