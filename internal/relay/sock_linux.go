package relay

import (
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// sock is a TCP socket that a task uses while an event loop runs it. Only Close and the methods
// that set deadlines may be called from elsewhere. Once its task has left the loop it stands
// for an ordinary connection.
type sock struct {
	task     *task
	out      direction // that it is the destination of
	fd       int32     // -1 once closed; guarded by task.mu
	watched  bool      // for writing, too
	remote   netip.AddrPort
	deadline [2]time.Time // of reading and writing; guarded by task.mu
	ordinary net.Conn     // once the task has left
}

const (
	reading = 0
	writing = 1
)

const (
	mayRead  = unix.EPOLLIN | unix.EPOLLPRI | unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
	mayWrite = unix.EPOLLOUT | unix.EPOLLHUP | unix.EPOLLERR
	atEnd    = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
)

func (s *sock) opError(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return opError(op, s.RemoteAddr(), err)
}

// opError says what failed as package net does, of which io.EOF is not.
func opError(op string, remote net.Addr, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "tcp", Addr: remote, Err: err}
}

func (s *sock) Read(b []byte) (int, error) {
	if s.ordinary != nil {
		return s.ordinary.Read(b)
	}
	if len(b) == 0 {
		return 0, nil
	}
	t := s.task
	for {
		err := error(unix.EAGAIN)
		n := 0
		if events := t.happened[s.out]; events&mayRead != 0 {
			if n, err = s.transfer(read, b); err == nil {
				// A short read has taken all there was, unless the end or urgent data follow.
				if n < len(b) && events&(atEnd|unix.EPOLLPRI) == 0 {
					t.happened[s.out] &^= unix.EPOLLIN
				}
				if n == 0 {
					return 0, io.EOF
				}
				return n, nil
			}
		} else if s.isClosed() {
			return 0, s.opError("read", net.ErrClosed)
		}
		if err != unix.EAGAIN {
			return 0, s.opError("read", err)
		}
		t.happened[s.out] &^= mayRead
		if err := s.wait(reading); err != nil {
			return 0, s.opError("read", err)
		}
	}
}

func (s *sock) Write(b []byte) (int, error) {
	if s.ordinary != nil {
		return s.ordinary.Write(b)
	}
	for sent := 0; ; {
		n, err := s.transfer(write, b[sent:])
		if sent += n; sent == len(b) {
			return sent, nil
		}
		if err == nil {
			continue
		}
		if err == unix.EAGAIN {
			if err = s.watchWriting(); err == nil {
				err = s.wait(writing)
			}
		}
		if err != nil {
			return sent, s.opError("write", err)
		}
	}
}

// transfer reads or writes once, unless s is closed.
func (s *sock) transfer(f func(int32, []byte) (int, error), b []byte) (int, error) {
	s.task.mu.Lock()
	defer s.task.mu.Unlock()
	if s.fd < 0 {
		return 0, net.ErrClosed
	}
	return f(s.fd, b)
}

// watchWriting asks for the event that there is room again.
func (s *sock) watchWriting() error {
	s.task.mu.Lock()
	defer s.task.mu.Unlock()
	if s.watched || s.fd < 0 {
		return nil
	}
	s.watched = true
	return s.task.loop.watch(unix.EPOLL_CTL_MOD, s.fd, s.task.slot, s.out, true)
}

// wait waits for an event until the deadline of what is being done.
func (s *sock) wait(what int) error {
	s.task.mu.Lock()
	deadline := s.deadline[what]
	s.task.mu.Unlock()
	if !deadline.IsZero() && !time.Now().Before(deadline) {
		return os.ErrDeadlineExceeded
	}
	s.task.wait(deadline)
	return nil
}

func (s *sock) isClosed() bool {
	s.task.mu.Lock()
	defer s.task.mu.Unlock()
	return s.fd < 0
}

// Close may be called from outside the task, which it wakes.
func (s *sock) Close() error {
	t := s.task
	t.mu.Lock()
	ordinary, wake := s.ordinary, t.waiting || !t.begun
	open := s.shut()
	t.mu.Unlock()
	switch {
	case ordinary != nil:
		return ordinary.Close()
	case !open:
		return s.opError("close", net.ErrClosed)
	case wake:
		t.loop.post(t, false)
	}
	return nil
}

