package load

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// readsInARow bounds how long one busy connection keeps the others waiting.
const readsInARow = 16

// epollReactor is a thread that waits with epoll. Each socket is registered once,
// edge-triggered for both directions. A timer descriptor makes the ticks: a timeout in
// epoll_wait would set and cancel a timer of the kernel at each wait.
type epollReactor struct {
	ep, timer, wake int

	table []*epollConn // by descriptor
	ages  uint32       // tells the owners of a descriptor apart, one after the other
	again []*epollConn // those that stopped before they had to
	late  []func()     // to be called from the loop, before it waits
	buf   []byte
	tick  func(time.Time)
	broke error

	mu    sync.Mutex
	posts []func()
	stop  bool
	ended chan struct{}
}

type epollConn struct {
	r          *epollReactor
	fd         int
	age        uint32
	h          handler
	accept     func() handler // of a listener
	connecting bool
	blocked    bool   // a write was short
	again      uint32 // the events to act on again; on the reactor's list if not 0
	shut       bool   // closed, from here or from there
	gone       uint32
}

func newSystemReactor() (reactor, error) {
	r := &epollReactor{ep: -1, timer: -1, wake: -1, buf: make([]byte, chunk), ended: make(chan struct{})}
	if err := r.open(); err != nil {
		r.release()
		return nil, fmt.Errorf("start an event loop: %w", err)
	}
	go r.loop()
	return r, nil
}

func (r *epollReactor) open() (err error) {
	if r.ep, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if r.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		return os.NewSyscallError("timerfd_create", err)
	}
	if r.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	for _, fd := range []int{r.timer, r.wake} {
		if err = r.register(fd, unix.EPOLLIN, 0); err != nil {
			return err
		}
	}
	every := unix.NsecToTimespec(int64(tickEvery))
	err = unix.TimerfdSettime(r.timer, 0, &unix.ItimerSpec{Interval: every, Value: every}, nil)
	return os.NewSyscallError("timerfd_settime", err)
}

func (r *epollReactor) register(fd int, events, age uint32) error {
	err := unix.EpollCtl(r.ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd), Pad: int32(age)})
	return os.NewSyscallError("epoll_ctl", err)
}

func (r *epollReactor) release() {
	for _, fd := range []int{r.ep, r.timer, r.wake} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

func (r *epollReactor) loop() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(r.ended)
	defer r.release()
	events := make([]unix.EpollEvent, 256)
	for !r.takePosts() {
		wait := -1
		if len(r.again) > 0 || len(r.late) > 0 {
			wait = 0
		}
		n, err := unix.EpollWait(r.ep, events, wait)
		if err != nil && err != unix.EINTR {
			panic(fmt.Sprintf("load: epoll_wait: %v", err)) // only of wrong arguments
		}
		for _, ev := range events[:max(n, 0)] {
			r.dispatch(int(ev.Fd), uint32(ev.Pad), ev.Events)
		}
		r.carryOn()
	}
	for _, c := range r.table {
		if c != nil {
			c.close()
		}
	}
}

// takePosts calls what do was given, and reports whether the loop is to end.
func (r *epollReactor) takePosts() bool {
	r.mu.Lock()
	posts, stop := r.posts, r.stop
	r.posts = nil
	r.mu.Unlock()
	for _, f := range posts {
		f()
	}
	return stop
}

func (r *epollReactor) dispatch(fd int, age, events uint32) {
	var eight [8]byte
	switch {
	case fd == r.wake:
		unix.Read(fd, eight[:])
	case fd == r.timer:
		unix.Read(fd, eight[:])
		if r.tick != nil {
			r.tick(time.Now())
		}
	case r.table[fd] == nil || r.table[fd].age != age: // it was closed by an event before this one
	case r.table[fd].accept != nil:
		r.acceptAll(r.table[fd])
	default:
		r.table[fd].handle(events)
	}
}

// carryOn calls what was put off.
func (r *epollReactor) carryOn() {
	late, again := r.late, r.again
	r.late, r.again = nil, nil
	for _, f := range late {
		f()
	}
	for _, c := range again {
		events := c.again
		c.again = 0
		c.handle(events)
	}
}

const goneEvents = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR

func (c *epollConn) handle(events uint32) {
	c.gone |= events & goneEvents
	if c.shut {
		return
	}
	if c.connecting {
		if events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
			code, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR)
			if err == nil && code != 0 {
				err = syscall.Errno(code)
			}
			c.drop(os.NewSyscallError("connect", err))
			return
		}
		c.connecting = false
		c.h.opened(c)
	}
	if !c.shut && c.blocked && events&unix.EPOLLOUT != 0 {
		c.blocked = false
		c.h.writable(c)
	}
	if !c.shut && events&(unix.EPOLLIN|goneEvents) != 0 {
		c.read()
	}
}

func (c *epollConn) putOff(events uint32) {
	if c.shut {
		return
	}
	if c.again == 0 {
		c.r.again = append(c.r.again, c)
	}
	c.again |= events
}

