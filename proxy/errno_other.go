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

// isNoListener reports whether accept(2) says that there is no listener to accept from.
func isNoListener(e syscall.Errno) bool {
	return e == syscall.EBADF || e == syscall.EINVAL || e == syscall.ENOTSOCK
}

// fixOf returns what to change where the system is short of something, "" for other errors.
func fixOf(e syscall.Errno) string {
	switch e {
	case syscall.EMFILE:
		return "raise the limit of open files (ulimit -n), or lower --max-conns"
	case syscall.ENFILE:
		return "raise the system's limit of open files (sysctl fs.file-max), or lower --max-conns"
	case syscall.ENOSPC: // epoll's
		return "raise the limit of epoll watches (sysctl fs.epoll.max_user_watches), or lower --max-conns"
	case syscall.ENOBUFS, syscall.ENOMEM:
		return "the system is short of memory for sockets (sysctl net.ipv4.tcp_mem, or a memory limit of this service); raise it, or lower --max-conns"
	}
	return ""
}
