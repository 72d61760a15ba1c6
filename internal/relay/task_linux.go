package relay

import (
	"iter"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// task is straight-line code that an event loop runs until it has to wait, and goes on
// with when there is an event for it: what a goroutine is to Go's scheduler, without the
// threads that are woken for one. All of it happens in its loop, one thing at a time, but
// for what mu guards.
//
// A coroutine carries it, borrowed from the loop, so that nothing of a task is left in a
// relay that came of it.
type task struct {
	timer // in Engine.limits: the deadline that it waits for
	loop  *eventLoop
	run   func()
	by    *carrier // nil before it begins
	slot  int32

	mu      sync.Mutex
	socks   [2]*sock // by the direction that each is the destination of
	room    [2]sock  // for these
	begun   bool
	waiting bool
	roused  bool // a socket was closed, or has an earlier deadline, since t waited last

	happened [2]uint32 // events of each socket that have not been looked into
	alarm    time.Time // when limits wakes it; zero if it does not
	timed    bool      // limits may know it
	queued   bool      // it has a turn to come
	over     bool
	left     bool // an ordinary goroutine goes on with it
}

// carrier is a coroutine that runs one task after the other.
type carrier struct {
	task  *task
	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool // back to the loop
}

// spareCarriers is how many coroutines a loop keeps. Each has a stack of some kilobytes.
const spareCarriers = 64

// noSlot is the number of what has none.
const noSlot = -2

func newTask(l *eventLoop) *task {
	t := &task{loop: l, slot: noSlot}
	t.runner = t
	return t
}

func newCarrier() *carrier {
	c := new(carrier)
	c.next, c.stop = iter.Pull(func(yield func(struct{}) bool) {
		c.yield = yield
		for c.carry() && yield(struct{}{}) {
		}
	})
	return c
}

// carry runs a task to its end, and reports whether c is free for another one.
func (c *carrier) carry() bool {
	t, returned := c.task, false
	defer func() {
		if !returned && !t.left {
			t.close() // nobody has its sockets any more
			t.leave() // runtime.Goexit: iter.Pull would end the goroutine of the loop as well
		}
		if t.left {
			t.loop.engine.leave()
		} else {
			t.finish()
		}
	}()
	t.run()
	returned = true
	return !t.left
}

// resume lets t run until it waits, ends or leaves.
func (l *eventLoop) resume(t *task) {
	if t.by == nil {
		if last := len(l.carriers) - 1; last >= 0 {
			t.by, l.carriers = l.carriers[last], l.carriers[:last]
		} else {
			t.by = newCarrier()
		}
		t.by.task = t
	}
	by := t.by
	by.next()
	switch {
	case t.left:
		go by.next()
	case !t.over:
	case len(l.carriers) < spareCarriers:
		by.task = nil
		l.carriers = append(l.carriers, by)
	default:
		by.stop()
	}
}

// start makes f what t is to run, once the loop begins it.
func (t *task) start(f func()) {
	t.loop.engine.enter()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.run, t.begun = f, true
}

// add gives t a socket that the loop watches. With an error it has it nevertheless. Nobody can
// close the socket before it is watched: its number might be that of another one by then.
func (t *task) add(out direction, fd int32, remote netip.AddrPort) (*sock, error) {
	s := &t.room[out]
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.socks[out] != nil { // somebody may still close the one that was there
		s = new(sock)
	}
	*s = sock{task: t, out: out, fd: fd, remote: remote, watched: out == toServer}
	t.socks[out] = s
	if t.slot == noSlot {
		t.loop.wires.addTask(t)
	}
	return s, os.NewSyscallError("epoll_ctl", t.loop.watch(unix.EPOLL_CTL_ADD, fd, t.slot, out, s.watched))
}

// serve has t look into an event when its turn comes.
func (t *task) serve(l *eventLoop, out direction, events uint32) {
	t.happened[out] |= events
	if t.waiting {
		l.turns.addTask(t)
	}
}

// wait returns at the next event of t, at the latest soon after the deadline; zero is
// none. It may return for nothing.
func (t *task) wait(deadline time.Time) {
	if !deadline.IsZero() && (t.alarm.IsZero() || deadline.Before(t.alarm)) {
		t.alarm, t.timed = deadline, true
		t.loop.engine.limits.watch(&t.timer, max(time.Until(deadline), 1))
	}
	t.mu.Lock()
	t.waiting, t.roused = !t.roused, false
	wait := t.waiting
	t.mu.Unlock()
	if !wait {
		return
	}
	t.by.yield(struct{}{})
	t.mu.Lock()
	t.waiting = false
	t.mu.Unlock()
}

// cut wakes t when a deadline is over, and otherwise closes what it has.
func (t *task) cut(err error) {
	if err != ErrIdle {
		t.close()
	}
	t.loop.post(t, false)
}

// close closes the sockets of t. It may be called from any goroutine.
func (t *task) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.socks {
		if s != nil {
			s.shut()
		}
	}
}

