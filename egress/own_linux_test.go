package egress

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"hosier/internal/sockstest"
	"hosier/socks"
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

// Without a descriptor nothing is found out about a name or an address: not that it is
// unreachable, nor that it is allowed.
func TestOutOfDescriptors(t *testing.T) {
	dns := sockstest.NewDNS(t)
	dns.Set("a.test", "127.0.0.1")
	out := &Direct{DNS: dns.Addr}
	exhaust(t)
	_, err := out.Resolve(t.Context(), &socks.Request{Version: socks.V5, Command: socks.Resolve, Addr: socks.Addr{Name: "a.test"}})
	if name := (*net.DNSError)(nil); !errors.Is(err, syscall.EMFILE) || errors.As(err, &name) {
		t.Errorf("Resolve: %v, want EMFILE", err)
	}
	_, err = out.ResolvePTR(t.Context(), &socks.Request{Addr: socks.Addr{IP: netip.MustParseAddr("192.0.2.7")}})
	if name := (*net.DNSError)(nil); !errors.Is(err, syscall.EMFILE) || errors.As(err, &name) {
		t.Errorf("ResolvePTR: %v, want EMFILE", err)
	}
	if err := PublicOnly(nil, netip.MustParseAddr("1.1.1.1")); !errors.Is(err, socks.GeneralFailure) || errors.Is(err, socks.NotAllowed) {
		t.Errorf("PublicOnly: %v, want %v", err, socks.GeneralFailure)
	}
}

// exhaust leaves this process no descriptor until the test is over.
func exhaust(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	next := uint64(f.Fd()) // the kernel gives the lowest that is free
	f.Close()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
	})
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: next, Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
}
