package relay

import (
	"net/netip"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls of an event loop never wait. They are therefore made without telling
// Go's scheduler: it would look after the thread of each that takes more than 20 µs, as
// connect does, give its processor to another thread, and wake every 20 µs for a while.
// Package unix would also ask for the protocol of each socket with an address.
//
// A pointer becomes a uintptr in the argument list of RawSyscall6 and nowhere else: only
// there, in the call of a function written in assembly, does the compiler keep what it points
// to in its place (rule 4 of package unsafe). A Go function in between may grow the stack, and
// the kernel would then use memory that belongs to something else. Each call therefore has a
// loop of its own, which makes it again if a signal comes between. TestPointers in the root
// of the module finds what breaks this.

// result is the error of a system call, nil for 0.
func result(errno unix.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}

// splice is splice(2) without waiting.
func splice(from, to, n int) (int, error) {
	const flags = unix.SPLICE_F_MOVE | unix.SPLICE_F_NONBLOCK
	for {
		moved, _, errno := unix.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n), flags)
		if errno != unix.EINTR {
			return max(int(moved), 0), result(errno)
		}
	}
}

// closeFD closes fd, which is gone also where that fails.
func closeFD(fd int32) { unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

func shutdown(fd int32) error {
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_WR, 0)
		if errno != unix.EINTR {
			return result(errno)
		}
	}
}

func epollCtl(epoll, op int, fd int32, event *unix.EpollEvent) error {
	for {
		_, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(epoll), uintptr(op), uintptr(fd),
			uintptr(unsafe.Pointer(event)), 0, 0)
		if errno != unix.EINTR {
			return result(errno)
		}
	}
}

func setOption(fd int32, level, option int, value int32) error {
	for {
		_, _, errno := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option),
			uintptr(unsafe.Pointer(&value)), unsafe.Sizeof(value), 0)
		if errno != unix.EINTR {
			return result(errno)
		}
	}
}

// tcpSocket makes a socket for an address of the family of ip.
func tcpSocket(ip netip.Addr) (fd int32, err error) {
	family := uintptr(unix.AF_INET)
	if !ip.Is4() {
		family = unix.AF_INET6
	}
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_SOCKET, family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if errno != unix.EINTR {
			return int32(n), result(errno)
		}
	}
}

// connectTo begins to connect.
func connectTo(fd int32, to netip.AddrPort) error {
	for again := false; ; again = true {
		switch errno := connect(fd, to); {
		case errno == unix.EINTR:
		case errno == unix.EINPROGRESS, again && (errno == unix.EALREADY || errno == unix.EISCONN):
			return nil
		default:
			return result(errno)
		}
	}
}

func connect(fd int32, to netip.AddrPort) (errno unix.Errno) {
	port := uint16(swap16(to.Port()))
	if ip := to.Addr(); ip.Is4() {
		sa := unix.RawSockaddrInet4{Family: unix.AF_INET, Port: port, Addr: ip.As4()}
		_, _, errno = unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&sa)), unsafe.Sizeof(sa))
	} else {
		zone, _ := strconv.ParseUint(ip.Zone(), 10, 32) // names of zones go by another road
		sa := unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: port, Addr: ip.As16(), Scope_id: uint32(zone)}
		_, _, errno = unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&sa)), unsafe.Sizeof(sa))
	}
	return errno
}

// swap16 puts a port into the order of the network, or back.
func swap16(n uint16) uint16 {
	b := [2]byte{byte(n >> 8), byte(n)}
	return *(*uint16)(unsafe.Pointer(&b))
}

// acceptFrom accepts a connection and returns its socket and the client's address.
func acceptFrom(fd int32) (int32, netip.AddrPort, error) {
	var sa unix.RawSockaddrInet6 // the longest there is here
	size := uint32(unsafe.Sizeof(sa))
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(&sa)),
			uintptr(unsafe.Pointer(&size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		switch errno {
		case 0:
			return int32(n), addrPort(&sa), nil
		case unix.EINTR:
		default:
			return -1, netip.AddrPort{}, errno
		}
	}
}

// localAddr returns the address of a socket's own end, zero if the system does not know it.
func localAddr(fd int32) netip.AddrPort {
	var sa unix.RawSockaddrInet6
	size := uint32(unsafe.Sizeof(sa))
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)))
		switch errno {
		case 0:
			return addrPort(&sa)
		case unix.EINTR:
		default:
			return netip.AddrPort{}
		}
	}
}

func addrPort(sa *unix.RawSockaddrInet6) netip.AddrPort {
	switch sa.Family {
	case unix.AF_INET:
		sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), swap16(sa.Port))
	case unix.AF_INET6:
		ip := netip.AddrFrom16(sa.Addr)
		if sa.Scope_id != 0 {
			ip = ip.WithZone(strconv.Itoa(int(sa.Scope_id)))
		}
		return netip.AddrPortFrom(ip, swap16(sa.Port))
	}
	return netip.AddrPort{}
}
