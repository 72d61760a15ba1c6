package probe

import (
	"io"
	"net"
	"net/netip"

	"hosier/socks"
)

func bindChecks() []Check {
	has := []need{needBind, needTarget}
	return []Check{
		answered5("bind", "BIND", socks.Bind),
		refusedCode5("bind", "BIND", socks.Bind),
		{
			ID: "bind/address", Title: "the first reply names a port that listens", Clause: "RFC 1928 s.4", Severity: Must, Profiles: RFC1928, needs: has,
			Why: "The client tells this address to its peer, who has nothing else to go by.",
			run: func(x *Exchange) {
				_, ap := x.bind()
				p, err := net.DialTimeout("tcp", ap.String(), x.p.cfg.Timeout)
				x.want(err == nil, "nobody listens on %v", ap)
				p.Close()
			},
		},
		{
			ID: "bind/second-reply", Title: "the second reply names the peer that connected", Clause: "RFC 1928 s.4", Severity: Must, Profiles: RFC1928, needs: has,
			Why: "It is how the client knows that the connection is there, and whose it is.",
			run: func(x *Exchange) {
				_, peer, r := x.bound()
				defer peer.Close()
				own := socks.AddrFrom(peer.LocalAddr().(*net.TCPAddr).AddrPort())
				x.want(r.bound == own, "it names %v, but the peer is %v", r.bound, own)
			},
		},
		{
			ID: "bind/data", Title: "the connection that came in carries data both ways", Clause: "RFC 1928 s.4", Severity: Must, Profiles: RFC1928, needs: has,
			Why: "It is what BIND is for.",
			run: checkBindData,
		},
		{
			ID: "bind/socks4", Title: "BIND over SOCKS4 is served or refused by reply", Clause: clause4, Severity: Must, Profiles: Tor, needs: []need{needSOCKS4},
			Why: "A program that gets no reply cannot tell a missing command from a broken proxy.",
			run: func(x *Exchange) {
				_, r := x.ask4(request4(socks.Bind, socks.Addr{IP: x.p.targets.host(false), Port: 9}, ""))
				if !r.succeeded() {
					x.want(r.code == 0x5B, "the code is %02X", r.code)
					x.refused("the proxy does not have it: %v", r)
				}
			},
		},
	}
}

// bind asks for a port and returns the address that a peer can connect to.
func (x *Exchange) bind() (*conn, netip.AddrPort) {
	c, r := x.ask5(request5(socks.Bind, socks.Addr{IP: x.p.targets.host(false), Port: 9}))
	x.want(r.succeeded(), "BIND was refused: %v", r)
	return c, c.reachable(r)
}

// reachable is a bound address as a client reads it: zeros stand for the proxy itself.
func (c *conn) reachable(r reply) netip.AddrPort {
	c.x.want(r.bound.Port != 0, "the reply names port 0")
	ip := r.bound.IP
	if !ip.IsValid() || ip.IsUnspecified() {
		own, ok := c.nc.RemoteAddr().(*net.TCPAddr)
		if !ok {
			c.x.skip("the proxy's address is not known on a Unix socket")
		}
		ip = own.AddrPort().Addr().Unmap()
	}
	return netip.AddrPortFrom(ip, r.bound.Port)
}

// bound goes on to connect as the peer, and reads the second reply.
func (x *Exchange) bound() (*conn, net.Conn, reply) {
	c, ap := x.bind()
	d := net.Dialer{Timeout: x.p.cfg.Timeout}
	if host := x.p.targets.host(false); host.IsLoopback() {
		d.LocalAddr = &net.TCPAddr{IP: host.AsSlice()}
	}
	peer, err := d.Dial("tcp", ap.String())
	x.want(err == nil, "nobody listens on %v", ap)
	defer func() {
		if v := recover(); v != nil {
			peer.Close()
			panic(v)
		}
	}()
	r := c.reply5()
	x.want(r.succeeded(), "the second reply is %v", r)
	return c, peer, r
}

func checkBindData(x *Exchange) {
	c, peer, _ := x.bound()
	defer peer.Close()
	peer.SetDeadline(x.soon())
	if _, err := peer.Write([]byte(hello)); err != nil {
		x.fail("the peer cannot send: %v", err)
	}
	c.expect([]byte(hello), "the peer's hello")
	want := words()
	c.say("data", Part{"data", want})
	got := make([]byte, len(want))
	n, err := io.ReadFull(peer, got)
	x.want(err == nil && string(got) == string(want), "the peer got %d of %d bytes", n, len(want))
}
