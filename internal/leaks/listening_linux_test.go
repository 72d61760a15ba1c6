package leaks

import (
	"net"
	"net/netip"
	"os"
	"testing"
)

// The program that keeps others from an address is found by any address that it listens at.
func TestListening(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "0.0.0.0:0", "[::1]:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			if address == "[::1]:0" {
				continue // no IPv6 here
			}
			t.Fatal(err)
		}
		at := l.Addr().(*net.TCPAddr).AddrPort()
		for _, asked := range []netip.AddrPort{
			netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), netip.AddrPortFrom(netip.IPv6Unspecified(), at.Port()),
		} {
			if name, pid := Listening(t.Context(), asked); pid != os.Getpid() || name == "" {
				t.Errorf("%s at %v: %q, pid %d", address, asked, name, pid)
			}
		}
		l.Close()
		if name, pid := Listening(t.Context(), at); pid != 0 {
			t.Errorf("%v after it was closed: %q, pid %d", at, name, pid)
		}
	}
}
