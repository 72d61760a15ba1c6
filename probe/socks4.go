package probe

import (
	"net/netip"
	"strings"

	"hosier/socks"
)

// clause4 is where SOCKS4 is described: the note that Ying-Da Lee published.
const (
	clause4  = "SOCKS4 note"
	clause4A = "SOCKS4A note"
)

func socks4Checks() []Check {
	four := []need{needSOCKS4, needTarget}
	return []Check{
		{
			ID: "socks4/answered", Title: "a SOCKS4 request is served, or refused by reply or hang-up", Clause: clause4, Severity: Must, Profiles: Tor, needs: []need{needTarget}, slow: true,
			Why: "A program that is neither served nor refused hangs.",
			run: checkSOCKS4,
		},
		{
			ID: "socks4/reply-version", Title: "the reply has version 00", Clause: clause4, Severity: Must, Profiles: Tor, needs: four,
			Why: "Clients check this byte, and many servers put a 4 there.",
			run: func(x *Exchange) { x.connect(socks4(), x.target(silent)) },
		},
		{
			ID: "socks4/eight-bytes", Title: "the reply is eight bytes and no more", Clause: clause4, Severity: Must, Profiles: Tor, needs: four,
			Why: "What is more becomes the first bytes of the tunnel, and on less a client waits or reports a broken proxy.",
			run: func(x *Exchange) {
				x.connect(socks4(), x.target(silent)).quiet("after the reply")
				c := x.dial()
				c.say("request", request4(socks.Connect, socks.AddrFrom(x.target(refuses).addr), "")...)
				if c.fill(1, x.soon()) == nil { // that there is none is for socks4/refused-code
					x.whole(c.reply4())
				}
			},
		},
		{
			ID: "socks4/data", Title: "the tunnel carries data both ways", Clause: clause4, Severity: Must, Profiles: Tor, needs: four,
			Why: "It is what a proxy is for.",
			run: func(x *Exchange) { x.connect(socks4(), x.target(echoes)).echo(words()) },
		},
		{
			ID: "socks4/waits", Title: "a request without its NUL is not answered", Clause: clause4, Severity: Must, Profiles: Tor, needs: four,
			Why: "The rest of the user id would become data for the target.",
			run: func(x *Exchange) {
				c := x.dial()
				r := request4(socks.Connect, socks.AddrFrom(x.target(silent).addr), "user")
				c.say("part of a request", r[:5]...)
				c.quiet("before the request was whole")
			},
		},
		{
			ID: "socks4/user", Title: "a user id does not matter", Clause: clause4, Severity: Must, Profiles: Tor, needs: four,
			Why: "Clients send the name of whoever runs them, or nothing.",
			run: func(x *Exchange) { x.userID("probe") },
		},
		{
			ID: "socks4/user-long", Title: "a user id may have 255 bytes", Clause: clause4, Severity: Should, Profiles: Tor, needs: four,
			Why: "Tor's users put isolation tokens there.",
			run: func(x *Exchange) { x.userID(strings.Repeat("u", 255)) },
		},
		{
			ID: "socks4/user-bytes", Title: "a user id may have any byte but NUL", Clause: clause4, Severity: Should, Profiles: Tor, needs: four,
			Why: "User names are not ASCII for most of the world.",
			run: func(x *Exchange) { x.userID("z\xfcrich \x01\xff:@") },
		},
		{
			ID: "socks4/refused", Title: "a refused port is not a success", Clause: clause4, Severity: Must, Profiles: Tor, needs: four,
			Why: "A client that is told of success sends its secrets into nothing.",
			run: func(x *Exchange) {
				x.wantRefused4(request4(socks.Connect, socks.AddrFrom(x.target(refuses).addr), ""), "a refused port")
			},
		},
		{
			ID: "socks4/refused-code", Title: "a failure has code 5B", Clause: clause4, Severity: Must, Profiles: Tor, needs: four,
			Why: "5C and 5D speak of identd, and nothing else is known to clients.",
			run: func(x *Exchange) {
				_, r := x.ask(socks4(), socks.AddrFrom(x.target(refuses).addr))
				x.want(r.code == 0x5B, "the code is %02X", r.code)
			},
		},
		{
			ID: "socks4/refused-closes", Title: "the connection is closed after a failure", Clause: clause4, Severity: Must, Profiles: Tor, needs: four,
			Why: "The note says so, and nothing can follow.",
			run: func(x *Exchange) {
				c, _, _ := x.wantRefused4(request4(socks.Connect, socks.AddrFrom(x.target(refuses).addr), ""), "a refused port")
				c.ends("the failure")
			},
		},
		{
			ID: "socks4/unknown-command", Title: "an unknown command is refused with 5B", Clause: clause4, Severity: Must, Profiles: Tor, needs: four,
			Why: "A client that tries something new must learn that it is not there.",
			run: func(x *Exchange) {
				_, r := x.ask4(request4(0x77, socks.AddrFrom(x.target(silent).addr), ""))
				x.want(r.code == 0x5B, "the code is %02X", r.code)
			},
		},
		{
			ID: "socks4/unknown-address", Title: "address 0.0.0.0 is refused", Clause: clause4A, Severity: Should, Profiles: Tor, needs: four,
			Why: "On many systems it leads to the proxy's own host.",
			run: func(x *Exchange) {
				t := x.target(silent)
				x.wantRefused4(request4(socks.Connect, socks.Addr{IP: netip.IPv4Unspecified(), Port: t.addr.Port()}, ""), "0.0.0.0")
			},
		},
		{
			ID: "socks4/port-0", Title: "port 0 is refused", Clause: "RFC 6335 s.6", Severity: Should, Profiles: Tor, needs: four,
			Why: "Nobody can listen there, and some systems hang on it.",
			run: func(x *Exchange) {
				x.wantRefused4(request4(socks.Connect, socks.Addr{IP: x.target(silent).addr.Addr()}, ""), "port 0")
			},
		},
	}
}

