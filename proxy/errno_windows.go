package proxy

import (
	"syscall"

	"golang.org/x/sys/windows"

	"hosier/socks"
)

// statusOfErrno maps what connect fails with in Winsock, whose numbers are not those
// of package syscall.
func statusOfErrno(e syscall.Errno) socks.Status {
	switch e {
	case windows.WSAECONNREFUSED, windows.WSAECONNRESET:
		return socks.ConnectionRefused
	case windows.WSAENETUNREACH, windows.WSAENETDOWN, windows.WSAEAFNOSUPPORT:
		return socks.NetworkUnreachable
	case windows.WSAEHOSTUNREACH, windows.WSAEHOSTDOWN:
		return socks.HostUnreachable
	case windows.WSAETIMEDOUT:
		return socks.TTLExpired
	case windows.WSAEACCES:
		return socks.NotAllowed
	}
	return socks.GeneralFailure
}
