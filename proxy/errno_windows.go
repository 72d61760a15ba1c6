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

// isNoListener reports whether accepting failed since there is no listener to accept from.
func isNoListener(e syscall.Errno) bool {
	return e == windows.WSAEBADF || e == windows.WSAEINVAL || e == windows.WSAENOTSOCK
}

// fixOf returns what to change where the system is short of something, "" for other errors.
func fixOf(e syscall.Errno) string {
	switch e {
	case windows.WSAEMFILE, windows.WSAENOBUFS:
		return "the system has no room for more sockets; lower --max-conns"
	}
	return ""
}
