package probe

import (
	"net/netip"
	"strings"

	"hosier/socks"
)

const clauseTor = "Tor socks-extensions s.2"

func resolveChecks() []Check {
	has := []need{needResolve}
	dns := []need{needResolve, needDNS}
	four := []need{needResolve4}
	return []Check{
		answered5("resolve", "RESOLVE (F0)", socks.Resolve),
		refusedCode5("resolve", "RESOLVE (F0)", socks.Resolve),
		{
			ID: "resolve/ipv4", Title: "an IPv4 address is its own answer", Clause: clauseTor, Severity: Must, Profiles: Tor, needs: has,
			Why: "Programs ask without looking whether it is a name.",
			run: func(x *Exchange) {
				x.wantAnswer(socks.Addr{IP: documentation4(1)}, documentation4(1))
			},
		},
		{
			ID: "resolve/ipv6", Title: "an IPv6 address is its own answer", Clause: clauseTor, Severity: Should, Profiles: Tor, needs: has,
			Why: "Programs ask without looking whether it is a name.",
			run: func(x *Exchange) { x.wantAnswer(socks.Addr{IP: documentation6(1)}, documentation6(1)) },
		},
		{
			ID: "resolve/literal", Title: "an address sent as a name is its own answer", Clause: clauseTor, Severity: Should, Profiles: Tor, needs: has,
			Why: "tor-resolve and torsocks send addresses so.",
			run: func(x *Exchange) { x.wantAnswer(socks.Addr{Name: "192.0.2.77"}, netip.MustParseAddr("192.0.2.77")) },
		},
		{
			ID: "resolve/brackets", Title: "an IPv6 address in brackets is its own answer", Clause: clauseTor, Severity: Hint, Profiles: Tor, needs: has,
			Why: "Programs that cut a URL apart leave the brackets on.",
			run: func(x *Exchange) { x.wantAnswer(socks.Addr{Name: "[2001:db8::77]"}, documentation6(0x77)) },
		},
		{
			ID: "resolve/name", Title: "a name is answered with its address", Clause: clauseTor, Severity: Must, Profiles: Tor, needs: []need{needResolve, needName},
			Why: "It is how a program looks a name up without its DNS server knowing.",
			run: func(x *Exchange) { x.wantAnswer(socks.Addr{Name: x.name()}, x.p.targets.host(false)) },
		},
		{
			ID: "resolve/only-ipv6", Title: "a name that has only IPv6 is answered with it", Clause: clauseTor, Severity: Should, Profiles: Tor, needs: dns,
			Why: "More and more names have nothing else.",
			run: func(x *Exchange) {
				name := x.dnsName(records{aaaa: []netip.Addr{documentation6(2)}})
				x.wantAnswer(socks.Addr{Name: name}, documentation6(2))
			},
		},
		{
			ID: "resolve/both", Title: "a name that has both is answered with IPv4", Clause: clauseTor, Severity: Should, Profiles: Tor, needs: dns,
			Why: "Programs that use RESOLVE, torsocks first, can do little with IPv6.",
			run: func(x *Exchange) {
				name := x.dnsName(records{a: []netip.Addr{documentation4(3)}, aaaa: []netip.Addr{documentation6(3)}})
				x.wantAnswer(socks.Addr{Name: name}, documentation4(3))
			},
		},
		{
			ID: "resolve/port", Title: "the port does not matter", Clause: clauseTor, Severity: Should, Profiles: Tor, needs: has,
			Why: "There is none to tell, and clients put there what they like.",
			run: func(x *Exchange) {
				for _, p := range []uint16{0, 80, 65535} {
					x.wantAnswer(socks.Addr{IP: documentation4(4), Port: p}, documentation4(4))
				}
			},
		},
		{
			ID: "resolve/no-connection", Title: "RESOLVE connects to nothing", Clause: clauseTor, Severity: Must, Profiles: Tor, needs: []need{needResolve, needTarget},
			Why: "A lookup that connects shows the target a visit that nobody made.",
			run: func(x *Exchange) {
				t := x.target(counts)
				c, _ := x.ask5(request5(socks.Resolve, socks.AddrFrom(t.addr)))
				c.ended()
				x.wantUnreached(t, "a RESOLVE")
			},
		},
		{
			ID: "resolve/closes", Title: "the connection is closed after the answer", Clause: clauseTor, Severity: Must, Profiles: Tor, needs: has,
			Why: "Nothing can follow, and some clients read up to the end.",
			run: func(x *Exchange) {
				c, _ := x.ask5(request5(socks.Resolve, socks.Addr{IP: documentation4(5)}))
				c.ends("the answer")
			},
		},
		{
			ID: "resolve/missing", Title: "a name that does not exist is a failure", Clause: clauseTor, Severity: Must, Profiles: Tor, needs: has,
			Why: "An invented address sends people to the wrong host.",
			run: func(x *Exchange) {
				c := x.dial()
				c.enter()
				c.say("request", request5(socks.Resolve, socks.Addr{Name: x.missing()})...)
				b := c.first(10)
				x.want(len(b) >= 2 && b[1] != 0, "the answer is not a failure")
			},
		},
		{
			ID: "resolve/missing-form", Title: "a failed RESOLVE is a well-formed reply", Clause: "RFC 1928 s.6", Severity: Must, Profiles: Tor, needs: has,
			Why: "Tor's own tor-resolve cannot read Tor's answer, which has address type 00.",
			run: func(x *Exchange) {
				_, r := x.ask5(request5(socks.Resolve, socks.Addr{Name: x.missing()}))
				x.whole(r)
			},
		},
		{
			ID: "resolve/missing-code", Title: "a name that does not exist has code 04", Clause: clauseTor, Severity: Should, Profiles: Tor, needs: has,
			Why: "It is how a program tells a typing error from a broken network.",
			run: func(x *Exchange) {
				c := x.dial()
				c.enter()
				c.say("request", request5(socks.Resolve, socks.Addr{Name: x.missing()})...)
				b := c.first(10)
				x.want(len(b) >= 2 && b[1] == 4, "the code is %02X", b1(b))
			},
		},
		{
			ID: "resolve/empty", Title: "an empty name is refused", Clause: clauseTor, Severity: Must, Profiles: Tor, needs: has,
			Why: "Some resolvers answer it with the proxy's own host.",
			run: func(x *Exchange) {
				c := x.dial()
				c.enter()
				c.say("request", request5(socks.Resolve, socks.Addr{})...)
				c.refusal(socks5(), "an empty name")
			},
		},
		{
			ID: "resolve/socks4a", Title: "RESOLVE of a name works over SOCKS4A", Clause: clauseTor, Severity: Must, Profiles: Tor, needs: []need{needResolve4, needName},
			Why: "Old torified programs ask in this form.",
			run: func(x *Exchange) { x.wantAnswer4(socks.Addr{Name: x.name()}, x.p.targets.host(false)) },
		},
		{
			ID: "resolve/socks4", Title: "RESOLVE of an address works over SOCKS4", Clause: clauseTor, Severity: Should, Profiles: Tor, needs: four,
			Why: "Programs ask without looking whether it is a name.",
			run: func(x *Exchange) { x.wantAnswer4(socks.Addr{IP: documentation4(6)}, documentation4(6)) },
		},
		{
			ID: "resolve/socks4a-missing", Title: "a name that does not exist is 5B over SOCKS4A", Clause: clauseTor, Severity: Must, Profiles: Tor, needs: four,
			Why: "An invented address sends people to the wrong host.",
			run: func(x *Exchange) {
				_, r := x.ask4(request4(socks.Resolve, socks.Addr{Name: x.missing()}, ""))
				x.want(r.code == 0x5B, "the code is %02X", r.code)
			},
		},
		{
			ID: "resolve/socks4a-only-ipv6", Title: "a name that has only IPv6 is 5B over SOCKS4A", Clause: clauseTor, Severity: Should, Profiles: Tor, needs: []need{needResolve4, needDNS},
			Why: "The reply has no room for an IPv6 address; zeros would be taken for one.",
			run: func(x *Exchange) {
				name := x.dnsName(records{aaaa: []netip.Addr{documentation6(7)}})
				_, r := x.ask4(request4(socks.Resolve, socks.Addr{Name: name}, ""))
				x.want(r.code == 0x5B, "the code is %02X", r.code)
			},
		},
	}
}

