package relay

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// Stacks double when they are full. Calls are made at every depth, in steps of a few bytes, up
// to beyond the fourth doubling of a goroutine's first 2 KiB.
const (
	levels = 700 // of the 48 bytes or so of a frame
	shades = 4   // between two levels
)

// atDepth is one system call, made on a stack that is deeper each time. What comes before and
// after it must not make the stack grow, and is done elsewhere.
type atDepth struct {
	before func() error
	call   func()
	after  func() error
}

func (a atDepth) run(t *testing.T) {
	wrong, made := 0, 0
	for level := range levels {
		for shade := range shades {
			if err := a.before(); err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				descendWide(level, shade, a.call)
			}()
			<-done
			made++
			if err := a.after(); err != nil {
				wrong++
				t.Logf("at level %d.%d: %v", level, shade, err)
			}
		}
	}
	if wrong > 0 {
		t.Errorf("wrong at %d of %d depths", wrong, made)
	}
}

//go:noinline
func descend(levels int, call func()) {
	if levels == 0 {
		call()
		return
	}
	descend(levels-1, call)
}

// descendWide has frames that are 16 bytes larger than those of descend.
//
//go:noinline
func descendWide(levels, wide int, call func()) (pad [2]int) {
	if wide == 0 {
		descend(levels, call)
		return pad
	}
	pad = descendWide(levels, wide-1, call)
	pad[0]++
	return pad
}

// What a system call is given, and what it fills in, may lie on a stack that moves when it
// grows. It must not move between the moment its address is taken and the call.
func TestCallsAtEachStackDepth(t *testing.T) {
	for name, prepare := range map[string]func(*testing.T) atDepth{
		"accept":      acceptAtDepth,
		"getsockname": localAtDepth,
		"connect":     connectAtDepth,
		"setsockopt":  optionAtDepth,
		"epoll_ctl":   epollAtDepth,
		"epoll_pwait": lookAtDepth,
		"send":        sendAtDepth,
		"recv":        receiveAtDepth,
	} {
		t.Run(name, func(t *testing.T) { prepare(t).run(t) })
	}
}

// listening returns the socket of a listener, which does not wait.
func listening(t *testing.T) (fd int32, at netip.AddrPort) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	n, err := duplicate(l.(*net.TCPListener))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(n) })
	return int32(n), l.Addr().(*net.TCPAddr).AddrPort()
}

func acceptAtDepth(t *testing.T) atDepth {
	fd, at := listening(t)
	var (
		client   int32
		accepted int32
		from     netip.AddrPort
		failed   error
	)
	return atDepth{
		before: func() (err error) {
			if client, err = tcpSocket(at.Addr()); err == nil {
				err = connectTo(client, at)
			}
			return err
		},
		call:  func() { accepted, from, failed = acceptFrom(fd) },
		after: func() error { return endOfConnect(client, accepted, from, failed) },
	}
}

func connectAtDepth(t *testing.T) atDepth {
	fd, at := listening(t)
	var (
		client int32
		failed error
	)
	return atDepth{
		before: func() (err error) {
			client, err = tcpSocket(at.Addr())
			return err
		},
		call: func() { failed = connectTo(client, at) },
		after: func() error {
			if failed != nil {
				closeFD(client)
				return failed
			}
			accepted, from, err := acceptFrom(fd)
			return endOfConnect(client, accepted, from, err)
		},
	}
}

// endOfConnect closes both ends of a connection, and checks that each knows the other.
func endOfConnect(client, accepted int32, from netip.AddrPort, err error) error {
	defer closeFD(client)
	if err != nil {
		return err
	}
	defer closeFD(accepted)
	// Thousands of connections must not use up the ports.
	if err := unix.SetsockoptLinger(int(client), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return err
	}
	sa, err := unix.Getsockname(int(client))
	if err != nil {
		return err
	}
	in := sa.(*unix.SockaddrInet4)
	if want := netip.AddrPortFrom(netip.AddrFrom4(in.Addr), uint16(in.Port)); from != want {
		return fmt.Errorf("accepted from %v, want %v", from, want)
	}
	return nil
}

func localAtDepth(t *testing.T) atDepth {
	fd, want := listening(t)
	var got netip.AddrPort
	return atDepth{
		before: func() error { got = netip.AddrPort{}; return nil },
		call:   func() { got = localAddr(fd) },
		after: func() error {
			if got != want {
				return fmt.Errorf("local address is %v, want %v", got, want)
			}
			return nil
		},
	}
}

