//go:build !windows

package proxy

import (
	"syscall"

	"hosier/socks"
)

// statusOfErrno maps what connect(2) fails with.
func statusOfErrno(e syscall.Errno) socks.Status {
	switch e {
	case syscall.ECONNREFUSED, syscall.ECONNRESET:
		return socks.ConnectionRefused
	case syscall.ENETUNREACH, syscall.ENETDOWN, syscall.EAFNOSUPPORT: // the last: no IPv6 here
		return socks.NetworkUnreachable
	case syscall.EHOSTUNREACH, syscall.EHOSTDOWN:
		return socks.HostUnreachable
	case syscall.ETIMEDOUT:
		return socks.TTLExpired
	case syscall.EACCES, syscall.EPERM: // a packet filter of this host
		return socks.NotAllowed
	}
	return socks.GeneralFailure
}
