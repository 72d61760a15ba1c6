package relay

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// eventLoops are the event loops of an Engine and what they share. They start with
// the first relay that can use them. The zero value is ready for use.
type eventLoops struct {
	begin sync.Once
	born  time.Time
	all   []*eventLoop // none if they could not be started
	made  atomic.Bool  // all is as it stays
	next  atomic.Uint32
	pipes pipePool

	acceptance acceptance
	keeper     keeper
}

// eventLoop is a goroutine that serves the sockets of its relays.
type eventLoop struct {
	engine *Engine
	place  int // in eventLoops.all
	waiter waiter
	wakeFD int // an eventfd: something written to it has the loop look at what follows
	done   chan struct{}
	wires  table

	mu       sync.Mutex
	posts    []post
	stopping bool

	// Used by the loop's goroutine only:
	buffer    *[largeBuffer]byte
	events    []unix.EpollEvent // that are still to be looked into
	turns     turns
	carriers  []*carrier // that have nothing to carry
	acceptors []*task    // tasks that accept
	work      workload
}

// wakeSlot marks the event of a loop's wakeFD.
const wakeSlot = -1

// pick returns the loop for the next relay, nil if there are no loops.
func (e *Engine) pick() *eventLoop {
	l := &e.loops
	l.begin.Do(func() {
		l.all = e.makeLoops()
		l.made.Store(true)
		for _, one := range l.all {
			go one.run()
		}
	})
	if len(l.all) == 0 {
		return nil
	}
	return l.all[int(l.next.Add(1))%len(l.all)]
}

// makeLoops makes as many loops as asked for, or as many as can be had.
func (e *Engine) makeLoops() (all []*eventLoop) {
	e.loops.born = time.Now()
	n := e.Loops
	if n <= 0 {
		n = max(1, runtime.GOMAXPROCS(0)-1)
	}
	for i := range n {
		l, err := newLoop(e)
		if err != nil {
			break // with none at all, the portable engine serves
		}
		l.place = i
		l.waiter.mayRaw = !e.PlainWait && preemptible()
		l.waiter.busy = n
		all = append(all, l)
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
	wakeFD, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(epoll)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: wakeSlot}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, wakeFD, &event); err != nil {
		unix.Close(epoll)
		unix.Close(wakeFD)
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return &eventLoop{
		engine: e,
		waiter: waiter{epoll: epoll},
		wakeFD: wakeFD,
		done:   make(chan struct{}),
		buffer: e.borrow(),
	}, nil
}

// run serves events until the loop is stopped. If a Done function ends the goroutine
// (runtime.Goexit), another one goes on where that was.
func (l *eventLoop) run() {
	stopped := false
	defer func() {
		if stopped {
			close(l.done)
		} else {
			go l.run()
		}
	}()
	for !stopped {
		stopped = l.look()
		if !stopped {
			l.wait()
		}
	}
}

// wait waits for events.
func (l *eventLoop) wait() {
	born := l.engine.loops.born
	from := time.Since(born)
	events, err := l.next()
	l.slept(from, time.Since(born))
	if err != nil {
		panic(fmt.Sprintf("relay: epoll_wait: %v", err)) // no argument of ours can be wrong
	}
	l.events = events
}

// look does what the events ask for, and reports whether the loop is to end.
func (l *eventLoop) look() (stop bool) {
	for len(l.events) > 0 {
		event := &l.events[0]
		l.events = l.events[1:]
		if event.Fd == wakeSlot {
			if l.answer() {
				return true
			}
			continue
		}
		w, t := l.wires.at(event.Fd)
		switch {
		case w != nil:
			w.serve(l, direction(event.Pad), event.Events)
		case t != nil:
			t.serve(l, direction(event.Pad), event.Events)
		}
	}
	l.takeTurns()
	return false
}

// watch asks for the events of fd: slot and way come back with them.
func (l *eventLoop) watch(op int, fd, slot int32, way direction, writable bool) error {
	event := unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLPRI | unix.EPOLLET,
		Fd:     slot,
		Pad:    int32(way),
	}
	if writable {
		event.Events |= unix.EPOLLOUT
	}
	return epollCtl(l.waiter.epoll, op, fd, &event)
}

// cut ends all relays in loops with err.
func (ls *eventLoops) cut(err error) {
	ls.begin.Do(func() {}) // no loops will start any more
	for _, l := range ls.all {
		cut := make(chan struct{})
		go func() { // a Done function may end it
			defer close(cut)
			cutAll(l.wires.list(), err)
		}()
		<-cut
	}
}

// stop ends the loops. There must be no relays left.
func (ls *eventLoops) stop() {
	ls.keeper.stop()
	for _, l := range ls.all {
		l.mu.Lock()
		l.stopping = true
		l.mu.Unlock()
		l.wake()
		<-l.done
		for _, c := range l.carriers {
			c.stop()
		}
		l.waiter.unpark()
		unix.Close(l.wakeFD)
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
type block [256]place

type place struct {
	wire atomic.Pointer[wire]
	task atomic.Pointer[task]
}

// at returns the relay with a number, nil if it is gone.
func (t *table) at(slot int32) (*wire, *task) {
	p := t.place(slot)
	return p.wire.Load(), p.task.Load()
}

// add gives w its number.
func (t *table) add(w *wire) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w.slot = t.take()
	t.place(w.slot).wire.Store(w)
}

func (t *table) take() int32 {
	if len(t.free) == 0 {
		t.grow()
	}
	last := len(t.free) - 1
	slot := t.free[last]
	t.free = t.free[:last]
	return slot
}

func (t *table) addTask(k *task) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k.slot = t.take()
	t.place(k.slot).task.Store(k)
}

// become puts w in the place of the task that led to it.
func (t *table) become(w *wire) {
	p := t.place(w.slot)
	p.wire.Store(w) // first: who lists all must find one of them
	p.task.Store(nil)
}

// remove frees a number.
func (t *table) remove(slot int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.place(slot)
	p.wire.Store(nil)
	p.task.Store(nil)
	t.free = append(t.free, slot)
}

func (t *table) place(slot int32) *place {
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
func (t *table) list() (all []runner) {
	t.mu.Lock()
	defer t.mu.Unlock()
	blocks := t.blocks.Load()
	if blocks == nil {
		return nil
	}
	for _, b := range *blocks {
		for i := range b {
			if w := b[i].wire.Load(); w != nil {
				all = append(all, w)
			}
			if k := b[i].task.Load(); k != nil {
				all = append(all, k)
			}
		}
	}
	return all
}
