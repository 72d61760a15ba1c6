package relay

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// acceptor is a listener in one event loop. Each loop has its own for the same socket, and
// as many of them as are needed accept.
type acceptor struct {
	*sock
	addr     net.Addr
	watched  bool
	accepted int      // in this turn
	held     *arrival // it waits, as others do in the listener's queue, for room in the loop
}

// arrival is a client that was accepted.
type arrival struct {
	fd   int32
	from netip.AddrPort
}

// acceptors returns one for each loop, or none if l is not for them.
func (e *Engine) acceptors(l net.Listener) (all []net.Listener) {
	tcp, ok := l.(*net.TCPListener)
	if !ok || e.portable || e.isClosed() || e.pick() == nil {
		return nil
	}
	for _, loop := range e.loops.all {
		fd, err := duplicate(tcp)
		if err != nil {
			for _, a := range all {
				a.Close()
			}
			return nil
		}
		noDelay(int32(fd)) // which those inherit that it accepts
		keepAlive(int32(fd))
		t := newTask(loop)
		t.room[toClient] = sock{task: t, out: toClient, fd: int32(fd)}
		t.socks[toClient] = &t.room[toClient]
		all = append(all, &acceptor{sock: t.socks[toClient], addr: tcp.Addr()})
	}
	return all
}

// inLoopOf has the loop of l, which acceptors returned, run f. If Engine.Close has ended the
// loop, inLoopOf closes l and returns false.
func inLoopOf(l net.Listener, f func()) bool {
	a := l.(*acceptor)
	t := a.task
	t.start(func() {
		t.loop.wires.addTask(t) // now, for Engine.Close: it may never watch
		t.loop.acceptors = append(t.loop.acceptors, t)
		if t.loop.engine.isClosed() {
			t.close()
		}
		defer a.release()
		f()
		t.loop.acceptors = slices.DeleteFunc(t.loop.acceptors, func(one *task) bool { return one == t })
	})
	if t.loop.post(t, true) {
		return true
	}
	t.close()
	t.loop.engine.leave()
	return false
}

func asideTask(l net.Listener, f func()) bool {
	a, ok := l.(*acceptor)
	if ok {
		a.task.aside(f)
	}
	return ok
}

func (a *acceptor) Addr() net.Addr { return a.addr }

// Accept returns a connection whose task begins with Engine.Go.
func (a *acceptor) Accept() (net.Conn, error) {
	c, err := a.accept()
	if err != nil {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: a.addr, Err: err}
	}
	return c, nil
}

func (a *acceptor) accept() (net.Conn, error) {
	a.giveWay()
	t := a.task
	if h := a.held; h != nil {
		a.held = nil
		return a.admit(h.fd, h.from)
	}
	for {
		for !t.loop.accepts() && !a.isClosed() {
			if a.unwatch() { // after the kernel told this loop alone of one
				t.loop.engine.loops.all[0].wakeAcceptors()
			}
			a.rest()
		}
		if err := a.watch(); err != nil {
			return nil, err
		}
		fd, from, err := a.take()
		switch err {
		case nil:
			a.accepted++
			return a.admit(fd, from)
		case net.ErrClosed:
			return nil, err
		case unix.EAGAIN:
			for t.happened[toClient] = 0; t.happened[toClient] == 0 && t.loop.accepts() && !a.isClosed(); {
				a.rest()
			}
		case unix.ECONNABORTED: // the client was gone before
		default:
			return nil, os.NewSyscallError("accept4", err)
		}
	}
}

// watch has the loop tell of connections.
func (a *acceptor) watch() error {
	t := a.task
	t.mu.Lock()
	defer t.mu.Unlock()
	if a.watched || a.fd < 0 {
		return nil
	}
	event := unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLEXCLUSIVE | unix.EPOLLET,
		Fd:     t.slot,
		Pad:    int32(toClient),
	}
	err := epollCtl(t.loop.waiter.epoll, unix.EPOLL_CTL_ADD, a.fd, &event)
	a.watched = err == nil
	return os.NewSyscallError("epoll_ctl", err)
}

// unwatch undoes watch, if there is anything to undo.
func (a *acceptor) unwatch() bool {
	t := a.task
	t.mu.Lock()
	defer t.mu.Unlock()
	if !a.watched || a.fd < 0 {
		return false
	}
	a.watched = false
	// If it fails the loop has events of nothing, which it bears.
	_ = epollCtl(t.loop.waiter.epoll, unix.EPOLL_CTL_DEL, a.fd, nil)
	return true
}

func (a *acceptor) take() (int32, netip.AddrPort, error) {
	a.task.mu.Lock()
	defer a.task.mu.Unlock()
	if a.fd < 0 {
		return -1, netip.AddrPort{}, net.ErrClosed
	}
	return acceptFrom(a.fd)
}

// admit makes a task, not begun yet, for a client. If there is no room to watch it the
// client waits until Accept is called again; another error costs the client, and not the
// listener.
func (a *acceptor) admit(fd int32, from netip.AddrPort) (net.Conn, error) {
	l := a.task.loop
	t := newTask(l)
	s, err := t.add(toClient, fd, from)
	if err == nil && l.engine.isClosed() { // Close may have come before it could know of s
		err = net.ErrClosed
	}
	switch {
	case err == nil:
		return s, nil
	case isShortOfRoom(err) && s.takeBack():
		t.detach()
		a.held = &arrival{fd, from}
	default:
		s.Close()
	}
	return nil, err
}

// isShortOfRoom reports whether an epoll would take a socket later.
func isShortOfRoom(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.ENOMEM)
}

// takeBack takes the descriptor from s, unless it was closed meanwhile.
func (s *sock) takeBack() (open bool) {
	s.task.mu.Lock()
	defer s.task.mu.Unlock()
	open = s.fd >= 0
	s.fd = -1
	return open
}

// release closes what a holds.
func (a *acceptor) release() {
	if a.held != nil {
		closeFD(a.held.fd)
		a.held = nil
	}
}
