package probe

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"hosier/socks"
)

func udpChecks() []Check {
	has := []need{needUDP, needTarget}
	return []Check{
		answered5("udp", "UDP ASSOCIATE", socks.Associate),
		refusedCode5("udp", "UDP ASSOCIATE", socks.Associate),
		{
			ID: "udp/address", Title: "the reply names an address to send to", Clause: "RFC 1928 s.7", Severity: Must, Profiles: RFC1928, needs: has,
			Why: "Without it the client has nowhere to send its packets.",
			run: func(x *Exchange) { x.associate() },
		},
		{
			ID: "udp/ipv4", Title: "packets to an IPv4 address come back", Clause: "RFC 1928 s.7", Severity: Must, Profiles: RFC1928, needs: has,
			Why: "It is what UDP ASSOCIATE is for.",
			run: func(x *Exchange) {
				t := x.target(packets)
				x.associate().echo(socks.AddrFrom(t.addr))
			},
		},
		{
			ID: "udp/name", Title: "packets to a name come back", Clause: "RFC 1928 s.7", Severity: Should, Profiles: RFC1928, needs: append(has[:2:2], needName),
			Why: "A client that cannot send names has to look them up itself.",
			run: func(x *Exchange) {
				t := x.target(packets)
				x.associate().echo(socks.Addr{Name: x.name(), Port: t.addr.Port()})
			},
		},
		{
			ID: "udp/source", Title: "what comes back names where it came from", Clause: "RFC 1928 s.7", Severity: Must, Profiles: RFC1928, needs: has,
			Why: "One socket serves all targets; this header alone tells them apart.",
			run: func(x *Exchange) {
				t := x.target(packets)
				from := x.associate().echo(socks.AddrFrom(t.addr))
				x.want(from == socks.AddrFrom(t.addr), "the header names %v, but the target is %v", from, t.addr)
			},
		},
		{
			ID: "udp/fragment", Title: "a fragment is dropped, or put together, but not passed on alone", Clause: "RFC 1928 s.7", Severity: Must, Profiles: RFC1928, needs: has,
			Why: "RFC 1928 says must: half a message is a wrong message.",
			run: func(x *Exchange) {
				t := x.target(packets)
				a := x.associate()
				a.send(1, socks.AddrFrom(t.addr), words())
				x.pause(x.p.cfg.Quiet)
				s, err := t.seen()
				x.want(err == nil && s.Conns == 0, "the first of several fragments reached the target")
			},
		},
		{
			ID: "udp/ends-with-tcp", Title: "the association ends with its TCP connection", Clause: "RFC 1928 s.6", Severity: Must, Profiles: RFC1928, needs: has,
			Why: "Otherwise a stranger who gets the client's port goes on in its name.",
			run: checkUDPEnds,
		},
		{
			ID: "udp/stays", Title: "the association lasts as long as its TCP connection", Clause: "RFC 1928 s.6", Severity: Must, Profiles: RFC1928, needs: has,
			Why: "A call that breaks off after the first packet is no call.",
			run: func(x *Exchange) {
				a, t := x.associate(), x.target(packets)
				for range 4 {
					a.echo(socks.AddrFrom(t.addr))
				}
				a.c.quiet("though the association was not over")
			},
		},
	}
}

// association is a UDP ASSOCIATE that was granted.
type association struct {
	c     *conn
	relay netip.AddrPort
	udp   net.PacketConn
}

func (x *Exchange) associate() *association {
	c, r := x.ask5(request5(socks.Associate, socks.Addr{IP: netip.IPv4Unspecified()}))
	x.want(r.succeeded(), "UDP ASSOCIATE was refused: %v", r)
	a := &association{c: c, relay: c.reachable(r)}
	var err error
	a.udp, err = net.ListenPacket("udp", netip.AddrPortFrom(localFor(a.relay.Addr()), 0).String())
	if err != nil {
		x.skip("no UDP socket: %v", err)
	}
	// The packets' socket ends with the exchange, as its connections do.
	x.opened = append(x.opened, &target{close: func() { a.udp.Close() }})
	return a
}

// localFor is the address to send from.
func localFor(ip netip.Addr) netip.Addr {
	switch {
	case ip.IsLoopback():
		return ip
	case ip.Is4():
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// packet is the header of RFC 1928 section 7, and the data.
func packet(frag byte, a socks.Addr, data []byte) []Part {
	r := request5(0, a)[3:]
	return append(append([]Part{part("RSV", 0, 0), part("FRAG", frag)}, r...), Part{"DATA", data})
}

func (a *association) send(frag byte, to socks.Addr, data []byte) {
	parts := packet(frag, to, data)
	a.c.x.record(Record{Conn: a.c.n, Sent: true, What: "UDP packet", Parts: parts})
	a.udp.WriteTo(join(parts), net.UDPAddrFromAddrPort(a.relay))
}

// echo sends a packet and returns where the answer says that it came from. A packet may
// be lost, so it is sent again a few times.
func (a *association) echo(to socks.Addr) socks.Addr {
	x, data := a.c.x, words()
	buf := make([]byte, 64<<10)
	for end := x.soon(); time.Now().Before(end); {
		a.send(0, to, data)
		a.udp.SetReadDeadline(time.Now().Add(x.p.cfg.Timeout / 4))
		n, _, err := a.udp.ReadFrom(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		x.want(err == nil, "the packets' socket: %v", err)
		x.record(Record{Conn: a.c.n, What: "UDP packet", Parts: []Part{{"packet", buf[:n]}}})
		x.want(n > 4 && buf[0]|buf[1] == 0, "the packet that came back has no header of RFC 1928")
		x.want(buf[2] == 0, "the packet that came back is a fragment")
		// The header has the form of a reply from its address type on.
		_, from, m, err := socks.ParseReply5(append([]byte{5, 0, 0}, buf[3:n]...))
		x.want(err == nil, "the header of the packet that came back cannot be read: %v", err)
		got := buf[m:n]
		if bytes.HasPrefix(got, []byte("hosier probe ")) && !bytes.Equal(got, data) {
			continue // an answer to one that was sent before
		}
		x.want(bytes.Equal(got, data), "other data came back")
		return from
	}
	x.fail("no packet came back within %v", x.p.cfg.Timeout)
	return socks.Addr{}
}

func checkUDPEnds(x *Exchange) {
	a, t := x.associate(), x.target(packets)
	a.echo(socks.AddrFrom(t.addr))
	a.c.hangUp()
	for end := x.soon(); time.Now().Before(end); {
		before, err := t.seen()
		x.want(err == nil, "the target cannot be asked: %v", err)
		a.send(0, socks.AddrFrom(t.addr), words())
		x.pause(x.p.cfg.Quiet)
		if after, err := t.seen(); err == nil && after.Conns == before.Conns {
			return
		}
	}
	x.fail("packets were still relayed %v after the connection was closed", x.p.cfg.Timeout)
}
