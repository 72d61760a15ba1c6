package probe

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"hosier/socks"
)

func addrs(ip ...netip.Addr) []netip.Addr { return ip }

// leakChecks watch probe's DNS server, at which the proxy's resolver points.
func leakChecks() []Check {
	dns := []need{needDNS, needTarget, needSOCKS5}
	all := []Check{
		neverAsked("literal", "an address sent as a name is not asked for", Must, "The question tells a DNS server where somebody goes, for nothing.", func(x *Exchange) (string, socks.Addr) {
			t := x.target(silent)
			return t.addr.Addr().String(), socks.Addr{Name: t.addr.Addr().String(), Port: t.addr.Port()}
		}),
		neverAsked("onion-wrong", "a wrong onion name is not asked for", Must, "The question tells a DNS server what its user visits in Tor.", onionAddr("x"+onionWrong[1:])),
		neverAsked("onion-sub", "a name below an onion name is not asked for", Must, "The question tells a DNS server what its user visits in Tor.", onionAddr("www.leak."+onionOld)),
		neverAsked("onion-alone", ".onion itself is not asked for", Should, "RFC 7686 keeps the whole domain out of DNS.", onionAddr("leak.onion")),
		neverAsked("malformed", "what is no host name is not asked for", Should, "What was typed by mistake, a password perhaps, ends up in a DNS server's log.", func(x *Exchange) (string, socks.Addr) {
			mark := x.p.token()
			return mark, socks.Addr{Name: "my " + mark + " secret", Port: 80}
		}),
		neverAsked("nul", "a name with a NUL is not asked for", Must, "The part in front of the NUL is another name than the one that was judged.", func(x *Exchange) (string, socks.Addr) {
			name := x.dnsName(records{a: addrs(x.p.targets.host(false))})
			return name, socks.Addr{Name: name + "\x00.example.test", Port: 80}
		}),
		neverAsked("port-0", "a name with port 0 is not asked for", Should, "The request must fail, so nobody has to hear of it.", func(x *Exchange) (string, socks.Addr) {
			name := x.dnsName(records{a: addrs(x.p.targets.host(false))})
			return name, socks.Addr{Name: name}
		}),
		{
			ID: "leak/address", Title: "CONNECT to an address asks for nothing", Clause: "RFC 1928 s.5", Severity: Should, Profiles: Tor, needs: dns,
			Why: "A lookup of the address's name tells a DNS server where somebody goes.",
			run: checkAddressLeak,
		},
		{
			ID: "leak/no-suffix", Title: "a name is asked for without a suffix of the proxy's own", Clause: "RFC 1535", Severity: Should, Profiles: Tor, needs: dns,
			Why: "A search list tells the proxy's own DNS zone every name that people mistype.",
			run: func(x *Exchange) {
				name := x.dnsName(records{})
				x.ask5(request5(socks.Connect, socks.Addr{Name: name, Port: 80}))
				for _, q := range x.p.cfg.DNS.seen(name) {
					x.want(strings.EqualFold(q.name, name), "%q was asked for", q.name)
				}
			},
		},
		{
			ID: "leak/unknown-command", Title: "the name of a request that is refused is not asked for", Clause: "RFC 1928 s.6", Severity: Should, Profiles: Tor, needs: dns,
			Why: "What is not served needs no address.",
			run: func(x *Exchange) {
				name := x.dnsName(records{a: addrs(x.p.targets.host(false))})
				x.ask5(request5(0x77, socks.Addr{Name: name, Port: 80}))
				x.wantUnasked(name)
			},
		},
		{
			ID: "leak/half", Title: "the name of half a request is not asked for", Clause: "RFC 1928 s.4", Severity: Should, Profiles: Tor, needs: dns,
			Why: "A request that never was must leave no trace.",
			run: func(x *Exchange) {
				c := x.dial()
				name := x.dnsName(records{a: addrs(x.p.targets.host(false))})
				c.enter()
				c.say("part of a request", request5(socks.Connect, socks.Addr{Name: name, Port: 80})[:6]...)
				c.quiet("before the request was whole")
				x.wantUnasked(name)
			},
		},
		{
			ID: "leak/refused-login", Title: "the name of a client that is not let in is not asked for", Clause: "RFC 1929 s.2", Severity: Must, Profiles: Tor, needs: []need{needDNS, needGuarded},
			Why: "Strangers could make the proxy tell its DNS server any name.",
			run: func(x *Exchange) {
				c := x.dial()
				name := x.dnsName(records{a: addrs(x.p.targets.host(false))})
				c.say("greeting and request", append(greeting(0), request5(socks.Connect, socks.Addr{Name: name, Port: 80})...)...)
				c.ended()
				x.wantUnasked(name)
			},
		},
	}
	for _, d := range []dialect{socks4a(), socks5(), connectHTTP()} {
		all = append(all, askedOnce("connect-"+d.id, "CONNECT over "+d.label, d.and(needDNS, needTarget), func(x *Exchange, name string) {
			t := x.target(echoes)
			x.connectTo(d, socks.Addr{Name: name, Port: t.addr.Port()}).echo(words())
		}))
	}
	return append(all, askedOnce("resolve", "RESOLVE", []need{needDNS, needResolve}, func(x *Exchange, name string) {
		_, r := x.ask5(request5(socks.Resolve, socks.Addr{Name: name}))
		x.want(r.succeeded(), "RESOLVE was refused: %v", r)
	}), askedOnce("resolve-socks4a", "RESOLVE over SOCKS4A", []need{needDNS, needResolve4}, func(x *Exchange, name string) {
		_, r := x.ask4(request4(socks.Resolve, socks.Addr{Name: name}, ""))
		x.want(r.succeeded(), "RESOLVE was refused: %v", r)
	}))
}