func optionAtDepth(t *testing.T) atDepth {
	fd, _ := listening(t)
	var (
		value  int32
		failed error
	)
	return atDepth{
		before: func() error { value++; return nil },
		call:   func() { failed = setOption(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, value) },
		after: func() error {
			got, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)
			if got != int(value) {
				err = fmt.Errorf("option is %d, want %d", got, value)
			}
			return errors.Join(failed, err)
		},
	}
}

func epollAtDepth(t *testing.T) atDepth {
	b := newBell(t, false)
	b.ring()
	var (
		value  int32
		failed error
	)
	return atDepth{
		before: func() error { value++; return nil },
		call: func() {
			event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: value, Pad: -value}
			failed = epollCtl(b.waiter.epoll, unix.EPOLL_CTL_MOD, int32(b.rung), &event)
		},
		after: func() error {
			events := make([]unix.EpollEvent, 2)
			n, err := unix.EpollWait(b.waiter.epoll, events, 0)
			if want := (unix.EpollEvent{Events: unix.EPOLLIN, Fd: value, Pad: -value}); n != 1 || events[0] != want {
				err = fmt.Errorf("event is %v, want %v", events[:max(n, 0)], want)
			}
			return errors.Join(failed, err)
		},
	}
}

func lookAtDepth(t *testing.T) atDepth {
	b := newBell(t, false)
	b.ring()
	var (
		n      int
		event  unix.EpollEvent
		failed error
	)
	return atDepth{
		before: func() error { return nil },
		call: func() {
			w := waiter{epoll: b.waiter.epoll}
			w.look(0, len(w.events))
			n, event, failed = w.n, w.events[0], w.err
		},
		after: func() error {
			if n != 1 || event.Fd != wakeSlot || event.Events != unix.EPOLLIN {
				return fmt.Errorf("%d events, the first %v, %v", n, event, failed)
			}
			return nil
		},
	}
}

func sendAtDepth(t *testing.T) atDepth {
	a, b := socketPair(t)
	var (
		value  byte
		n      int
		failed error
	)
	return atDepth{
		before: func() error { value++; return nil },
		call: func() {
			message := [4]byte{'<', value, ^value, '>'}
			n, failed = write(a, message[:])
		},
		after: func() error {
			if n != 4 {
				return fmt.Errorf("sent %d bytes, %v", n, failed)
			}
			var got [4]byte
			_, err := unix.Read(int(b), got[:])
			if want := [4]byte{'<', value, ^value, '>'}; got != want {
				err = fmt.Errorf("sent %x, want %x", got, want)
			}
			return err
		},
	}
}

func receiveAtDepth(t *testing.T) atDepth {
	a, b := socketPair(t)
	var (
		value  byte
		got    [4]byte
		n      int
		failed error
	)
	return atDepth{
		before: func() error {
			value++
			_, err := unix.Write(int(a), []byte{'<', value, ^value, '>'})
			return err
		},
		call: func() {
			var buffer [4]byte
			n, failed = read(b, buffer[:])
			got = buffer
		},
		after: func() error {
			if want := [4]byte{'<', value, ^value, '>'}; n != 4 || got != want {
				return fmt.Errorf("received %d bytes, %x, want %x, %v", n, got, want, failed)
			}
			return nil
		},
	}
}

func socketPair(t *testing.T) (a, b int32) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	return int32(fds[0]), int32(fds[1])
}

// What the kernel is given stays on the stack.
func TestCallsDoNotAllocate(t *testing.T) {
	fd, at := listening(t)
	a, b := socketPair(t)
	bell := newBell(t, false)
	socket, err := tcpSocket(at.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeFD(socket) })
	buffer := make([]byte, 8)
	for name, call := range map[string]func(){
		"accept":      func() { acceptFrom(fd) },
		"getsockname": func() { localAddr(fd) },
		"setsockopt":  func() { noDelay(fd) },
		"connect":     func() { connectTo(socket, at) },
		"epoll_ctl": func() {
			event := unix.EpollEvent{Events: unix.EPOLLIN}
			epollCtl(bell.waiter.epoll, unix.EPOLL_CTL_MOD, int32(bell.rung), &event)
		},
		"epoll_pwait": func() { bell.waiter.look(0, 1) },
		"send, recv": func() {
			write(a, buffer)
			read(b, buffer)
		},
	} {
		if n := testing.AllocsPerRun(100, call); n > 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}