// finish is the end of t in the loop.
func (t *task) finish() {
	t.over = true
	t.detach()
	t.close()
	t.run = nil
	t.loop.engine.leave()
}

// detach ends what the loop knows of t.
func (t *task) detach() {
	if t.timed {
		t.loop.engine.limits.forget(&t.timer)
	}
	if t.slot != noSlot {
		t.loop.wires.remove(t.slot)
		t.slot = noSlot
	}
}

// aside calls f, which may wait, while the loop goes on.
func (t *task) aside(f func()) {
	done := make(chan struct{})
	go func() {
		defer t.loop.post(t, false)
		defer close(done)
		f()
	}()
	for {
		t.wait(time.Time{})
		select {
		case <-done:
			return
		default:
		}
	}
}

// await is Await for t, whose client is given.
func (t *task) await(client *sock, deadline time.Time, begin func(ready func())) error {
	const (
		beginning = iota
		waiting
		ready
	)
	var state atomic.Int32
	begin(func() {
		if state.Swap(ready) == waiting {
			t.loop.post(t, false)
		}
	})
	state.CompareAndSwap(beginning, waiting)
	for state.Load() != ready {
		switch {
		case client.isClosed():
			return net.ErrClosed
		case !time.Now().Before(deadline):
			return os.ErrDeadlineExceeded
		}
		t.wait(deadline)
	}
	return nil
}

// leave has an ordinary goroutine go on with t, and makes its sockets ordinary.
func (t *task) leave() {
	t.detach()
	t.mu.Lock()
	for _, s := range t.socks {
		if s != nil {
			s.makeOrdinary()
		}
	}
	t.mu.Unlock()
	t.left = true
	t.by.yield(struct{}{})
}

// post is something for a loop to see to.
type post struct {
	task  *task // nil: wakeAcceptors
	begin bool  // otherwise it has been cut
}

// post has the loop see to t, or begin it. It returns false if the loop has ended, and then t
// is over or never begins. It may be called from any goroutine.
func (l *eventLoop) post(t *task, begin bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopping {
		return false
	}
	l.posts = append(l.posts, post{t, begin})
	if len(l.posts) == 1 {
		l.wake()
	}
	return true
}

// wake wakes the loop, which must not have ended.
func (l *eventLoop) wake() {
	one := [8]byte{0: 1, 7: 1} // not 0, whatever the byte order
	// It fails only if so many rings wait already that one more makes no difference.
	_, _ = unix.Write(l.wakeFD, one[:])
}

// answer does what the loop was woken for, and reports whether the loop is to end.
func (l *eventLoop) answer() (stop bool) {
	var rung [8]byte
	_, _ = unix.Read(l.wakeFD, rung[:])
	l.mu.Lock()
	posts := l.posts
	l.posts = nil
	stop = l.stopping
	l.mu.Unlock()
	for _, p := range posts {
		t := p.task
		switch {
		case t == nil:
			l.checkAcceptors()
			continue
		case p.begin:
			l.turns.addTask(t)
			continue
		}
		t.alarm = time.Time{}
		switch {
		case t.waiting:
			l.turns.addTask(t)
		case t.by == nil: // it was closed before it began, and may never do so
			t.detach()
		}
	}
	return stop
}
