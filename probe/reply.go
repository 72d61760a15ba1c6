package probe

import (
	"bytes"
	"net/netip"

	"hosier/socks"
)

func replyChecks() []Check {
	target := []need{needSOCKS5, needTarget}
	dns := []need{needSOCKS5, needDNS}
	return []Check{
		{
			ID: "reply/version", Title: "the reply has version 05", Clause: "RFC 1928 s.6", Severity: Must, Profiles: RFC1928 | Tor, needs: target,
			Why: "Clients check this byte and give up when it differs.",
			run: func(x *Exchange) { x.ask(socks5(), socks.AddrFrom(x.target(silent).addr)) },
		},
		{
			ID: "reply/reserved", Title: "the reserved byte of the reply is 00", Clause: "RFC 1928 s.6", Severity: Must, Profiles: RFC1928 | Tor, needs: target,
			Why: "RFC 1928 says must, and strict clients check it.",
			run: func(x *Exchange) {
				for _, k := range []kind{silent, refuses} {
					_, r := x.ask(socks5(), socks.AddrFrom(x.target(k).addr))
					x.want(r.cut || r.raw[2] == 0, "it is %x", r.raw)
				}
			},
		},
		{
			ID: "reply/exact", Title: "nothing follows the reply until the target speaks", Clause: "RFC 1928 s.6", Severity: Must, Profiles: RFC1928 | Tor, needs: target,
			Why: "A reply that is longer than it says puts bytes into the tunnel that the target never sent.",
			run: func(x *Exchange) {
				c := x.connect(socks5(), x.target(greets))
				c.expect([]byte(hello), "the target's hello")
				c.quiet("after the target's hello")
			},
		},
		{
			ID: "reply/bound-form", Title: "the bound address of a success is an address", Clause: "RFC 1928 s.6", Severity: Should, Profiles: RFC1928, needs: target,
			Why: "Clients have no use for a name there, and many cannot read one.",
			run: func(x *Exchange) {
				_, r := x.ask(socks5(), socks.AddrFrom(x.target(silent).addr))
				x.want(r.atyp != 3, "it is a name")
			},
		},
		{
			ID: "reply/bound-true", Title: "the bound address is the one that the target sees, or zeros", Clause: "RFC 1928 s.6", Severity: Should, Profiles: RFC1928, needs: target,
			Why: "FTP and the like tell their peer this address; an invented one leads nowhere.",
			run: checkBoundTrue,
		},
		{
			ID: "reply/refused", Title: "a refused port is not a success", Clause: "RFC 1928 s.6", Severity: Must, Profiles: RFC1928 | Tor, needs: target,
			Why: "A client that is told of success sends its secrets into nothing, and never tries another address.",
			run: func(x *Exchange) {
				x.wantRefused(request5(socks.Connect, socks.AddrFrom(x.target(refuses).addr)), "a refused port")
			},
		},
		{
			ID: "reply/refused-code", Title: "a refused port has code 05", Clause: "RFC 1928 s.6", Severity: Should, Profiles: RFC1928 | Tor, needs: target,
			Why: "People see a wrong reason, and programs try again where they should not.",
			run: func(x *Exchange) {
				_, r := x.ask(socks5(), socks.AddrFrom(x.target(refuses).addr))
				x.want(r.code == 5, "the reply is %v", r)
			},
		},
		{
			ID: "reply/known-code", Title: "a failure has a code that RFC 1928 or Tor knows", Clause: "RFC 1928 s.6", Severity: Must, Profiles: RFC1928 | Tor, needs: target,
			Why: "A code that nobody knows tells nobody anything.",
			run: func(x *Exchange) {
				for _, m := range x.failing() {
					if _, r, answered := x.wantRefused(m, "the request"); answered {
						x.want(r.code >= 1 && r.code <= 8 || socks.Status(r.code).Extended(), "the code is %02X", r.code)
					}
				}
			},
		},
		{
			ID: "reply/closes", Title: "the connection is closed after a failure", Clause: "RFC 1928 s.6", Severity: Must, Profiles: RFC1928 | Tor, needs: target,
			Why: "RFC 1928 says within ten seconds; a client that waits for the end hangs until then.",
			run: func(x *Exchange) {
				for _, m := range x.failing() {
					c, _, _ := x.wantRefused(m, "the request")
					c.endsWithin("the failure", max(x.p.cfg.Timeout, x.p.cfg.Patience/4))
				}
			},
		},
		{
			ID: "reply/whole", Title: "a failure is a whole reply with an address", Clause: "RFC 1928 s.6", Severity: Must, Profiles: RFC1928 | Tor, needs: target,
			Why: "A client that reads ten bytes and gets two reports a broken proxy in place of the reason.",
			run: func(x *Exchange) {
				for _, m := range x.failing() {
					_, r := x.ask5(m)
					x.whole(r)
				}
			},
		},
		{
			ID: "reply/missing", Title: "a name that does not exist is not a success", Clause: "RFC 1928 s.6", Severity: Must, Profiles: RFC1928 | Tor, needs: target,
			Why: "A client that is told of success sends its secrets into nothing.",
			run: func(x *Exchange) {
				x.wantRefused(request5(socks.Connect, socks.Addr{Name: x.missing(), Port: 80}), "a name that does not exist")
			},
		},
		{
			ID: "reply/missing-code", Title: "a name that does not exist has code 04", Clause: "RFC 1928 s.6", Severity: Should, Profiles: RFC1928 | Tor, needs: target,
			Why: "It is how a browser tells a typing error from a broken network.",
			run: func(x *Exchange) {
				_, r := x.ask5(request5(socks.Connect, socks.Addr{Name: x.missing(), Port: 80}))
				x.want(r.code == 4, "the reply is %v", r)
			},
		},
		{
			ID: "reply/no-address", Title: "a name without addresses has code 04", Clause: "RFC 1928 s.6", Severity: Should, Profiles: RFC1928 | Tor, needs: dns,
			Why: "There is no host to reach, and another code sends people looking in the wrong place.",
			run: func(x *Exchange) { x.wantCode(records{empty: true}, 4) },
		},
		{
			ID: "reply/dns-failure", Title: "a DNS server that fails is answered with a failure", Clause: "RFC 1928 s.6", Severity: Must, Profiles: RFC1928 | Tor, needs: dns,
			Why: "DNS fails every day; the client must not hang on it.",
			run: func(x *Exchange) { x.wantCode(records{broken: true}, 1, 3, 4, 6) },
		},
		{
			ID: "reply/dns-silence", Title: "a DNS server that is silent is answered with a failure in time", Clause: "RFC 1928 s.6", Severity: Should, Profiles: RFC1928, needs: dns, slow: true,
			Why: "A client waits no longer than its own patience, and then blames the site.",
			run: checkDNSSilence,
		},
		{
			ID: "reply/unreachable", Title: "an address that cannot be connected to is a failure, and not a refused port", Clause: "RFC 1928 s.6", Severity: Should, Profiles: RFC1928, needs: target,
			Why: "A refusal says that a host is there; here is none.",
			run: func(x *Exchange) {
				// TCP cannot go to a broadcast address, so no packet leaves the proxy.
				_, r := x.ask5(request5(socks.Connect, socks.Addr{IP: netip.AddrFrom4([4]byte{255, 255, 255, 255}), Port: 80}))
				x.want(!r.succeeded() && r.code != 5, "the reply is %v", r)
			},
		},
		{
			ID: "reply/port-0", Title: "CONNECT to port 0 is refused", Clause: "RFC 6335 s.6", Severity: Should, Profiles: Tor, needs: target,
			Why: "Nobody can listen there, and some systems hang on it.",
			run: func(x *Exchange) {
				x.wantRefused(request5(socks.Connect, socks.Addr{IP: x.target(silent).addr.Addr()}), "port 0")
			},
		},
		{
			ID: "reply/unknown-command", Title: "an unknown command is refused by reply", Clause: "RFC 1928 s.6", Severity: Must, Profiles: RFC1928 | Tor, needs: target,
			Why: "A client that tries something new must learn that it is not there.",
			run: func(x *Exchange) {
				_, r := x.ask5(request5(0x77, socks.AddrFrom(x.target(silent).addr)))
				x.want(!r.succeeded(), "command 77 was granted")
			},
		},
		{
			ID: "reply/unknown-command-code", Title: "an unknown command has code 07", Clause: "RFC 1928 s.6", Severity: Should, Profiles: RFC1928, needs: target,
			Why: "Only 07 tells a client to do without the command.",
			run: func(x *Exchange) {
				for _, cmd := range []socks.Command{0, 0x77, 0xFF} {
					_, r := x.ask5(request5(cmd, socks.AddrFrom(x.target(silent).addr)))
					x.want(r.code == 7, "command %02X: %v", byte(cmd), r)
				}
			},
		},
		{
			ID: "reply/unknown-type", Title: "an unknown address type is refused by reply", Clause: "RFC 1928 s.6", Severity: Must, Profiles: RFC1928 | Tor, needs: target,
			Why: "A server that guesses the length of what it does not know reads the rest wrongly.",
			run: func(x *Exchange) {
				_, r := x.ask5(x.unknownType(2))
				x.want(!r.succeeded(), "address type 02 was granted")
			},
		},
		{
			ID: "reply/unknown-type-code", Title: "an unknown address type has code 08", Clause: "RFC 1928 s.6", Severity: Should, Profiles: RFC1928, needs: target,
			Why: "Only 08 tells a client to try another form of the address.",
			run: func(x *Exchange) {
				for _, atyp := range []byte{0, 2, 5, 0xFF} {
					_, r := x.ask5(x.unknownType(atyp))
					x.want(r.code == 8, "address type %02X: %v", atyp, r)
				}
			},
		},
		{
			ID: "reply/reserved-request", Title: "a reserved byte that is not 00 is refused", Clause: "RFC 1928 s.4", Severity: Hint, Profiles: RFC1928, needs: target,
			Why: "A client that is out of step shows itself there first.",
			run: func(x *Exchange) {
				m := request5(socks.Connect, socks.AddrFrom(x.target(silent).addr))
				x.wantRefused(set(m, "RSV", 1), "a request with reserved byte 01")
			},
		},
		{
			ID: "reply/other-version", Title: "a SOCKS4 request after a SOCKS5 greeting is not served", Clause: "RFC 1928 s.4", Severity: Should, Profiles: RFC1928, needs: target,
			Why: "A change of dialect half-way gets a client past what the greeting settled, a login among it.",
			run: func(x *Exchange) {
				c, t := x.dial(), x.target(counts)
				c.enter()
				c.say("request", request4(socks.Connect, socks.AddrFrom(t.addr), "")...)
				c.ended()
				x.wantUnreached(t, "a SOCKS4 request after a SOCKS5 greeting")
			},
		},
	}
}