func checkSOCKS4(x *Exchange) {
	c := x.dial()
	t := x.target(silent)
	c.say("request", request4(socks.Connect, socks.AddrFrom(t.addr), "")...)
	b := c.first(8)
	switch {
	case len(b) == 0:
		x.skipHTTPAlone(c, "a SOCKS4 request")
		c.endsWithin("the request", x.p.cfg.Patience)
		x.refused("the proxy has no SOCKS4, and hangs up")
	case len(b) == 2 && b[0] == 5 && b[1] == 0xFF:
		x.refused("the proxy has no SOCKS4, and says so in SOCKS5")
	case len(b) == 8 && b[0] == 0 && b[1] == 0x5B:
		x.refused("the proxy does not serve SOCKS4")
	case len(b) >= 5 && string(b[:5]) == "HTTP/":
		x.refused("the proxy has no SOCKS4, and says so in HTTP")
	}
	x.want(len(b) == 8, "%d bytes came in place of a reply", len(b))
	x.want(b[1] == 0x5A, "the code is %02X", b[1])
}

func (x *Exchange) userID(user string) {
	c, r := x.ask4(request4(socks.Connect, socks.AddrFrom(x.target(echoes).addr), user))
	x.want(r.succeeded(), "the request was refused: %v", r)
	c.echo(words())
}

