package listen

import (
	"errors"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// DeferAccept has the kernel keep connections to itself until they have said something,
// for about so long (TCP_DEFER_ACCEPT, tcp(7)): whoever only connects costs nothing here.
// It is of TCP alone, and an error that matches errors.ErrUnsupported where there is none.
func DeferAccept(l net.Listener, wait time.Duration) error {
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return errors.ErrUnsupported
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	seconds := max(1, int(wait.Seconds()))
	if err := raw.Control(func(fd uintptr) {
		serr = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, seconds)
	}); err != nil {
		return err
	}
	return serr
}
