package leaks

import (
	"net/netip"

	"hosier/internal/fair"
	"hosier/socks"
)

// isLocal tells whether the request may come from a program of this host: by a Unix socket,
// from loopback, or from the address that it came to.
func isLocal(r *socks.Request) bool {
	client := r.Client.Addr()
	if !client.IsValid() || client.Unmap().IsLoopback() {
		return true
	}
	l, err := netip.ParseAddrPort(r.Listener)
	return err == nil && l.Addr().Unmap() == client.Unmap()
}

// proxyEnd is the address that the client connected to. A listener of all addresses does
// not say which: those who come from loopback come to where they are.
func proxyEnd(r *socks.Request) netip.AddrPort {
	l, err := netip.ParseAddrPort(r.Listener)
	if err != nil {
		return netip.AddrPort{}
	}
	if l.Addr().IsUnspecified() {
		return netip.AddrPortFrom(r.Client.Addr().Unmap(), l.Port())
	}
	return netip.AddrPortFrom(l.Addr().Unmap(), l.Port())
}

// clientKey returns what a client is known by: the zero Addr for this host, else what
// [fair.Client] makes of its address.
func clientKey(a netip.Addr) netip.Addr {
	if a.Unmap().IsLoopback() {
		return netip.Addr{}
	}
	return fair.Client(a)
}

// isPrivate tells whether the address has a meaning on one network only: this host, one
// link, RFC 1918, RFC 4193, or RFC 6598, which overlay networks use.
func isPrivate(a netip.Addr) bool {
	a = a.Unmap()
	shared := netip.AddrFrom4([4]byte{100, 64, 0, 0})
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() ||
		netip.PrefixFrom(shared, 10).Contains(a)
}