func socks4aChecks() []Check {
	named := []need{needSOCKS4A, needName, needTarget}
	four := []need{needSOCKS4A, needTarget}
	return []Check{
		{
			ID: "socks4a/answered", Title: "a SOCKS4A request is served, or refused by reply or hang-up", Clause: clause4A, Severity: Must, Profiles: Tor, needs: []need{needSOCKS4, needName, needTarget}, slow: true,
			Why: "A program that is neither served nor refused hangs.",
			run: func(x *Exchange) {
				c := x.dial()
				c.say("request", request4(socks.Connect, socks.Addr{Name: x.name(), Port: x.target(silent).addr.Port()}, "")...)
				if c.fill(1, x.soon()) != nil {
					c.endsWithin("the request", x.p.cfg.Patience)
					x.refused("the proxy has no SOCKS4A, and hangs up")
				}
				if r := c.reply4(); !r.succeeded() {
					x.want(x.p.unmet[needSOCKS4A] != "", "a name that leads to the target was refused: %v", r)
					x.refused("the proxy does not serve SOCKS4A")
				}
			},
		},
		{
			ID: "socks4a/data", Title: "the tunnel to a name carries data both ways", Clause: clause4A, Severity: Must, Profiles: Tor, needs: named,
			Why: "Names that travel to the proxy are the reason for 4A.",
			run: func(x *Exchange) { x.connect(socks4a(), x.target(echoes)).echo(words()) },
		},
		{
			ID: "socks4a/user-and-name", Title: "the name is found behind a user id", Clause: clause4A, Severity: Must, Profiles: Tor, needs: named,
			Why: "A server that takes the one for the other connects to the wrong host.",
			run: func(x *Exchange) {
				t := x.target(echoes)
				c, r := x.ask4(request4(socks.Connect, socks.Addr{Name: x.name(), Port: t.addr.Port()}, "some user"))
				x.want(r.succeeded(), "the request was refused: %v", r)
				c.echo(words())
			},
		},
		{
			ID: "socks4a/markers", Title: "every address 0.0.0.x announces a name", Clause: clause4A, Severity: Must, Profiles: Tor, needs: named,
			Why: "Clients differ in the x that they send.",
			run: func(x *Exchange) {
				for _, last := range []byte{2, 127, 255} {
					t := x.target(echoes)
					m := request4(socks.Connect, socks.Addr{Name: x.name(), Port: t.addr.Port()}, "")
					c, r := x.ask4(set(m, "DSTIP", 0, 0, 0, last))
					x.want(r.succeeded(), "0.0.0.%d: %v", last, r)
					c.echo(words())
				}
			},
		},
		{
			ID: "socks4a/waits", Title: "a request without the NUL of its name is not answered", Clause: clause4A, Severity: Must, Profiles: Tor, needs: four,
			Why: "Half a name leads elsewhere.",
			run: func(x *Exchange) {
				c := x.dial()
				m := request4(socks.Connect, socks.Addr{Name: "localhost", Port: x.target(silent).addr.Port()}, "")
				c.say("part of a request", m[:7]...)
				c.quiet("before the request was whole")
			},
		},
		{
			ID: "socks4a/literal", Title: "an IPv4 address sent as a name works", Clause: "common practice", Severity: Should, Profiles: Tor, needs: four,
			Why: "Programs send whatever stands in the URL.",
			run: func(x *Exchange) {
				t := x.target(echoes)
				c, r := x.ask4(request4(socks.Connect, socks.Addr{Name: t.addr.Addr().String(), Port: t.addr.Port()}, ""))
				x.want(r.succeeded(), "the request was refused: %v", r)
				c.echo(words())
			},
		},
		refuses4A("empty-name", "an empty name is refused", Must, "Looking it up leads to the proxy's own host on some systems.", ""),
		refuses4A("long-name", "a name of 256 bytes is refused", Must, "No such name exists; a fixed buffer of 255 overflows.", strings.Repeat("a.", 128)),
		refuses4A("bad-bytes", "a name with a space or a line end is refused", Should, "Such bytes forge lines in logs and in what is sent on.", "local host\r\nx"),
		refuses4A("ipv6-literal", "an IPv6 address as the name is refused", Should, "SOCKS4 has no IPv6, and its reply no room for one.", "::1"),
		{
			ID: "socks4a/missing", Title: "a name that does not exist is refused with 5B", Clause: clause4A, Severity: Must, Profiles: Tor, needs: four,
			Why: "A client that is told of success sends its secrets into nothing.",
			run: func(x *Exchange) {
				_, r := x.ask4(request4(socks.Connect, socks.Addr{Name: x.missing(), Port: 80}, ""))
				x.want(r.code == 0x5B, "the code is %02X", r.code)
			},
		},
		{
			ID: "socks4a/only-ipv6", Title: "a name that has only IPv6 is refused", Clause: "Tor socks-extensions s.1.2", Severity: Should, Profiles: Tor, needs: []need{needSOCKS4A, needTarget, needDNS, needIPv6},
			Why: "The client cannot be told an IPv6 address, and asked for IPv4.",
			run: func(x *Exchange) {
				t := x.targetOf(echoes, true)
				name := x.dnsName(records{aaaa: []netip.Addr{t.addr.Addr()}})
				_, r := x.ask4(request4(socks.Connect, socks.Addr{Name: name, Port: t.addr.Port()}, ""))
				x.want(!r.succeeded(), "a name that has only IPv6 was a success")
			},
		},
	}
}

// refuses4A checks that a name is refused. A proxy may look it up first: it does not exist.
func refuses4A(id, title string, s Severity, why, name string) Check {
	return Check{
		ID: "socks4a/" + id, Title: title, Clause: clause4A, Severity: s, Profiles: Tor, Why: why,
		needs: []need{needSOCKS4A, needTarget},
		run: func(x *Exchange) {
			// A v6 target would make the literal lead somewhere.
			t := x.target(echoes)
			if name == "::1" && x.p.unmet[needIPv6] == "" {
				t = x.targetOf(echoes, true)
			}
			x.wantRefused4(request4(socks.Connect, socks.Addr{Name: name, Port: t.addr.Port()}, ""), "the name")
		},
	}
}
