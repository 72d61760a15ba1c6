package relay

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// tick is the precision of idle limits. A relay ends up to a tick late, never early.
	tick = time.Millisecond

	wheelLevels = 7 // 64 to the 7th ticks are 139 years
	slotBits    = 6
	slotMask    = 1<<slotBits - 1
	lastTick    = 1<<(slotBits*wheelLevels) - 1

	// longest is the longest limit there is: twice as long still fits into a tick.
	longest = lastTick / 2 * tick
)

// wheel keeps the idle limits of all relays of an Engine with a single timer.
//
// Its levels are wheels of 64 slots each: a slot of the lowest is one tick, one of the
// next 64 ticks, and so on. A tick written in base 64 names a slot for each level; a
// relay waits in the one that its tick and the present first differ in. It waits for
// the tick at which its limit is over if nothing moves any more; when its slot comes
// up it is put to where that is by then, or ends. So a byte that moves costs a time
// stamp, and a relay in which bytes move costs a look about once a limit.
//
// The zero value is ready for use after begin.
type wheel struct {
	begun time.Time // tick 0

	mu     sync.Mutex
	now    int64 // the tick up to which all has been done
	timer  *time.Timer
	next   int64 // the tick the timer is set for, if relays > 0
	relays int
	levels [wheelLevels]level
}

// level is one wheel of slots, each a ring of timers.
type level struct {
	used  uint64 // a bit for each slot that is not empty
	slots [slotMask + 1]*timer
}

// timer is the place of a relay in the wheel, guarded by the wheel's mu except runner
// and last.
type timer struct {
	runner     runner        // who is cut when the limit is over
	last       atomic.Int64  // when something moved last, in ns since wheel.begun
	limit      time.Duration // no limit if 0
	next, prev *timer        // ring of the slot; nil if in none
	level      int8
	slot       int8
}

// begin sets the clock going, once.
func (w *wheel) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.begun.IsZero() {
		w.begun = time.Now()
	}
}

// elapsed returns the time since tick 0.
func (w *wheel) elapsed() time.Duration { return time.Since(w.begun) }

// touch notes that something moved in r.
func (w *wheel) touch(r *timer) { r.last.Store(int64(w.elapsed())) }

// watch gives r a limit, counted from now, in place of the one it had.
func (w *wheel) watch(r *timer, limit time.Duration) {
	w.touch(r)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.remove(r)
	r.limit = min(limit, longest)
	if limit <= 0 {
		return
	}
	if w.relays == 0 {
		w.now = int64(w.elapsed() / tick)
	}
	at := w.insert(r)
	if w.relays == 1 || at < w.next {
		w.set(at)
	}
}

// forget takes r out of the wheel for good.
func (w *wheel) forget(r *timer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.remove(r)
	if w.relays == 0 && w.timer != nil {
		w.timer.Stop()
	}
}

// turn ends the relays whose limit is over. The timer calls it.
func (w *wheel) turn() {
	w.mu.Lock()
	expired := w.advance(int64(w.elapsed() / tick))
	if w.relays > 0 {
		at, _ := w.soonest()
		w.set(at)
	}
	w.mu.Unlock()
	all := make([]runner, 0, len(expired))
	for _, r := range expired {
		all = append(all, r.runner)
	}
	cutAll(all, ErrIdle)
}

// advance moves on to tick now and takes out the relays whose limit is over.
func (w *wheel) advance(now int64) (expired []*timer) {
	for w.relays > 0 {
		at, slot := w.soonest()
		if at > now {
			break
		}
		w.now = at
		for *slot != nil {
			r := *slot
			w.remove(r)
			if w.due(r) <= now {
				expired = append(expired, r)
			} else {
				w.insert(r)
			}
		}
	}
	w.now = max(w.now, now)
	return expired
}

// soonest returns the first slot in use and when it comes up. There must be one.
func (w *wheel) soonest() (at int64, slot **timer) {
	l := 0
	for w.levels[l].used == 0 {
		l++ // all slots of this level come up before the next of the level above
	}
	i := bits.TrailingZeros64(w.levels[l].used)
	return w.start(l, i), &w.levels[l].slots[i]
}

// start returns the tick at which slot i of level l comes up.
func (w *wheel) start(l, i int) int64 {
	above := w.now >> (slotBits * (l + 1)) << slotBits
	return (above | int64(i)) << (slotBits * l)
}

// due returns the first tick at which the limit of r is over, if nothing moves.
func (w *wheel) due(r *timer) int64 {
	return (r.last.Load() + int64(r.limit) + int64(tick) - 1) / int64(tick)
}

// insert puts r where its limit will be over, and returns when its slot comes up.
func (w *wheel) insert(r *timer) (at int64) {
	due := min(max(w.due(r), w.now+1), lastTick)
	l := (bits.Len64(uint64(due^w.now)) - 1) / slotBits
	slot := int(due >> (slotBits * l) & slotMask)
	in := &w.levels[l]
	if head := in.slots[slot]; head == nil {
		r.next, r.prev = r, r
	} else {
		r.next, r.prev = head, head.prev
		head.prev.next = r
		head.prev = r
	}
	in.slots[slot] = r
	in.used |= 1 << slot
	r.level, r.slot = int8(l), int8(slot)
	w.relays++
	return w.start(l, slot)
}

// remove takes r out of its slot, if it is in one.
func (w *wheel) remove(r *timer) {
	if r.next == nil {
		return
	}
	in, slot := &w.levels[r.level], r.slot
	if r.next == r {
		in.slots[slot] = nil
		in.used &^= 1 << slot
	} else {
		r.prev.next = r.next
		r.next.prev = r.prev
		in.slots[slot] = r.next
	}
	r.next, r.prev = nil, nil
	w.relays--
}

// set sets the timer for tick at.
func (w *wheel) set(at int64) {
	w.next = at
	d := time.Duration(at)*tick - w.elapsed()
	if w.timer == nil {
		w.timer = time.AfterFunc(d, w.turn)
	} else {
		w.timer.Reset(d)
	}
}