// shut closes the descriptor. task.mu is held.
func (s *sock) shut() (open bool) {
	open = s.fd >= 0
	if open {
		closeFD(s.fd)
		s.task.roused = true
	}
	s.fd = -1
	return open
}

// CloseWrite ends what s sends.
func (s *sock) CloseWrite() error {
	if half, ok := s.ordinary.(Conn); ok {
		return half.CloseWrite()
	}
	s.task.mu.Lock()
	defer s.task.mu.Unlock()
	if s.fd < 0 {
		return s.opError("close", net.ErrClosed)
	}
	return s.opError("close", os.NewSyscallError("shutdown", shutdown(s.fd)))
}

// SetLinger is that of *net.TCPConn for sec >= 0. It may be called from outside the task.
func (s *sock) SetLinger(sec int) error {
	s.task.mu.Lock()
	defer s.task.mu.Unlock()
	if tcp, ok := s.ordinary.(interface{ SetLinger(sec int) error }); ok {
		return tcp.SetLinger(sec)
	}
	if s.fd < 0 {
		return s.opError("set", net.ErrClosed)
	}
	return s.opError("set", setLinger(s.fd, sec))
}

func (s *sock) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(s.remote) }

func (s *sock) LocalAddr() net.Addr {
	s.task.mu.Lock()
	defer s.task.mu.Unlock()
	if s.ordinary != nil {
		return s.ordinary.LocalAddr()
	}
	return net.TCPAddrFromAddrPort(localAddr(s.fd))
}

// local returns the address of s, zero once s is closed: its number may belong to another
// by then.
func (s *sock) local() netip.AddrPort {
	s.task.mu.Lock()
	defer s.task.mu.Unlock()
	if s.fd < 0 {
		return netip.AddrPort{}
	}
	return localAddr(s.fd)
}

func (s *sock) SetDeadline(t time.Time) error      { return s.setDeadline(t, reading, writing) }
func (s *sock) SetReadDeadline(t time.Time) error  { return s.setDeadline(t, reading, reading) }
func (s *sock) SetWriteDeadline(t time.Time) error { return s.setDeadline(t, writing, writing) }

// setDeadline sets the deadline of the first kind to that of the last. It may be called from
// outside the task, which waits no longer than until then.
func (s *sock) setDeadline(at time.Time, first, last int) error {
	t := s.task
	t.mu.Lock()
	if s.ordinary != nil {
		t.mu.Unlock()
		return setDeadline(s.ordinary, at, first, last)
	}
	for what := first; what <= last; what++ {
		if before := s.deadline[what]; !at.IsZero() && (before.IsZero() || at.Before(before)) {
			t.roused = true
		}
		s.deadline[what] = at
	}
	wake := t.roused && t.waiting
	t.mu.Unlock()
	if wake {
		t.loop.post(t, false)
	}
	return nil
}

func setDeadline(c net.Conn, at time.Time, first, last int) error {
	switch {
	case first != last:
		return c.SetDeadline(at)
	case first == reading:
		return c.SetReadDeadline(at)
	}
	return c.SetWriteDeadline(at)
}

// makeOrdinary takes s from the loop. task.mu is held.
func (s *sock) makeOrdinary() {
	if s.fd < 0 {
		return
	}
	if s.out == toServer {
		keepAlive(s.fd) // no relay will
	}
	fd := int(s.fd)
	s.fd = -1
	// It must not stay known to the loop by its duplicate.
	_ = epollCtl(s.task.loop.waiter.epoll, unix.EPOLL_CTL_DEL, int32(fd), nil)
	f := os.NewFile(uintptr(fd), "tcp")
	c, err := net.FileConn(f)
	if err == nil {
		f.Close()
	} else { // it works on a duplicate, for which there was no descriptor
		c = &fileConn{f, s.RemoteAddr()}
	}
	_ = c.SetReadDeadline(s.deadline[reading])
	_ = c.SetWriteDeadline(s.deadline[writing])
	s.ordinary = c
}
