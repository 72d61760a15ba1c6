package egress

import (
	"fmt"
	"net/netip"

	"hosier/socks"
)

// notPublic are the IPv4 blocks that no client from elsewhere has business with: those of the
// IANA IPv4 Special-Purpose Address Registry (RFC 6890, as of 2025-10) which are not globally
// reachable, multicast, what is reserved, and the addresses of clouds that look public.
//
// Of the metadata services that clouds document, 169.254.169.254 (AWS, Azure, Google, Oracle,
// DigitalOcean, Hetzner …), 169.254.170.2 and .23 (AWS containers), 169.254.0.23 (Tencent),
// 100.100.100.200 (Alibaba) and 192.0.0.192 (Oracle) lie in such blocks; Azure's 168.63.129.16
// does not.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // shared by carriers
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("168.63.129.16/32"), // Azure: WireServer, DNS, health probes
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.0.0.0/24"), // IETF protocol assignments
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("192.88.99.0/24"), // 6to4 relays, deprecated
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("224.0.0.0/3"), // multicast, reserved, broadcast
}

// global is the one block of IPv6 from which global unicast addresses are assigned (IANA
// Internet Protocol Version 6 Address Space). What lies outside it is loopback, unique local
// (AWS's fd00:ec2::254 and Google's fd20:ce::254 among it), link-local, multicast, SRv6 SIDs
// (5f00::/16), IPv4 in disguise (::/96, ::ffff:0:0:0/96, 64:ff9b:1::/48) or not assigned.
var global = netip.MustParsePrefix("2000::/3")

// notPublic6 are the blocks of the IANA IPv6 Special-Purpose Address Registry within global.
// Teredo and 6to4 carry IPv4 addresses, private ones as well; both are refused whole, since
// neither reaches anything that has no better address.
var notPublic6 = []netip.Prefix{
	netip.MustParsePrefix("2001::/23"), // IETF protocol assignments, Teredo
	netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), // 6to4
	netip.MustParsePrefix("3fff::/20"),
}

// nat64 is the well-known prefix of RFC 6052: the last four bytes are the IPv4 address meant.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// PublicOnly is a [Direct.Allow] for clients from other hosts. It refuses addresses that
// only this host or its own network can reach: loopback, private, link-local, cloud
// metadata, and every address that is this host's, by an interface or by a local route alone.
// A refusal wraps [ErrNotPublic] and socks.NotAllowed. An error that wraps socks.GeneralFailure means that the
// system did not say whether the address is this host's; the request must fail then, too.
func PublicOnly(_ *socks.Request, ip netip.Addr) error {
	ip = ip.Unmap().WithZone("")
	meant := ip
	if nat64.Contains(ip) {
		b := ip.As16()
		meant = netip.AddrFrom4([4]byte(b[12:]))
	}
	if !isPublic(meant) {
		return fmt.Errorf("%v: %w: %w", ip, ErrNotPublic, socks.NotAllowed)
	}
	for _, one := range []netip.Addr{ip, meant} {
		own, err := OwnAddress(one)
		if err != nil {
			return fmt.Errorf("whether %v is an address of this host: %w: %w", one, socks.GeneralFailure, err)
		}
		if own {
			return fmt.Errorf("%v is an address of this host: %w: %w", one, ErrNotPublic, socks.NotAllowed)
		}
		if one == meant {
			break
		}
	}
	return nil
}

func isPublic(ip netip.Addr) bool {
	blocks := notPublic
	if !ip.Is4() {
		if !global.Contains(ip) {
			return false
		}
		blocks = notPublic6
	}
	for _, p := range blocks {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}
