package relay

import (
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

func beginTask(c net.Conn, f func()) bool {
	s, ok := c.(*sock)
	if ok {
		s.task.start(f)
		s.task.loop.turns.addTask(s.task)
	}
	return ok
}

func inTask(c net.Conn) bool {
	s, ok := c.(*sock)
	return ok && !s.task.left
}

// remoteOfTask saves taking apart what RemoteAddr would put together.
func remoteOfTask(c net.Conn) (netip.AddrPort, bool) {
	s, ok := c.(*sock)
	if !ok {
		return netip.AddrPort{}, false
	}
	return s.remote, true
}

func leaveTask(c net.Conn) net.Conn {
	s, ok := c.(*sock)
	if !ok {
		return c
	}
	if !s.task.left {
		s.task.leave()
	}
	if s.ordinary == nil { // it was closed before
		return s
	}
	return s.ordinary
}

func awaitTask(c net.Conn, deadline time.Time, begin func(ready func())) error {
	client := c.(*sock)
	return client.task.await(client, deadline, begin)
}

func connectTask(c net.Conn, to netip.AddrPort, deadline time.Time) (net.Conn, netip.AddrPort, error) {
	client := c.(*sock)
	t := client.task
	for range 3 {
		s, err := t.connect(client, to, deadline)
		if err != nil {
			return nil, netip.AddrPort{}, err
		}
		local := s.local()
		if local != to {
			return s, local, nil
		}
		s.Close() // it has reached itself, by a port that was given it: nobody listens there
	}
	return nil, netip.AddrPort{}, os.NewSyscallError("connect", unix.ECONNREFUSED)
}

func (t *task) connect(client *sock, to netip.AddrPort, deadline time.Time) (*sock, error) {
	fd, err := tcpSocket(to.Addr())
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	noDelay(fd)
	err = os.NewSyscallError("connect", connectTo(fd, to))
	t.happened[toServer] = 0
	s, adding := t.add(toServer, fd, to)
	if err == nil {
		err = adding
	}
	for err == nil && t.happened[toServer]&mayWrite == 0 {
		switch {
		case client.isClosed():
			err = net.ErrClosed
		case !time.Now().Before(deadline):
			err = os.ErrDeadlineExceeded
		default:
			t.wait(deadline)
		}
	}
	if err == nil && t.happened[toServer]&unix.EPOLLERR != 0 {
		err = s.socketError()
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// socketError returns why connecting failed.
func (s *sock) socketError() error {
	s.task.mu.Lock()
	defer s.task.mu.Unlock()
	if s.fd < 0 { // its number may belong to another by now
		return net.ErrClosed
	}
	errno, err := unix.GetsockoptInt(int(s.fd), unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = unix.Errno(errno)
	}
	return os.NewSyscallError("connect", err)
}

// startTask makes a relay of a task and its two sockets, or returns nil if p is not those.
// The loop knows the sockets already, and need not be woken: it is what runs this.
func (e *Engine) startTask(p *Pair) *Relay {
	client, ok := p.Client.(*sock)
	server, both := p.Server.(*sock)
	if !ok || !both || client.task != server.task || client.task.left {
		return nil
	}
	t := client.task
	w := &wire{
		Relay:    Relay{done: p.Done},
		loop:     t.loop,
		halfIdle: p.halfIdle(),
		stays:    migrateAfter,
		care:     fresh,
	}
	w.runner = w
	w.mu.Lock()
	t.handOver(w)
	e.limits.watch(&w.timer, p.Idle)
	w.sendFirst(p)
	e.keep()
	if e.isClosed() {
		w.stop(ErrClosed)
	}
	if w.over {
		go w.unlock() // Start's caller may hold what Done needs
		return &w.Relay
	}
	w.unlock()
	return &w.Relay
}

// handOver gives the sockets of t to w, and has the loop look at what they have said.
func (t *task) handOver(w *wire) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for d, s := range t.socks {
		w.fds[d] = s.fd
		w.ways[d].armed = s.watched
		if s.fd < 0 {
			w.stop(ErrClosed) // from outside: nobody else can have
		}
		s.fd = -1
		t.socks[d] = nil
	}
	w.slot, t.slot = t.slot, noSlot
	t.loop.wires.become(w)
	for d := range w.ways {
		from := t.happened[direction(d).back()]
		if from&mayRead == 0 || w.over {
			continue
		}
		way := &w.ways[d]
		way.readable = true
		way.eager = from&(atEnd|unix.EPOLLPRI) != 0
		w.ready(t.loop, direction(d))
	}
}
