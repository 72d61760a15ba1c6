//go:build !linux

package egress

import (
	"net"
	"net/netip"
)

// OwnAddress reports whether ip is an address of an interface of this host. Unlike on Linux,
// addresses that are local by a route alone are not known.
func OwnAddress(ip netip.Addr) (bool, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return false, err
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok {
			if one, ok := netip.AddrFromSlice(n.IP); ok && one.Unmap() == ip {
				return true, nil
			}
		}
	}
	return false, nil
}
