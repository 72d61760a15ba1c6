package egress

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// OwnAddress reports whether the kernel would deliver on this host what is sent to ip, as
// `ip route get` does: by an interface's address, by a local route alone (load balancers,
// anycast), by whatever table the rules lead to.
//
// The kernel answers within the call that asks, from the same tables that a connection will be
// routed by, so the cost does not depend on how many addresses there are, and nothing is
// remembered that could be out of date. A list of the interfaces' addresses takes milliseconds
// where there are thousands, and has no routes; one kept current by notifications has to be
// built again whenever the kernel had to drop some.
func OwnAddress(ip netip.Addr) (bool, error) {
	kind, err := routeType(ip)
	// Broadcast and anycast addresses are received here as well.
	return err == nil && kind != unix.RTN_UNICAST && kind != unix.RTN_UNREACHABLE, err
}

// errRoute is an answer of the kernel that makes no sense.
var errRoute = errors.New("netlink: unexpected answer to RTM_GETROUTE")

// routeType returns the type of the route to ip, one of unix.RTN_…; RTN_UNREACHABLE if there is
// none. An error means that the kernel could not be asked.
func routeType(ip netip.Addr) (byte, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return 0, os.NewSyscallError("netlink socket", err)
	}
	defer unix.Close(fd)
	if err := unix.Sendto(fd, routeQuestion(ip), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, os.NewSyscallError("netlink sendto", err)
	}
	var answer [1024]byte // a header, struct rtmsg and a dozen short attributes
	n, _, err := unix.Recvfrom(fd, answer[:], 0)
	if err != nil {
		return 0, os.NewSyscallError("netlink recvfrom", err)
	}
	return parseRoute(answer[:n])
}

// routeQuestion is an RTM_GETROUTE with the one attribute RTA_DST (rtnetlink(7)).
func routeQuestion(ip netip.Addr) []byte {
	family := byte(unix.AF_INET6)
	if ip.Is4() {
		family = unix.AF_INET
	}
	raw := ip.AsSlice()
	size := unix.SizeofNlMsghdr + unix.SizeofRtMsg + unix.SizeofRtAttr + len(raw)
	b := make([]byte, 0, size)
	b = binary.NativeEndian.AppendUint32(b, uint32(size))
	b = binary.NativeEndian.AppendUint16(b, unix.RTM_GETROUTE)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST)
	b = append(b, make([]byte, 8)...)                          // sequence number, port: one question a socket
	b = append(b, family, byte(ip.BitLen()), 0, 0, 0, 0, 0, 0) // struct rtmsg: family, dst_len, …
	b = append(b, make([]byte, unix.SizeofRtMsg-8)...)         // flags
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtAttr+len(raw)))
	b = binary.NativeEndian.AppendUint16(b, unix.RTA_DST)
	return append(b, raw...)
}

// parseRoute takes the type out of the answer, or its errno.
func parseRoute(b []byte) (byte, error) {
	const atType = unix.SizeofNlMsghdr + 7 // rtm_type of struct rtmsg
	if len(b) < unix.SizeofNlMsghdr+4 {
		return 0, errRoute
	}
	switch binary.NativeEndian.Uint16(b[4:]) {
	case unix.NLMSG_ERROR:
		code := -int32(binary.NativeEndian.Uint32(b[unix.SizeofNlMsghdr:]))
		switch errno := unix.Errno(code); errno {
		case 0:
		case unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EACCES: // no route, unreachable, prohibit
			return unix.RTN_UNREACHABLE, nil
		default:
			return 0, os.NewSyscallError("RTM_GETROUTE", errno)
		}
	case unix.RTM_NEWROUTE:
		if len(b) > atType {
			return b[atType], nil
		}
	}
	return 0, errRoute
}
