package egress

import (
	"fmt"
	"net"
	"net/netip"

	"hosier/socks"
)

// notPublic are the prefixes beyond which a client from elsewhere has no business: the
// IANA special-purpose registries (RFC 6890), without those that are globally reachable.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // shared by carriers; cloud metadata of some
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"), // link-local; 169.254.169.254 is cloud metadata
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.0.0.0/24"), // IETF assignments; cloud metadata of some
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("224.0.0.0/3"), // multicast, reserved, broadcast
	netip.MustParsePrefix("::/96"),       // unspecified, loopback, IPv4-compatible
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/23"), // Teredo among them: it carries IPv4 addresses
	netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), // 6to4: likewise
	netip.MustParsePrefix("3fff::/20"),
	netip.MustParsePrefix("fc00::/7"),  // unique local; fd00:ec2::254 is cloud metadata
	netip.MustParsePrefix("fe80::/10"), // link-local
	netip.MustParsePrefix("fec0::/10"),
	netip.MustParsePrefix("ff00::/8"),
}

// nat64 is RFC 6052's prefix: its last four bytes are the IPv4 address that is meant.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// PublicOnly is a [Direct.Allow] for clients from other hosts. It refuses addresses that
// only this host or its own network can reach: loopback, private, link-local, cloud
// metadata, and every address of this host itself. The error wraps socks.NotAllowed.
func PublicOnly(_ *socks.Request, ip netip.Addr) error {
	ip = ip.Unmap()
	if nat64.Contains(ip) {
		b := ip.As16()
		ip = netip.AddrFrom4([4]byte(b[12:]))
	}
	for _, p := range notPublic {
		if p.Contains(ip) {
			return fmt.Errorf("%v is not a public address: %w", ip, socks.NotAllowed)
		}
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return fmt.Errorf("addresses of this host: %w", err)
	}
	for _, a := range own {
		if n, ok := a.(*net.IPNet); ok {
			if mine, ok := netip.AddrFromSlice(n.IP); ok && mine.Unmap() == ip {
				return fmt.Errorf("%v is an address of this host: %w", ip, socks.NotAllowed)
			}
		}
	}
	return nil
}