// failing are requests that must fail, each in another way.
func (x *Exchange) failing() [][]Part {
	return [][]Part{
		request5(socks.Connect, socks.AddrFrom(x.target(refuses).addr)),
		request5(socks.Connect, socks.Addr{Name: x.missing(), Port: 80}),
		request5(0x77, socks.AddrFrom(x.target(silent).addr)),
	}
}

func (x *Exchange) unknownType(atyp byte) []Part {
	return set(request5(socks.Connect, socks.AddrFrom(x.target(silent).addr)), "ATYP", atyp)
}

func (x *Exchange) wantCode(r records, codes ...byte) {
	_, got := x.ask5(request5(socks.Connect, socks.Addr{Name: x.dnsName(r), Port: 80}))
	x.want(bytes.IndexByte(codes, got.code) >= 0, "the reply is %v", got)
}

func checkBoundTrue(x *Exchange) {
	t := x.target(echoes)
	c, r := x.ask(socks5(), socks.AddrFrom(t.addr))
	x.want(r.succeeded(), "CONNECT was refused: %v", r)
	c.echo(words())
	s := x.await(t, "saw no connection", func(s sighting) bool { return len(s.Peers) > 0 })
	b := r.bound
	x.note = "the bound address is " + b.String()
	if b.Port == 0 && (!b.IP.IsValid() || b.IP.IsUnspecified()) {
		return
	}
	x.want(b.Port == s.Peers[0].Port() && b.IP.Unmap() == s.Peers[0].Addr().Unmap(), "it is %v, but the target saw %v", b, s.Peers[0])
}

func checkDNSSilence(x *Exchange) {
	c := x.dial()
	c.enter()
	c.say("request", request5(socks.Connect, socks.Addr{Name: x.dnsName(records{silent: true}), Port: 80})...)
	c.within(x.p.cfg.Patience, 1, "the reply")
	r := c.reply5()
	x.want(!r.succeeded(), "the request was granted")
}
