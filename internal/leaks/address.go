package leaks

import (
	"net/netip"

	"hosier/internal/fair"
	"hosier/socks"
)

// isLocal reports whether the request comes from a program of this host: over a Unix
// socket, from loopback, or from the listener's own address.
func isLocal(r *socks.Request) bool {
	client := r.Client.Addr()
	if !client.IsValid() || client.Unmap().IsLoopback() {
		return true
	}
	l, err := netip.ParseAddrPort(r.Listener)
	return err == nil && l.Addr().Unmap() == client.Unmap()
}

// proxyEnd returns the address that the client connected to. A listener on all addresses
// does not have it: a client from loopback connected to its own address. A listener of
// all addresses does not say which: those who come from loopback come to where they are.
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

// clientKey returns the key of a client: the zero Addr for this host, else its
// [fair.Client].
func clientKey(a netip.Addr) netip.Addr {
	if a.Unmap().IsLoopback() {
		return netip.Addr{}
	}
	return fair.Client(a)
}

// isPrivate reports whether the address has a meaning on one network only: this host, one
// link, RFC 1918, RFC 4193, or RFC 6598, which overlay networks use.
func isPrivate(a netip.Addr) bool {
	a = a.Unmap()
	shared := netip.AddrFrom4([4]byte{100, 64, 0, 0})
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() ||
		netip.PrefixFrom(shared, 10).Contains(a)
}
