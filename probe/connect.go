package probe

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"

	"hosier/socks"
)

func connectChecks() []Check {
	target := []need{needSOCKS5, needTarget}
	name := []need{needSOCKS5, needTarget, needName}
	return []Check{
		{
			ID: "connect/ipv4", Title: "CONNECT to an IPv4 address works", Clause: "RFC 1928 s.4", Severity: Must, Profiles: RFC1928 | Tor, needs: target,
			Why: "It is what a proxy is for.",
			run: func(x *Exchange) { x.connect(socks5(), x.target(echoes)).echo(words()) },
		},
		{
			ID: "connect/ipv6", Title: "CONNECT to an IPv6 address works", Clause: "RFC 1928 s.5", Severity: Must, Profiles: RFC1928 | Tor, needs: append(target[:2:2], needIPv6),
			Why: "Where there is no IPv4 any more, nothing else does.",
			run: func(x *Exchange) { x.connect(socks5(), x.targetOf(echoes, true)).echo(words()) },
		},
		{
			ID: "connect/name", Title: "CONNECT to a name works", Clause: "RFC 1928 s.5", Severity: Must, Profiles: RFC1928 | Tor, needs: name,
			Why: "A client that cannot send names has to look them up itself, and tells its DNS server where it is going.",
			run: func(x *Exchange) { x.connectName(func(name string) string { return name }) },
		},
		{
			ID: "connect/name-case", Title: "capitals in a name do not matter", Clause: "RFC 4343", Severity: Must, Profiles: RFC1928 | Tor, needs: name,
			Why: "People type names as they like.",
			run: func(x *Exchange) { x.connectName(strings.ToUpper) },
		},
		{
			ID: "connect/name-dot", Title: "a name may end in a dot", Clause: "RFC 1034 s.3.1", Severity: Should, Profiles: Tor, needs: name,
			Why: "The dot keeps a resolver from trying its search list, so careful programs send it.",
			run: func(x *Exchange) {
				x.connectName(func(name string) string {
					if !strings.Contains(name, ".") {
						x.skip("%s stands in a hosts file, where names have no dot at the end (--name with a name of DNS)", name)
					}
					return name + "."
				})
			},
		},
		{
			ID: "connect/literal-ipv4", Title: "an IPv4 address sent as a name works", Clause: "common practice", Severity: Should, Profiles: Tor, needs: target,
			Why: "curl and many libraries send whatever stands in the URL as a name.",
			run: func(x *Exchange) { x.connectLiteral(x.target(echoes), "%s") },
		},
		{
			ID: "connect/literal-ipv6", Title: "an IPv6 address sent as a name works", Clause: "common practice", Severity: Should, Profiles: Tor, needs: append(target[:2:2], needIPv6),
			Why: "curl and many libraries send whatever stands in the URL as a name.",
			run: func(x *Exchange) { x.connectLiteral(x.targetOf(echoes, true), "%s") },
		},
		{
			ID: "connect/literal-brackets", Title: "an IPv6 address in brackets sent as a name works", Clause: "common practice", Severity: Hint, Profiles: Tor, needs: append(target[:2:2], needIPv6),
			Why: "Programs that cut a URL apart leave the brackets on.",
			run: func(x *Exchange) { x.connectLiteral(x.targetOf(echoes, true), "[%s]") },
		},
		{
			ID: "connect/mapped", Title: "an IPv4 address in IPv6 form works", Clause: "RFC 4291 s.2.5.5.2", Severity: Hint, needs: append(target[:2:2], needIPv6),
			Why: "Programs with dual-stack sockets know every IPv4 address in this form only.",
			run: func(x *Exchange) {
				t := x.target(echoes)
				ip := netip.AddrFrom16(t.addr.Addr().As16())
				x.connectTo(socks5(), socks.Addr{IP: ip, Port: t.addr.Port()}).echo(words())
			},
		},
		{
			ID: "connect/all-bytes", Title: "every byte value comes back unchanged", Clause: "RFC 1928 s.6", Severity: Must, Profiles: RFC1928 | Tor, needs: target,
			Why: "A tunnel that touches a byte breaks TLS, downloads and everything else.",
			run: func(x *Exchange) {
				all := make([]byte, 512)
				for i := range all {
					all[i] = byte(i)
				}
				x.connect(socks5(), x.target(echoes)).echo(all)
			},
		},
		{
			ID: "connect/large", Title: "a megabyte comes back unchanged", Clause: "RFC 1928 s.6", Severity: Must, Profiles: RFC1928 | Tor, needs: target,
			Why: "Buffers that are too small or reused show only when much flows both ways.",
			run: checkLarge,
		},
		{
			ID: "connect/exact", Title: "the target gets what was sent and nothing else", Clause: "RFC 1928 s.6", Severity: Must, Profiles: RFC1928 | Tor, needs: target,
			Why: "A byte of the handshake that reaches the target breaks its protocol, or tells it about the client.",
			run: checkExact,
		},
		{
			ID: "connect/once", Title: "one request makes one connection", Clause: "RFC 1928 s.4", Severity: Must, Profiles: RFC1928 | Tor, needs: target,
			Why: "A second connection gives the target twice the load, and its log a visit that nobody made.",
			run: func(x *Exchange) {
				t := x.target(echoes)
				x.connect(socks5(), t).echo(words())
				x.pause(x.p.cfg.Quiet)
				s, err := t.seen()
				x.want(err == nil && s.Conns == 1, "the target saw %d connections", s.Conns)
			},
		},
		{
			ID: "connect/server-first", Title: "a target that speaks first is heard", Clause: "RFC 1928 s.6", Severity: Must, Profiles: RFC1928 | Tor, needs: target,
			Why: "Mail, SSH and FTP servers greet their clients.",
			run: func(x *Exchange) { x.connect(socks5(), x.target(greets)).expect([]byte(hello), "the target's hello") },
		},
		{
			ID: "connect/silent-target", Title: "success does not wait for the target to speak", Clause: "RFC 1928 s.6", Severity: Must, Profiles: RFC1928 | Tor, needs: target,
			Why: "Where the client speaks first, both sides would wait for ever.",
			run: func(x *Exchange) {
				x.connect(socks5(), x.target(silent)).quiet("though the target said nothing")
			},
		},
		{
			ID: "connect/apart", Title: "tunnels do not mix", Clause: "RFC 1928 s.4", Severity: Must, Profiles: RFC1928 | Tor, needs: target,
			Why: "One person's bytes in another's tunnel is the worst that a proxy can do.",
			run: checkApart,
		},
		{
			ID: "connect/target-ends", Title: "when the target hangs up, the client learns it", Clause: "RFC 1928 s.6", Severity: Must, Profiles: RFC1928 | Tor, needs: target,
			Why: "The end of the connection is how many protocols say that an answer is whole.",
			run: func(x *Exchange) {
				c := x.connect(socks5(), x.target(departs))
				c.expect([]byte(hello), "the target's hello")
				c.ends("the target hung up")
			},
		},
		{
			ID: "connect/target-resets", Title: "when the target resets, the client learns it", Clause: "RFC 9293 s.3.10", Severity: Should, Profiles: RFC1928 | Tor, needs: target,
			Why: "A program waits for ever on a tunnel whose far end is gone.",
			run: func(x *Exchange) {
				c := x.connect(socks5(), x.target(resets))
				c.say("data", text("data", "x"))
				c.ends("the target's reset")
			},
		},
		{
			ID: "connect/client-ends", Title: "when the client hangs up, the target learns it", Clause: "RFC 1928 s.6", Severity: Must, Profiles: RFC1928 | Tor, needs: target,
			Why: "Servers keep what they hold for a client that left until they learn of it.",
			run: func(x *Exchange) {
				t := x.target(echoes)
				c := x.connect(socks5(), t)
				c.echo(words())
				c.hangUp()
				x.await(t, "did not learn that the client left", func(s sighting) bool { return s.Ends == 1 })
			},
		},
		{
			ID: "connect/both-ways", Title: "both directions flow at once", Clause: "RFC 1928 s.6", Severity: Must, Profiles: RFC1928 | Tor, needs: target,
			Why: "A proxy that serves one direction at a time stops as soon as both have something to say.",
			run: checkBothWays,
		},
	}
}

