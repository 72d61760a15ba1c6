package probe

import (
	"crypto/rand"
	"io"
	"net/netip"
	"slices"

	"hosier/socks"
)

// dialect is one way to ask for a connection.
type dialect struct {
	id    string
	label string
	needs []need
	named bool // it carries names
	five  bool // a greeting precedes the request
	http  bool
}

func (x *Exchange) login() Login {
	if l := x.p.cfg.Login; l != nil {
		return *l
	}
	return Login{}
}

func socks4() dialect { return dialect{id: "socks4", label: "SOCKS4", needs: []need{needSOCKS4}} }
func socks4a() dialect {
	return dialect{id: "socks4a", label: "SOCKS4A", needs: []need{needSOCKS4A, needName}, named: true}
}

func socks5() dialect {
	return dialect{id: "socks5", label: "SOCKS5", needs: []need{needSOCKS5}, five: true}
}

func connectHTTP() dialect {
	return dialect{id: "http", label: "HTTP CONNECT", needs: []need{needHTTP}, http: true}
}

// dialects are all of them, one a wire format.
func dialects() []dialect { return []dialect{socks4(), socks4a(), socks5(), connectHTTP()} }

func (d dialect) and(more ...need) []need { return slices.Concat(d.needs, more) }

// opening is what a client of SOCKS5 says before its request.
func (x *Exchange) opening() [][]Part {
	if x.p.cfg.Login == nil {
		return [][]Part{greeting(0)}
	}
	return [][]Part{greeting(2), password(x.login().User, x.login().Password)}
}

// answerOpening reads the answers to an opening.
func (c *conn) answerOpening() {
	want := c.x.opening()
	m := c.method()
	c.x.want(m == want[0][2].Bytes[0], "the proxy chose method %02x where only %02x was offered", m, want[0][2].Bytes[0])
	if len(want) > 1 {
		s := c.verdict()
		c.x.want(s == 0, "the proxy refuses the login: status %02x", s)
	}
}

// enter greets, logs in, and leaves the proxy waiting for a request of SOCKS5.
func (c *conn) enter() {
	want := c.x.opening()
	c.say("greeting", want[0]...)
	m := c.method()
	c.x.want(m == want[0][2].Bytes[0], "the proxy chose method %02x where only %02x was offered", m, want[0][2].Bytes[0])
	if len(want) > 1 {
		c.say("password", want[1]...)
		s := c.verdict()
		c.x.want(s == 0, "the proxy refuses the login: status %02x", s)
	}
}

// enterWith offers only a password, and gives it.
func (c *conn) enterWith(user, pass string) byte {
	c.say("greeting", greeting(2)...)
	m := c.method()
	c.x.want(m == 2, "the proxy chose method %02x where only 02 was offered", m)
	c.say("password", password(user, pass)...)
	return c.verdict()
}

// connectRequest is d's request for a connection to a.
func (x *Exchange) connectRequest(d dialect, a socks.Addr) []Part {
	switch {
	case d.http && x.p.cfg.Login != nil:
		return connectHead(a, basic(x.login()))
	case d.http:
		return connectHead(a)
	case d.five:
		return request5(socks.Connect, a)
	}
	return request4(socks.Connect, a, "")
}

// addr is how d names the target.
func (x *Exchange) addr(d dialect, t *target) socks.Addr {
	if d.named {
		return socks.Addr{Name: x.name(), Port: t.addr.Port()}
	}
	return socks.AddrFrom(t.addr)
}

func (c *conn) reply(d dialect) reply {
	switch {
	case d.http:
		return c.replyHTTP()
	case d.five:
		return c.reply5()
	}
	return c.reply4()
}

// ask sends d's request for a on a new connection and returns the reply.
func (x *Exchange) ask(d dialect, a socks.Addr) (*conn, reply) {
	c := x.dial()
	if d.five {
		c.enter()
	}
	c.say("request", x.connectRequest(d, a)...)
	return c, c.reply(d)
}

// connect opens a tunnel to the target and fails if that does not work.
func (x *Exchange) connect(d dialect, t *target) *conn {
	return x.connectTo(d, x.addr(d, t))
}

func (x *Exchange) connectTo(d dialect, a socks.Addr) *conn {
	c, r := x.ask(d, a)
	x.want(r.succeeded(), "CONNECT to a target that is there was refused: %v", r)
	return c
}

// ask5 sends a request of SOCKS5, however wrong, and returns the reply.
func (x *Exchange) ask5(request []Part) (*conn, reply) {
	c := x.dial()
	c.enter()
	c.say("request", request...)
	return c, c.reply5()
}

// ask4 is ask5 for SOCKS4.
func (x *Exchange) ask4(request []Part) (*conn, reply) {
	c := x.dial()
	c.say("request", request...)
	return c, c.reply4()
}

// refusal reads what the proxy answers to something that it must not serve: its reply,
// or nothing but a hang-up. It fails on a success and on silence.
func (c *conn) refusal(d dialect, what string) (r reply, answered bool) {
	switch c.fill(1, c.x.soon()) {
	case nil:
		r = c.reply(d)
		c.x.want(!r.succeeded(), "%s was granted", what)
		return r, true
	case io.EOF:
		c.event("hangs up")
		return r, false
	}
	c.x.fail("%s got no answer within %v", what, c.x.p.cfg.Timeout)
	return r, false
}

// wantRefused sends a request of SOCKS5 that must not be granted. A hang-up without a
// reply is a fault, too, but that of other checks.
func (x *Exchange) wantRefused(request []Part, what string) (c *conn, r reply, answered bool) {
	c = x.dial()
	c.enter()
	c.say("request", request...)
	r, answered = c.refusal(socks5(), what)
	return c, r, answered
}

// wantRefused4 is wantRefused for SOCKS4.
func (x *Exchange) wantRefused4(request []Part, what string) (c *conn, r reply, answered bool) {
	c = x.dial()
	c.say("request", request...)
	r, answered = c.refusal(socks4(), what)
	return c, r, answered
}

// echo sends data to a target that sends it back, and fails if it comes back otherwise.
func (c *conn) echo(data []byte) {
	c.say("data", Part{"data", data})
	c.expect(data, "the echo")
}

// words is a short text that nothing else sends.
func words() []byte { return []byte("hosier probe " + rand.Text() + "\n") }

// noise is n bytes, of all values, the same for the same n.
func noise(n int) []byte {
	b := make([]byte, n)
	s := uint32(n) | 1
	for i := range b {
		s = s*1664525 + 1013904223
		b[i] = byte(s >> 24)
	}
	return b
}

// name returns a name that leads to the targets.
func (x *Exchange) name() string {
	if x.p.unmet[needDNS] == "" {
		return x.dnsName(records{a: []netip.Addr{x.p.targets.host(false)}})
	}
	host := x.p.targets.host(false)
	for _, n := range x.p.cfg.Names {
		if n.IP == host {
			return n.Host
		}
	}
	x.skip("no --name leads to %v", host)
	return ""
}

// dnsName makes a name that only probe's DNS server knows.
func (x *Exchange) dnsName(r records) string {
	name := x.p.token() + ".hosier-probe.test"
	x.p.cfg.DNS.set(name, r)
	return name
}

// missing is a name that does not exist.
func (x *Exchange) missing() string {
	if x.p.unmet[needDNS] == "" {
		return x.dnsName(records{})
	}
	return x.p.token() + ".invalid" // RFC 6761 section 6.4
}
