//go:build !race

package relay

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// read is recv(2).
func read(fd int32, b []byte) (int, error) { return transfer(unix.SYS_RECVFROM, fd, b, 0) }

// write is send(2).
func write(fd int32, b []byte) (int, error) {
	return transfer(unix.SYS_SENDTO, fd, b, unix.MSG_NOSIGNAL)
}

func transfer(call uintptr, fd int32, b []byte, flags uintptr) (int, error) {
	return try(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), flags, 0, 0)
}
