package relay

import (
	"syscall"
	"unsafe"

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

// Reads, writes and splices here never wait. They are therefore made without telling
// Go's scheduler, which would give the thread's processor away while a long one lasts.

// read is recv(2), again if a signal comes between.
func read(fd int32, b []byte) (int, error) { return transfer(unix.SYS_RECVFROM, fd, b, 0) }

// write is send(2), again if a signal comes between.
func write(fd int32, b []byte) (int, error) {
	return transfer(unix.SYS_SENDTO, fd, b, unix.MSG_NOSIGNAL)
}

func transfer(call uintptr, fd int32, b []byte, flags uintptr) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(call, uintptr(fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), flags, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

// splice is splice(2) without waiting, again if a signal comes between.
func splice(from, to, n int) (int, error) {
	const flags = unix.SPLICE_F_MOVE | unix.SPLICE_F_NONBLOCK
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n), flags)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}