func (x *Exchange) connectName(form func(string) string) {
	t := x.target(echoes)
	x.connectTo(socks5(), socks.Addr{Name: form(x.name()), Port: t.addr.Port()}).echo(words())
}

func (x *Exchange) connectLiteral(t *target, format string) {
	host := fmt.Sprintf(format, t.addr.Addr())
	x.connectTo(socks5(), socks.Addr{Name: host, Port: t.addr.Port()}).echo(words())
}

func checkLarge(x *Exchange) {
	c := x.connect(socks5(), x.target(echoes))
	data := noise(1 << 20)
	sent := make(chan struct{})
	c.x.record(Record{Conn: c.n, Sent: true, What: "data", Parts: []Part{{"data", data}}})
	go func() {
		defer close(sent)
		c.write(data)
	}()
	defer func() { <-sent }()
	defer c.stopOnThrow()
	c.expect(data, "the echo")
}

// stopOnThrow ends what is still written on c when its check has failed.
func (c *conn) stopOnThrow() {
	if v := recover(); v != nil {
		c.nc.Close()
		panic(v)
	}
}

func checkExact(x *Exchange) {
	t := x.target(silent)
	c := x.connect(socks5(), t)
	want := words()
	c.say("data", Part{"data", want})
	s := x.await(t, "did not get the data", func(s sighting) bool { return s.Bytes >= len(want) })
	x.pause(x.p.cfg.Quiet)
	s, _ = t.seen()
	x.want(bytes.Equal(s.Data, want), "the target got %d bytes, %q, and not the %d that were sent", s.Bytes, s.Data[:min(len(s.Data), 40)], len(want))
}

func checkApart(x *Exchange) {
	type pair struct {
		t *target
		c *conn
	}
	var all []pair
	for range 4 {
		t := x.target(echoes)
		all = append(all, pair{t, x.connect(socks5(), t)})
	}
	for _, p := range all {
		p.c.echo(words())
	}
	for _, p := range all {
		s, err := p.t.seen()
		x.want(err == nil && s.Conns == 1, "a target saw %d connections", s.Conns)
	}
}

// checkBothWays lets an answer flow that nobody reads until all is sent.
func checkBothWays(x *Exchange) {
	c := x.connect(socks5(), x.target(echoes))
	for range 8 {
		c.echo(noise(32 << 10))
	}
	half := noise(64 << 10)
	c.say("data", Part{"data", half})
	c.say("data", Part{"data", half})
	c.expect(half, "the echo")
	c.say("data", Part{"data", half})
	c.expect(half, "the echo")
	c.expect(half, "the echo")
}
