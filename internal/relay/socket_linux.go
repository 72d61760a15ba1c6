package relay

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// socket is a connection that tells its descriptor.
type socket interface {
	SyscallConn() (syscall.RawConn, error)
}

// duplicate returns a descriptor of its own for the socket of c.
func duplicate(c socket) (fd int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	failed := raw.Control(func(s uintptr) { fd, err = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 0) })
	if failed != nil {
		return 0, failed
	}
	if err != nil {
		return 0, err
	}
	// The Fd method of os.File makes a socket wait, and a loop must never do so.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return 0, err
	}
	return fd, nil
}

// hasUnsent reports whether the peer of a stream socket has not acknowledged all that it was
// given, an end included: a reset would take that back.
func hasUnsent(fd int) bool {
	n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	return err != nil || n > 0
}
