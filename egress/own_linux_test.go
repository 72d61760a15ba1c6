package egress

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOwnAddress(t *testing.T) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		ip, _ := netip.AddrFromSlice(a.(*net.IPNet).IP)
		if own, err := OwnAddress(ip.Unmap()); !own || err != nil {
			t.Errorf("%v is an address of an interface: %v, %v", ip, own, err)
		}
	}
	for text, want := range map[string]bool{"127.9.9.9": true, "192.0.2.200": false} {
		if own, err := OwnAddress(netip.MustParseAddr(text)); own != want || err != nil {
			t.Errorf("%s: %v, %v, want %v", text, own, err, want)
		}
	}
}

// The kernel's answers to RTM_GETROUTE, rtnetlink(7): a route, that there is none, and what is
// neither, for which the request must fail.
func TestParseRoute(t *testing.T) {
	message := func(kind uint16, payload ...byte) []byte {
		b := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(payload)))
		b = binary.NativeEndian.AppendUint16(b, kind)
		return append(append(b, make([]byte, 10)...), payload...)
	}
	route := func(kind byte) []byte { return message(unix.RTM_NEWROUTE, 2, 32, 0, 0, 255, 0, 0, kind, 0, 0, 0, 0) }
	failure := func(e unix.Errno) []byte {
		return message(unix.NLMSG_ERROR, binary.NativeEndian.AppendUint32(nil, uint32(-int32(e)))...)
	}
	for _, c := range []struct {
		name string
		b    []byte
		kind byte
		err  error
	}{
		{"unicast", route(unix.RTN_UNICAST), unix.RTN_UNICAST, nil},
		{"local", route(unix.RTN_LOCAL), unix.RTN_LOCAL, nil},
		{"no route", failure(unix.ENETUNREACH), unix.RTN_UNREACHABLE, nil},
		{"unreachable", failure(unix.EHOSTUNREACH), unix.RTN_UNREACHABLE, nil},
		{"prohibited", failure(unix.EACCES), unix.RTN_UNREACHABLE, nil},
		{"not supported", failure(unix.EOPNOTSUPP), 0, unix.EOPNOTSUPP},
		{"no failure", failure(0), 0, errRoute},
		{"something else", message(unix.RTM_NEWADDR, make([]byte, 12)...), 0, errRoute},
		{"nothing", nil, 0, errRoute},
		{"cut off", route(unix.RTN_UNICAST)[:unix.SizeofNlMsghdr+7], 0, errRoute},
		{"cut off failure", failure(unix.EHOSTUNREACH)[:unix.SizeofNlMsghdr+3], 0, errRoute},
	} {
		if kind, err := parseRoute(c.b); kind != c.kind || !errors.Is(err, c.err) {
			t.Errorf("%s: %d, %v, want %d, %v", c.name, kind, err, c.kind, c.err)
		}
	}
}