// read stops after a short read, if the other side has not ended: what comes later
// signals anew.
func (c *epollConn) read() {
	for range readsInARow {
		n, err := unix.Read(c.fd, c.r.buf)
		switch {
		case err == unix.EAGAIN:
			return
		case err == unix.EINTR:
			continue
		case err != nil:
			c.drop(os.NewSyscallError("read", err))
			return
		case n == 0:
			c.drop(nil)
			return
		}
		c.h.received(c, c.r.buf[:n])
		if c.shut || n < len(c.r.buf) && c.gone == 0 {
			return
		}
	}
	c.putOff(unix.EPOLLIN)
}

func (c *epollConn) write(b []byte) (int, error) {
	if c.shut {
		return 0, syscall.EPIPE
	}
	n, err := unix.Write(c.fd, b)
	for err == unix.EINTR {
		n, err = unix.Write(c.fd, b)
	}
	if err == unix.EAGAIN {
		n, err = 0, nil
	}
	c.blocked = err == nil && n < len(b)
	return max(n, 0), os.NewSyscallError("write", err)
}

func (c *epollConn) soon() {
	c.blocked = true
	c.putOff(unix.EPOLLOUT)
}

func (c *epollConn) close() {
	if c.shut {
		return
	}
	c.shut = true
	c.r.table[c.fd] = nil
	unix.Close(c.fd)
}

func (c *epollConn) drop(err error) {
	c.close()
	c.h.closed(c, err)
}

// add takes the descriptor over.
func (r *epollReactor) add(c *epollConn, events uint32) error {
	r.ages++
	c.r, c.age = r, r.ages
	for c.fd >= len(r.table) {
		r.table = append(r.table, make([]*epollConn, len(r.table)+64)...)
	}
	r.table[c.fd] = c
	return r.register(c.fd, events, c.age)
}

const bothWays = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET

func (r *epollReactor) acceptAll(l *epollConn) {
	for range 64 {
		fd, _, err := unix.Accept4(l.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch err {
		case nil:
		case unix.EAGAIN, unix.ECONNABORTED, unix.EINTR:
			return
		default:
			r.broke = fmt.Errorf("the origin cannot accept: %w", err)
			l.close()
			return
		}
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		c := &epollConn{fd: fd, h: l.accept()}
		if err := r.add(c, bothWays); err != nil {
			r.broke = err
			c.close()
			return
		}
		c.h.opened(c)
	}
}

func (r *epollReactor) listen(at netip.AddrPort, accept func() handler) (bound netip.AddrPort, err error) {
	r.do(func() { bound, err = r.listenHere(at, accept) })
	return bound, err
}

func (r *epollReactor) listenHere(at netip.AddrPort, accept func() handler) (netip.AddrPort, error) {
	fd, err := socket(at.Addr())
	if err != nil {
		return at, err
	}
	l := &epollConn{fd: fd, accept: accept, r: r}
	if err = r.add(l, unix.EPOLLIN); err == nil {
		err = os.NewSyscallError("bind", unix.Bind(fd, sockaddr(at)))
	}
	if err == nil {
		err = os.NewSyscallError("listen", unix.Listen(fd, 4096))
	}
	var name unix.Sockaddr
	if err == nil {
		name, err = unix.Getsockname(fd)
	}
	if err != nil {
		l.close()
		return at, fmt.Errorf("listen on %v: %w", at, err)
	}
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		at = netip.AddrPortFrom(at.Addr(), uint16(name.Port))
	case *unix.SockaddrInet6:
		at = netip.AddrPortFrom(at.Addr(), uint16(name.Port))
	}
	return at, nil
}

func (r *epollReactor) dial(from netip.Addr, to netip.AddrPort, h handler) {
	fd, err := socket(to.Addr())
	if err != nil {
		r.late = append(r.late, func() { h.closed(&epollConn{shut: true}, err) })
		return
	}
	c := &epollConn{fd: fd, h: h, r: r, connecting: true}
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if from.IsValid() {
		// The port is chosen when the target is known: it need not be free for all of them.
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		err = os.NewSyscallError("bind", unix.Bind(fd, sockaddr(netip.AddrPortFrom(from, 0))))
	}
	if err == nil {
		err = os.NewSyscallError("connect", unix.Connect(fd, sockaddr(to)))
	}
	if err == nil || err.(*os.SyscallError).Err == unix.EINPROGRESS {
		err = r.add(c, bothWays)
	} else {
		r.add(c, 0) // only to be closed by the same way
	}
	if err != nil {
		r.late = append(r.late, func() {
			if !c.shut {
				c.drop(err)
			}
		})
	}
}

func socket(ip netip.Addr) (int, error) {
	family := unix.AF_INET
	if ip.Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	return fd, os.NewSyscallError("socket", err)
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is6() {
		return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
	}
	return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
}

func (r *epollReactor) onTick(tick func(time.Time)) { r.tick = tick }
func (r *epollReactor) err() error                  { return r.broke }

func (r *epollReactor) do(f func()) {
	done := make(chan struct{})
	r.post(func() {
		defer close(done)
		f()
	}, false)
	select {
	case <-done:
	case <-r.ended:
	}
}

func (r *epollReactor) post(f func(), stop bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stop {
		return
	}
	r.posts = append(r.posts, f)
	r.stop = stop
	unix.Write(r.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

func (r *epollReactor) close() {
	r.post(func() {}, true)
	<-r.ended
}
