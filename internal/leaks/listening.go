package leaks

import (
	"context"
	"net/netip"
	"time"
)

// Listening returns the program of this host that listens at a TCP address, or blocks it
// for others; "" and 0 if unknown. Without permission to inspect other users' programs it
// finds only the caller's own.
func Listening(ctx context.Context, a netip.AddrPort) (name string, pid int) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	addresses := []netip.Addr{a.Addr().Unmap()}
	if a.Addr().IsUnspecified() {
		addresses = []netip.Addr{netip.IPv6Unspecified(), netip.IPv4Unspecified(), netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	}
	for _, ip := range addresses {
		anybody := netip.IPv6Unspecified()
		if ip.Is4() {
			anybody = netip.IPv4Unspecified()
		}
		p := new(finder).find(ctx, netip.AddrPortFrom(ip, a.Port()), netip.AddrPortFrom(anybody, 0))
		if p.pid > 0 {
			return p.name, p.pid
		}
	}
	return "", 0
}
