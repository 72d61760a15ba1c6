package relay

import (
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// waiter waits for the events of an epoll descriptor, in one of two ways.
//
// A parked waiter waits as goroutines do: the descriptor is registered with Go's own
// poller. That takes no thread and no processor, but costs some microseconds each time.
//
// A raw waiter sleeps in the kernel without telling Go's scheduler, which takes the
// thread for one that computes: nothing is cheaper. After 10 ms, or when the garbage
// collector wants to stop it, the scheduler sends the thread a signal, as it does to
// loops that never call anything; that ends the wait with EINTR. If no event came
// between two such signals the waiter is parked, and all is quiet. A blocking system
// call in the usual way would be the worst of both: the scheduler looks after it every
// 20 µs for a while, at hundreds of microseconds for a single event.
//
// All this holds only while the runtime sends such signals and there is a processor
// for other goroutines, so a waiter goes raw only then. What is returned does not
// depend on it.
type waiter struct {
	epoll  int
	mayRaw bool
	busy   int // GOMAXPROCS must be above it for the waiter to goes raw

	raw    bool
	quiet  bool // no event since the last signal, while raw
	streak int  // waits in a row that were short, while parked

	parked  *os.File // a duplicate of epoll in Go's poller; nil while raw
	conn    syscall.RawConn
	isReady func(uintptr) bool // the method ready
	n       int
	err     error
	events  [128]unix.EpollEvent
}

const (
	// shortWait is a wait after which the next event may be worth waiting for raw, if
	// so many came in a row: it takes about as many to make up for going raw.
	shortWait = time.Millisecond
	hotStreak = 32

	// besideBulk is how many events are taken at once while bulk has turns to come: that
	// many small messages are about as much work as a share of bulk.
	besideBulk = 16
)

// wait returns the events that are there, as soon as there is one; at once if busy,
// which means that there is much to do beside.
func (w *waiter) wait(busy bool) ([]unix.EpollEvent, error) {
	switch {
	case busy:
		w.goRaw()
		w.unpark()
		w.peek(besideBulk)
	case w.raw:
		w.waitRaw()
		if w.n == 0 && w.err == nil {
			w.waitParked()
		}
	default:
		w.waitParked()
	}
	return w.events[:w.n], w.err
}

// glance returns the events that are there, if any.
func (w *waiter) glance() ([]unix.EpollEvent, error) {
	w.peek(len(w.events))
	return w.events[:w.n], w.err
}

// goRaw makes the waiter raw, if it may be.
func (w *waiter) goRaw() {
	if !w.raw && w.mayRaw && runtime.GOMAXPROCS(0) > w.busy {
		w.unpark()
		w.raw, w.quiet, w.streak = true, false, 0
	}
}

// waitRaw waits for events, and gives up when the waiter is parked.
func (w *waiter) waitRaw() {
	for w.raw {
		w.look(-1, len(w.events))
		switch {
		case w.n > 0 || w.err != nil:
			w.quiet = false
			return
		case w.quiet:
			w.raw = false
		}
		w.quiet = true
	}
}

// waitParked waits for events and notes whether they come fast enough to goes raw.
func (w *waiter) waitParked() {
	begun := time.Now()
	if w.parked == nil {
		w.park()
	}
	if w.parked == nil || w.conn.Read(w.isReady) != nil {
		w.waitPlain()
	}
	if time.Since(begun) > shortWait {
		w.streak = 0
		return
	}
	if w.streak++; w.streak > hotStreak {
		w.goRaw()
	}
}

// ready looks for events on behalf of Go's poller.
func (w *waiter) ready(uintptr) bool {
	w.peek(len(w.events))
	return w.n > 0 || w.err != nil
}

// waitPlain waits in a blocking system call, for want of descriptors.
func (w *waiter) waitPlain() {
	for {
		n, err := unix.EpollWait(w.epoll, w.events[:], -1)
		if err != unix.EINTR {
			w.n, w.err = max(n, 0), err
			return
		}
	}
}

// park registers the descriptor with Go's poller. While it is registered, each event
// also wakes a thread of Go's that waits there.
func (w *waiter) park() {
	fd, err := unix.FcntlInt(uintptr(w.epoll), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return
	}
	f := os.NewFile(uintptr(fd), "epoll")
	conn, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return
	}
	w.parked, w.conn, w.isReady = f, conn, w.ready
}

// unpark undoes park.
func (w *waiter) unpark() {
	if w.parked != nil {
		w.parked.Close()
	}
	w.parked, w.conn = nil, nil
}

// peek asks for the events that are there, at most so many. An edge is reported once, and Go's poller takes
// what ready returns for a fact: a signal must not pass for silence.
func (w *waiter) peek(most int) {
	for !w.look(0, most) {
	}
}

// look asks for events without telling the scheduler, and waits for them until a
// signal comes if timeout is -1; it reports whether none came. It must not be inlined into a
// loop: on its way in, a goroutine that was asked to stop does so.
//
//go:noinline
func (w *waiter) look(timeout, most int) (undisturbed bool) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(w.epoll),
		uintptr(unsafe.Pointer(&w.events[0])), uintptr(most), uintptr(timeout), 0, 0)
	switch errno {
	case 0:
		w.n, w.err = int(n), nil
	case unix.EINTR:
		w.n, w.err = 0, nil
	default:
		w.n, w.err = 0, errno
	}
	return errno != unix.EINTR
}

// preemptible reports whether the runtime ends a hidden wait by a signal.
func preemptible() bool {
	return !strings.Contains(os.Getenv("GODEBUG"), "asyncpreemptoff=1")
}