func onionAddr(name string) func(*Exchange) (string, socks.Addr) {
	return func(*Exchange) (string, socks.Addr) { return name, socks.Addr{Name: name, Port: 80} }
}

// askedOnce reports whether a name was looked up at all, how often, and for which families.
func askedOnce(id, what string, needs []need, use func(*Exchange, string)) Check {
	return Check{
		ID: "leak/once-" + id, Title: what + " by name asks for it at most once a family", Clause: "common practice", Severity: Should, Profiles: Tor, needs: needs,
		Why: "Every further question is one more chance to be watched, and time lost.",
		run: func(x *Exchange) {
			name := x.dnsName(records{a: addrs(x.p.targets.host(false))})
			use(x, name)
			x.pause(x.p.cfg.Quiet)
			count := make(map[dnsmessage.Type]int)
			var said []string
			for _, q := range x.p.cfg.DNS.seen(name) {
				if count[q.kind]++; !slices.Contains(said, kindName(q.kind)) {
					said = append(said, kindName(q.kind))
				}
			}
			x.note = "not asked for: the name is looked up elsewhere"
			if len(said) > 0 {
				slices.Sort(said)
				x.note = "asked for " + strings.Join(said, " and ")
			}
			for kind, n := range count {
				x.want(n == 1, "%s was asked for %d times", kindName(kind), n)
			}
		},
	}
}

func kindName(t dnsmessage.Type) string { return strings.TrimPrefix(t.String(), "Type") }

// neverAsked sends a request that no DNS server needs to hear of. Whether it is granted
// does not matter here.
func neverAsked(id, title string, s Severity, why string, addr func(*Exchange) (part string, a socks.Addr)) Check {
	return Check{
		ID: "leak/" + id, Title: title, Clause: "RFC 7686 s.2, RFC 1928 s.5", Severity: s, Profiles: Tor, Why: why, needs: []need{needDNS, needTarget, needSOCKS5},
		run: func(x *Exchange) {
			part, a := addr(x)
			c := x.dial()
			c.enter()
			c.say("request", request5(socks.Connect, a)...)
			c.first(10)
			x.wantUnasked(part)
		},
	}
}

// wantUnasked fails if a question that contains part has come.
func (x *Exchange) wantUnasked(part string) {
	x.pause(x.p.cfg.Quiet)
	if asked := x.p.cfg.DNS.seen(part); len(asked) > 0 {
		x.fail("%q was asked for (%s)", asked[0].name, kindName(asked[0].kind))
	}
}

func checkAddressLeak(x *Exchange) {
	t := x.target(echoes)
	x.connect(socks5(), t).echo(words())
	x.pause(x.p.cfg.Quiet)
	if asked := x.p.cfg.DNS.seen(reverse(t.addr.Addr())); len(asked) > 0 {
		x.fail("%s (%s)", fmt.Sprintf("%q was asked for", asked[0].name), kindName(asked[0].kind))
	}
}
