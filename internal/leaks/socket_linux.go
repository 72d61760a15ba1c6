package leaks

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// socket is the kernel's description of a socket.
type socket struct {
	inode uint32
	uid   int
}

var errNoSocket = errors.New("no such socket")

// The lengths of sock_diag(7): nlmsghdr, inet_diag_sockid, inet_diag_req_v2, inet_diag_msg.
const (
	headerLen  = 16
	idLen      = 48
	requestLen = headerLen + 8 + idLen
	answerLen  = headerLen + 4 + idLen + 20
)

// findSocket asks the kernel for the TCP socket of this host with these two ends, without
// a look at any other. One that has an IPv6 socket but speaks IPv4 is found by IPv4.
func findSocket(local, remote netip.AddrPort) (s socket, err error) {
	l, r := netip.AddrPortFrom(local.Addr().Unmap(), local.Port()), netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	if !l.IsValid() || !r.IsValid() || l.Addr().Is4() != r.Addr().Is4() {
		return s, errNoSocket
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return s, fmt.Errorf("netlink: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}); err != nil {
		return s, fmt.Errorf("netlink: %w", err)
	}
	question := appendQuestion(nil, l, r)
	if err := unix.Sendto(fd, question, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return s, fmt.Errorf("netlink: %w", err)
	}
	b := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, b, 0)
	if err != nil {
		return s, fmt.Errorf("netlink: %w", err)
	}
	return parseAnswer(b[:n], question[headerLen+8:])
}

func appendQuestion(b []byte, local, remote netip.AddrPort) []byte {
	order := binary.NativeEndian
	b = order.AppendUint32(b, requestLen)
	b = order.AppendUint16(b, unix.SOCK_DIAG_BY_FAMILY)
	b = order.AppendUint16(b, unix.NLM_F_REQUEST)
	b = append(b, make([]byte, 8)...) // sequence, port
	family := byte(unix.AF_INET)
	if local.Addr().Is6() {
		family = unix.AF_INET6
	}
	b = append(b, family, unix.IPPROTO_TCP, 0, 0)
	b = order.AppendUint32(b, ^uint32(0)) // in any state
	b = binary.BigEndian.AppendUint16(b, local.Port())
	b = binary.BigEndian.AppendUint16(b, remote.Port())
	for _, a := range []netip.Addr{local.Addr(), remote.Addr()} {
		var room [16]byte
		copy(room[:], a.AsSlice())
		b = append(b, room[:]...)
	}
	b = append(b, 0, 0, 0, 0)                                        // any interface
	return append(b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff) // any cookie
}

// parseAnswer checks that the answer is about the socket of that id: where there is none
// with both ends, the kernel answers with a listener.
func parseAnswer(b, id []byte) (s socket, err error) {
	order := binary.NativeEndian
	if len(b) < answerLen || order.Uint16(b[4:]) != unix.SOCK_DIAG_BY_FAMILY {
		return s, errNoSocket
	}
	const ports = 4
	if string(b[headerLen+4:headerLen+4+ports]) != string(id[:ports]) {
		return s, errNoSocket
	}
	rest := b[headerLen+4+idLen:] // expires, rqueue, wqueue, uid, inode
	s = socket{inode: order.Uint32(rest[16:]), uid: int(order.Uint32(rest[12:]))}
	if s.inode == 0 { // closed already, and nobody's
		return s, errNoSocket
	}
	return s, nil
}
