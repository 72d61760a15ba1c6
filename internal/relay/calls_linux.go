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

// try makes a system call, again if a signal comes between.
func try(call, a, b, c, d, e, f uintptr) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(call, a, b, c, d, e, f)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

// splice is splice(2) without waiting.
func splice(from, to, n int) (int, error) {
	const flags = unix.SPLICE_F_MOVE | unix.SPLICE_F_NONBLOCK
	return try(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n), flags)
}

// closeFD closes fd, which is gone also where that fails.
func closeFD(fd int32) { unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

func shutdown(fd int32) error {
	_, err := try(unix.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_WR, 0, 0, 0, 0)
	return err
}

func epollCtl(epoll, op int, fd int32, event *unix.EpollEvent) error {
	_, err := try(unix.SYS_EPOLL_CTL, uintptr(epoll), uintptr(op), uintptr(fd), uintptr(unsafe.Pointer(event)), 0, 0)
	return err
}

func setOption(fd int32, level, option int, value int32) error {
	_, err := try(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option),
		uintptr(unsafe.Pointer(&value)), unsafe.Sizeof(value), 0)
	return err
}

// tcpSocket makes a socket for an address of the family of ip.
func tcpSocket(ip netip.Addr) (fd int32, err error) {
	family := uintptr(unix.AF_INET)
	if !ip.Is4() {
		family = unix.AF_INET6
	}
	n, err := try(unix.SYS_SOCKET, family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0, 0, 0)
	return int32(n), err
}

// connectTo begins to connect; a second call would not do so again.
func connectTo(fd int32, to netip.AddrPort) error {
	var address unsafe.Pointer
	var size uintptr
	port := uint16(swap16(to.Port()))
	if ip := to.Addr(); ip.Is4() {
		sa := unix.RawSockaddrInet4{Family: unix.AF_INET, Port: port, Addr: ip.As4()}
		address, size = unsafe.Pointer(&sa), unix.SizeofSockaddrInet4
	} else {
		zone, _ := strconv.ParseUint(ip.Zone(), 10, 32) // names of zones go by another road
		sa := unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: port, Addr: ip.As16(), Scope_id: uint32(zone)}
		address, size = unsafe.Pointer(&sa), unix.SizeofSockaddrInet6
	}
	_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(address), size)
	if errno != 0 && errno != unix.EINPROGRESS && errno != unix.EINTR { // which goes on as well
		return errno
	}
	return nil
}

// swap16 puts a port into the order of the network, or back.
func swap16(n uint16) uint16 {
	b := [2]byte{byte(n >> 8), byte(n)}
	return *(*uint16)(unsafe.Pointer(&b))
}

// acceptFrom accepts a connection, and tells who it is from.
func acceptFrom(fd int32) (int32, netip.AddrPort, error) {
	var sa unix.RawSockaddrInet6 // the longest there is here
	size := uint32(unsafe.Sizeof(sa))
	n, err := try(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)),
		unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	return int32(n), addrPort(&sa), err
}

// localAddr is zero if the system does not tell it.
func localAddr(fd int32) netip.AddrPort {
	var sa unix.RawSockaddrInet6
	size := uint32(unsafe.Sizeof(sa))
	_, err := try(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)), 0, 0, 0)
	if err != nil {
		return netip.AddrPort{}
	}
	return addrPort(&sa)
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
