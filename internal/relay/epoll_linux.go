package relay

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// eventLoops are the event loops of an Engine and what they share. They start with
// the first relay that can use them. The zero value is ready for use.
type eventLoops struct {
	begin sync.Once
	all   []*eventLoop // none if they could not be started
	next  atomic.Uint32
	pipes pipePool
}

// eventLoop is a goroutine that serves the sockets of its relays.
type eventLoop struct {
	engine *Engine
	waiter waiter
	stop   int // an eventfd: a byte written to it ends the loop
	done   chan struct{}
	wires  table

	// Used by the loop's goroutine only:
	buffer *[largeBuffer]byte
	again  []turn // what was cut short so that others have their turn
}

// turn is one direction of a relay that has more to do.
type turn struct {
	wire *wire
	way  direction
}

// stopSlot marks the event that ends a loop.
const stopSlot = -1

// pick returns the loop for the next relay, nil if there are no loops.
func (e *Engine) pick() *eventLoop {
	l := &e.loops
	l.begin.Do(func() { l.all = e.startLoops() })
	if len(l.all) == 0 {
		return nil
	}
	return l.all[int(l.next.Add(1))%len(l.all)]
}

// startLoops starts as many loops as asked for, or as many as can be had.
func (e *Engine) startLoops() (all []*eventLoop) {
	n := e.Loops
	if n <= 0 {
		n = max(1, runtime.GOMAXPROCS(0)-1)
	}
	for range n {
		l, err := newLoop(e)
		if err != nil {
			break // with none at all, the portable engine serves
		}
		l.waiter.mayHot = !e.PlainWait && preemptible()
		l.waiter.busy = n
		all = append(all, l)
		go l.run()
	}
	return all
}

func newLoop(e *Engine) (*eventLoop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	if err := unix.SetNonblock(epoll, true); err != nil { // os.NewFile looks at it
		unix.Close(epoll)
		return nil, fmt.Errorf("epoll: %w", err)
	}
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(epoll)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: stopSlot}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, stop, &event); err != nil {
		unix.Close(epoll)
		unix.Close(stop)
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return &eventLoop{
		engine: e,
		waiter: waiter{epoll: epoll},
		stop:   stop,
		done:   make(chan struct{}),
		buffer: e.borrow(),
	}, nil
}

// run serves events until the loop is stopped.
func (l *eventLoop) run() {
	defer close(l.done)
	for {
		events, err := l.waiter.wait(len(l.again) > 0)
		if err != nil {
			panic(fmt.Sprintf("relay: epoll_wait: %v", err)) // no argument of ours can be wrong
		}
		for i := range events {
			if events[i].Fd == stopSlot {
				return
			}
			if w := l.wires.at(events[i].Fd); w != nil {
				w.serve(l, direction(events[i].Pad), events[i].Events)
			}
		}
		l.goOn()
	}
}

// goOn gives the one its next turn who has waited longest since it was cut short.
// Events are looked for between turns: a small message must not wait for them all.
func (l *eventLoop) goOn() {
	if len(l.again) == 0 {
		return
	}
	t := l.again[0]
	l.again = slices.Delete(l.again, 0, 1)
	t.wire.goOn(l, t.way)
}

// watch asks for the events of fd: slot and way come back with them.
func (l *eventLoop) watch(op, fd int, slot int32, way direction, writable bool) error {
	event := unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLPRI | unix.EPOLLET,
		Fd:     slot,
		Pad:    int32(way),
	}
	if writable {
		event.Events |= unix.EPOLLOUT
	}
	return unix.EpollCtl(l.waiter.epoll, op, fd, &event)
}

// cut ends all relays in loops with err.
func (ls *eventLoops) cut(err error) {
	ls.begin.Do(func() {}) // no loops will start any more
	for _, l := range ls.all {
		for _, w := range l.wires.list() {
			w.cut(err)
		}
	}
}

// stop ends the loops. There must be no relays left.
func (ls *eventLoops) stop() {
	for _, l := range ls.all {
		one := [8]byte{0: 1, 7: 1} // not 0, whatever the byte order
		if _, err := unix.Write(l.stop, one[:]); err != nil {
			panic(fmt.Sprintf("relay: eventfd: %v", err)) // it takes 2^64-2, and got this one
		}
		<-l.done
		l.waiter.unpark()
		unix.Close(l.stop)
		unix.Close(l.waiter.epoll)
		l.engine.giveBack(l.buffer)
	}
	ls.pipes.close()
}

// table numbers the relays of a loop. Finding one takes no lock: the loop does it for
// each event. A number is used again once its relay is gone, so that an event may
// reach another relay than it was meant for, if that was gone when the event was
// fetched already. Events are therefore hints, and what they say is tried.
type table struct {
	mu     sync.Mutex
	free   []int32
	blocks atomic.Pointer[[]*block]
}

// block is a part of a table, which never moves.
type block [256]atomic.Pointer[wire]

// at returns the relay with a number, nil if it is gone.
func (t *table) at(slot int32) *wire {
	return (*t.blocks.Load())[slot/int32(len(block{}))][slot%int32(len(block{}))].Load()
}

// add gives w its number.
func (t *table) add(w *wire) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.free) == 0 {
		t.grow()
	}
	last := len(t.free) - 1
	w.slot = t.free[last]
	t.free = t.free[:last]
	t.place(w.slot).Store(w)
}

// remove frees the number of w.
func (t *table) remove(w *wire) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.place(w.slot).Store(nil)
	t.free = append(t.free, w.slot)
}

func (t *table) place(slot int32) *atomic.Pointer[wire] {
	return &(*t.blocks.Load())[slot/int32(len(block{}))][slot%int32(len(block{}))]
}

// grow adds a block.
func (t *table) grow() {
	var blocks []*block
	if old := t.blocks.Load(); old != nil {
		blocks = *old
	}
	first := len(blocks) * len(block{})
	blocks = append(blocks[:len(blocks):len(blocks)], new(block))
	t.blocks.Store(&blocks)
	for i := range len(block{}) {
		t.free = append(t.free, int32(first+len(block{})-1-i))
	}
}

// list returns all relays.
func (t *table) list() (all []*wire) {
	t.mu.Lock()
	defer t.mu.Unlock()
	blocks := t.blocks.Load()
	if blocks == nil {
		return nil
	}
	for _, b := range *blocks {
		for i := range b {
			if w := b[i].Load(); w != nil {
				all = append(all, w)
			}
		}
	}
	return all
}