// answered5 checks that a command is served or properly refused; it must not be met with
// silence or a hang-up.
func answered5(group, what string, cmd socks.Command) Check {
	return Check{
		ID: group + "/answered", Title: what + " is served or refused by reply", Clause: "RFC 1928 s.6", Severity: Must, Profiles: RFC1928 | Tor, needs: []need{needSOCKS5},
		Why: "A program that gets no reply cannot tell a missing command from a broken proxy.",
		run: func(x *Exchange) {
			_, r := x.ask5(x.plain(cmd))
			if !r.succeeded() && (cmd != socks.ResolvePTR || r.code != 4) {
				x.refused("the proxy does not have it: %v", r)
			}
		},
	}
}

// refusedCode5 checks the words of a refusal, if it is one.
func refusedCode5(group, what string, cmd socks.Command) Check {
	return Check{
		ID: group + "/refused-code", Title: "if " + what + " is not there the code is 07", Clause: "RFC 1928 s.6", Severity: Should, Profiles: RFC1928, needs: []need{needSOCKS5},
		Why: "Only 07 tells a client to do without the command.",
		run: func(x *Exchange) {
			_, r := x.ask5(x.plain(cmd))
			ok := r.succeeded() || r.code == 7 || cmd == socks.ResolvePTR && r.code == 4
			x.want(ok, "the reply is %v", r)
			if r.code == 7 {
				x.note = "it is not there, and that is said properly"
			}
		},
	}
}

