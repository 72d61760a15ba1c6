package resolver

import (
	"cmp"
	"net/netip"
	"strings"
)

// loopbacks are what localhost is: RFC 6761 section 6.3.
var loopbacks = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}

// local answers what is known without a server: names for special use (RFC 6761, RFC
// 7686), IP addresses, and the hosts file.
func (v View) local(name string, typ Type) (a Answer, err error, known bool) {
	if typ == PTR {
		return Answer{}, nil, false
	}
	if maybeAddr(name) {
		if ip, err := netip.ParseAddr(name); err == nil {
			return ofFamily(Answer{Name: name, Addrs: []netip.Addr{ip}}, typ)
		}
	}
	c, ok := canonical(name)
	if !ok {
		return Answer{}, nil, false
	}
	if found := v.r.hostsView().addrs[c]; len(found) > 0 {
		return ofFamily(Answer{Name: c, Server: "hosts file", Addrs: found}, typ)
	}
	switch topLabel(c) {
	case "localhost":
		return ofFamily(Answer{Name: c, Server: "RFC 6761", Addrs: loopbacks}, typ)
	case "invalid", "onion":
		return Answer{Name: c, NoName: true}, notFound(name, "", "the name is for special use, and never asked for"), true
	}
	return Answer{}, nil, false
}

// maybeAddr spares nearly all names an attempt to parse them, and its error.
func maybeAddr(name string) bool {
	return name != "" && '0' <= name[len(name)-1] && name[len(name)-1] <= '9' || strings.Contains(name, ":")
}

func topLabel(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

// ofFamily keeps the addresses that records of the type could hold.
func ofFamily(a Answer, typ Type) (Answer, error, bool) {
	var kept []netip.Addr
	for _, ip := range a.Addrs {
		if ip = ip.Unmap(); ip.Is4() == (typ == A) {
			kept = append(kept, ip)
		}
	}
	if len(kept) == 0 {
		return a, notFound(a.Name, a.Server, "no address of this family"), true
	}
	a.Addrs = kept
	return a, nil, true
}

func (r *Resolver) hostsView() hosts {
	if r.NoHosts {
		return hosts{}
	}
	return r.hosts.get(cmp.Or(r.hostsPath, hostsFile), readHosts, func() {})
}

// systemView returns what resolv.conf says. It may read the file: r.mu is not held.
func (r *Resolver) systemView() system {
	return r.system.get(cmp.Or(r.resolvConf, resolvConf), readSystem, func() {
		r.mu.Lock()
		r.retire()
		r.mu.Unlock()
	})
}

// candidates returns the names to ask servers for, in order.
func (r *Resolver) candidates(name string) []string {
	if len(r.Servers) > 0 {
		if c, ok := canonical(name); ok {
			return []string{c}
		}
		return nil
	}
	s := r.systemView()
	return s.candidates(name)
}

// reverse is what the hosts file has for an address.
func (v View) reverse(ip netip.Addr) []string {
	if found := v.r.hostsView().names[ip.Unmap()]; len(found) > 0 {
		return found
	}
	if ip.IsLoopback() {
		return []string{"localhost"}
	}
	return nil
}
