package egress_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"

	"hosier/egress"
	"hosier/internal/sockstest"
	"hosier/socks"
)

// Without a descriptor nothing is found out about a name or an address: not that it is
// unreachable, nor that it is allowed.
func TestOutOfDescriptors(t *testing.T) {
	dns := sockstest.NewDNS(t)
	dns.Set("a.test", "127.0.0.1")
	out := &egress.Direct{Resolver: sockstest.Resolver(t, dns.Addr)}
	exhaust(t)
	_, err := out.Resolve(t.Context(), &socks.Request{Version: socks.V5, Command: socks.Resolve, Addr: socks.Addr{Name: "a.test"}})
	if name := (*net.DNSError)(nil); !errors.Is(err, syscall.EMFILE) || errors.As(err, &name) {
		t.Errorf("Resolve: %v, want EMFILE", err)
	}
	_, err = out.ResolvePTR(t.Context(), &socks.Request{Addr: socks.Addr{IP: netip.MustParseAddr("192.0.2.7")}})
	if name := (*net.DNSError)(nil); !errors.Is(err, syscall.EMFILE) || errors.As(err, &name) {
		t.Errorf("ResolvePTR: %v, want EMFILE", err)
	}
	if err := egress.PublicOnly(nil, netip.MustParseAddr("1.1.1.1")); !errors.Is(err, socks.GeneralFailure) || errors.Is(err, socks.NotAllowed) {
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
