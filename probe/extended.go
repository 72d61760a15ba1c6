package probe

import "hosier/socks"

// An onion name that cannot exist, since its checksum is wrong, and one of the version
// that was switched off in 2021.
const (
	onionWrong = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.onion"
	onionOld   = "expyuzz4wqqyqhjn.onion"
)

func extendedChecks() []Check {
	five := []need{needSOCKS5, needTarget}
	return []Check{
		onionCheck("onion-wrong", "an onion name with a wrong checksum", onionWrong),
		onionCheck("onion-old", "an onion name of version 2", onionOld),
		onionCheck("onion-alone", ".onion itself", "onion"),
		{
			ID: "extended/code", Title: "a wrong onion name has code F6 or an ordinary one", Clause: "Tor proposal 304", Severity: Must, Profiles: Tor, needs: five,
			Why: "F0 to F5 and F7 say that the address is good and something else is wrong.",
			run: func(x *Exchange) {
				if _, r, answered := x.wantRefused(request5(socks.Connect, socks.Addr{Name: onionWrong, Port: 80}), "the name"); answered {
					x.want(r.code == 0xF6 || r.code <= 8, "the code is %02X", r.code)
					x.note = r.String()
				}
			},
		},
		{
			ID: "extended/socks4", Title: "a wrong onion name is 5B over SOCKS4A", Clause: "Tor proposal 304", Severity: Must, Profiles: Tor, needs: []need{needSOCKS4A, needTarget},
			Why: "SOCKS4 clients know no other code.",
			run: func(x *Exchange) {
				if _, r, answered := x.wantRefused4(request4(socks.Connect, socks.Addr{Name: onionWrong, Port: 80}, ""), "the name"); answered {
					x.want(r.code == 0x5B, "the code is %02X", r.code)
				}
			},
		},
		{
			ID: "extended/only-onion", Title: "failures of ordinary targets have ordinary codes", Clause: "Tor proposal 304", Severity: Must, Profiles: Tor, needs: five,
			Why: "F0 to F7 speak of onion services; a browser shows the wrong page.",
			run: func(x *Exchange) {
				for _, m := range x.failing() {
					if _, r, answered := x.wantRefused(m, "the request"); answered {
						x.want(!socks.Status(r.code).Extended(), "the code is %02X", r.code)
					}
				}
			},
		},
		{
			ID: "extended/exit", Title: "names under .exit are refused", Clause: "Tor address-spec s.2", Severity: Should, Profiles: Tor, needs: []need{needSOCKS5, needTarget, needName},
			Why: "They let a web page choose who watches its visitor.",
			run: func(x *Exchange) {
				t := x.target(counts)
				name := x.name() + ".aaaa.exit"
				if x.p.unmet[needDNS] == "" {
					x.p.cfg.DNS.set(name, records{a: addrs(t.addr.Addr())})
				}
				x.wantRefused(request5(socks.Connect, socks.Addr{Name: name, Port: t.addr.Port()}), "a name under .exit")
			},
		},
	}
}

// onionCheck wants a name refused that no Tor can find either. An answer in DNS is laid
// out for who asks there.
func onionCheck(id, what, name string) Check {
	return Check{
		ID: "extended/" + id, Title: what + " is refused", Clause: "RFC 7686 s.2", Severity: Must, Profiles: Tor, needs: []need{needSOCKS5, needTarget},
		Why: "Whoever owns the DNS answer would sit where the onion service is meant to be.",
		run: func(x *Exchange) {
			t := x.target(echoes)
			if x.p.unmet[needDNS] == "" {
				x.p.cfg.DNS.set(name, records{a: addrs(t.addr.Addr())})
			}
			x.wantRefused(request5(socks.Connect, socks.Addr{Name: name, Port: t.addr.Port()}), what)
		},
	}
}