// plain is a request that asks for nothing unusual.
func (x *Exchange) plain(cmd socks.Command) []Part {
	a := socks.Addr{IP: netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	if cmd == socks.Bind {
		a.Port = 9
	}
	return request5(cmd, a)
}

// documentation4 is an address that nobody has (RFC 5737). Each check has its own, for
// proxies remember the names of addresses.
func documentation4(n byte) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, 100, n}) }

// documentation6 is one of RFC 3849.
func documentation6(n byte) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 15: n})
}

func (x *Exchange) wantAnswer(a socks.Addr, want netip.Addr) {
	_, r := x.ask5(request5(socks.Resolve, a))
	x.want(r.succeeded(), "RESOLVE was refused: %v", r)
	x.want(r.bound.IP == want, "the answer is %v, not %v", r.bound.Host(), want)
}

func (x *Exchange) wantAnswer4(a socks.Addr, want netip.Addr) {
	_, r := x.ask4(request4(socks.Resolve, a, ""))
	x.want(r.succeeded(), "RESOLVE was refused: %v", r)
	x.want(r.bound.IP == want, "the answer is %v, not %v", r.bound.Host(), want)
}

func ptrChecks() []Check {
	has := []need{needPTR}
	dns := []need{needPTR, needDNS}
	return []Check{
		answered5("ptr", "RESOLVE_PTR (F1)", socks.ResolvePTR),
		refusedCode5("ptr", "RESOLVE_PTR (F1)", socks.ResolvePTR),
		{
			ID: "ptr/ipv4", Title: "an IPv4 address is answered with its name", Clause: clauseTor, Severity: Must, Profiles: Tor, needs: dns,
			Why: "It is how a program finds a name without its DNS server knowing.",
			run: func(x *Exchange) { x.wantName(documentation4(11), false) },
		},
		{
			ID: "ptr/ipv6", Title: "an IPv6 address is answered with its name", Clause: clauseTor, Severity: Should, Profiles: Tor, needs: dns,
			Why: "More and more hosts have nothing else.",
			run: func(x *Exchange) { x.wantName(documentation6(12), false) },
		},
		{
			ID: "ptr/literal", Title: "an address sent as a name is answered with its name", Clause: clauseTor, Severity: Should, Profiles: Tor, needs: dns,
			Why: "tor-resolve -x has sent it so.",
			run: func(x *Exchange) { x.wantName(documentation4(13), true) },
		},
		{
			ID: "ptr/no-dot", Title: "the name has no dot at its end", Clause: "common practice", Severity: Hint, Profiles: Tor, needs: dns,
			Why: "Programs compare it with what they know, without the dot.",
			run: func(x *Exchange) {
				name := x.wantName(documentation4(14), false)
				x.want(!strings.HasSuffix(name, "."), "it has")
			},
		},
		{
			ID: "ptr/closes", Title: "the connection is closed after the answer", Clause: clauseTor, Severity: Must, Profiles: Tor, needs: has,
			Why: "Nothing can follow, and some clients read up to the end.",
			run: func(x *Exchange) {
				c, _ := x.ask5(request5(socks.ResolvePTR, socks.Addr{IP: documentation4(15)}))
				c.ends("the answer")
			},
		},
		{
			ID: "ptr/missing", Title: "an address without a name is a failure", Clause: clauseTor, Severity: Must, Profiles: Tor, needs: dns,
			Why: "An invented name misleads whoever reads it.",
			run: func(x *Exchange) {
				c := x.dial()
				c.enter()
				c.say("request", request5(socks.ResolvePTR, socks.Addr{IP: documentation4(16)})...)
				b := c.first(10)
				x.want(len(b) >= 2 && b[1] != 0, "the answer is not a failure")
			},
		},
		{
			ID: "ptr/missing-form", Title: "a failed RESOLVE_PTR is a well-formed reply", Clause: "RFC 1928 s.6", Severity: Must, Profiles: Tor, needs: dns,
			Why: "No strict client can read address type 00, which Tor sends.",
			run: func(x *Exchange) {
				_, r := x.ask5(request5(socks.ResolvePTR, socks.Addr{IP: documentation4(17)}))
				x.whole(r)
			},
		},
		{
			ID: "ptr/missing-code", Title: "an address without a name has code 04", Clause: clauseTor, Severity: Should, Profiles: Tor, needs: dns,
			Why: "It is no fault of the proxy, and trying again does not help.",
			run: func(x *Exchange) {
				c := x.dial()
				c.enter()
				c.say("request", request5(socks.ResolvePTR, socks.Addr{IP: documentation4(18)})...)
				b := c.first(10)
				x.want(len(b) >= 2 && b[1] == 4, "the code is %02X", b1(b))
			},
		},
		{
			ID: "ptr/of-a-name", Title: "RESOLVE_PTR of a name is refused with 08", Clause: clauseTor, Severity: Should, Profiles: Tor, needs: has,
			Why: "A name has no name; Tor says 08.",
			run: func(x *Exchange) {
				_, r := x.ask5(request5(socks.ResolvePTR, socks.Addr{Name: "www.example.test"}))
				x.want(r.code == 8, "the reply is %v", r)
			},
		},
		{
			ID: "ptr/socks4", Title: "RESOLVE_PTR over SOCKS4 is refused with 5B", Clause: clauseTor, Severity: Should, Profiles: Tor, needs: []need{needResolve4},
			Why: "SOCKS4's reply has no room for a name.",
			run: func(x *Exchange) {
				_, r := x.ask4(request4(socks.ResolvePTR, socks.Addr{IP: documentation4(19)}, ""))
				x.want(r.code == 0x5B, "the code is %02X", r.code)
			},
		},
	}
}

// wantName asks for the name of an address that probe's DNS knows.
func (x *Exchange) wantName(ip netip.Addr, literal bool) string {
	name := x.p.token() + ".hosier-probe.test"
	x.p.cfg.DNS.set(reverse(ip), records{ptr: name})
	a := socks.Addr{IP: ip}
	if literal {
		a = socks.Addr{Name: ip.String()}
	}
	_, r := x.ask5(request5(socks.ResolvePTR, a))
	x.want(r.succeeded(), "RESOLVE_PTR was refused: %v", r)
	x.want(r.atyp == 3, "the answer has address type %02x", r.atyp)
	x.want(strings.EqualFold(strings.TrimSuffix(r.bound.Name, "."), name), "the answer is %q, not %q", r.bound.Name, name)
	return r.bound.Name
}
