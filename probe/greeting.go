package probe

import (
	"bytes"
	"io"
	"slices"
	"time"
)

func greetingChecks() []Check {
	five := []need{needSOCKS5}
	open := []need{needSOCKS5, needAnonymous}
	return []Check{
		{
			ID: "greeting/answered", Title: "a SOCKS5 greeting is answered", Clause: "RFC 1928 s.3", Severity: Must, Profiles: RFC1928 | Tor, slow: true,
			Why: "A program that gets no answer hangs until its own time-out, and nobody learns why.",
			run: checkGreetingAnswered,
		},
		{
			ID: "greeting/no-auth", Title: "method 00 alone is chosen", Clause: "RFC 1928 s.3", Severity: Must, Profiles: RFC1928 | Tor, needs: open,
			Why: "Most programs offer nothing else.",
			run: func(x *Exchange) { x.wantMethod(greeting(0), 0) },
		},
		{
			ID: "greeting/version", Title: "the method reply has version 05", Clause: "RFC 1928 s.3", Severity: Must, Profiles: RFC1928 | Tor, needs: five,
			Why: "Clients check this byte and give up when it differs.",
			run: func(x *Exchange) {
				c := x.dial()
				c.say("greeting", greeting(0, 2)...)
				c.method()
			},
		},
		{
			ID: "greeting/two-bytes", Title: "the method reply is two bytes and no more", Clause: "RFC 1928 s.3", Severity: Must, Profiles: RFC1928 | Tor, needs: five,
			Why: "A byte too many is read as the beginning of the next message, and everything after it is wrong.",
			run: func(x *Exchange) {
				c := x.dial()
				c.say("greeting", x.opening()[0]...)
				c.method()
				c.quiet("after the method reply")
			},
		},
		{
			ID: "greeting/server-waits", Title: "the server says nothing before the client", Clause: "RFC 1928 s.3", Severity: Must, Profiles: RFC1928 | Tor,
			Why: "The client speaks first in every dialect; a banner breaks all of them.",
			run: func(x *Exchange) { x.dial().quiet("before the client said anything") },
		},
		{
			ID: "greeting/whole", Title: "half a greeting is not answered", Clause: "RFC 1928 s.3", Severity: Must, Profiles: RFC1928 | Tor, needs: five,
			Why: "A server that does not wait for all methods chooses one that the client did not offer.",
			run: func(x *Exchange) {
				c := x.dial()
				c.say("part of a greeting", part("VER", 5), part("NMETHODS", 3), part("METHODS", 0))
				c.quiet("before the greeting was whole")
			},
		},
		{
			ID: "greeting/only-offered", Title: "only an offered method is chosen", Clause: "RFC 1928 s.3", Severity: Must, Profiles: RFC1928 | Tor, needs: five,
			Why: "A client cannot speak a method that it did not offer.",
			run: checkOnlyOffered,
		},
		{
			ID: "greeting/nothing-known", Title: "unknown methods alone are answered FF", Clause: "RFC 1928 s.3", Severity: Must, Profiles: RFC1928 | Tor, needs: five,
			Why: "FF is how a client learns that it must log in another way.",
			run: func(x *Exchange) { x.wantMethod(greeting(0x7E, 0x80, 0xFE), 0xFF) },
		},
		{
			ID: "greeting/closes-after-ff", Title: "the connection is closed after FF", Clause: "RFC 1928 s.3", Severity: Should, Profiles: RFC1928, needs: five,
			Why: "Nothing can follow, and a server that stays keeps a socket for nobody.",
			run: func(x *Exchange) { x.wantMethod(greeting(0x7E), 0xFF).ends("FF") },
		},
		{
			ID: "greeting/gssapi", Title: "GSSAPI alone is not answered with another method", Clause: "RFC 1928 s.3", Severity: Must, Profiles: RFC1928, needs: five,
			Why: "RFC 1928 asks for GSSAPI; a server without it has to say FF.",
			run: func(x *Exchange) {
				c := x.dial()
				c.say("greeting", greeting(1)...)
				m := c.method()
				x.want(m == 1 || m == 0xFF, "method %02x was chosen where only GSSAPI (01) was offered", m)
			},
		},
		{
			ID: "greeting/among-unknown", Title: "00 is found among unknown methods", Clause: "RFC 1928 s.3", Severity: Must, Profiles: RFC1928, needs: open,
			Why: "Programs that know more methods list them first.",
			run: func(x *Exchange) { x.wantMethod(greeting(0x80, 0x05, 0x03, 0), 0) },
		},
		{
			ID: "greeting/duplicates", Title: "a method may stand twice", Clause: "RFC 1928 s.3", Severity: Should, Profiles: RFC1928, needs: open,
			Why: "Some libraries build the list carelessly, and nothing forbids it.",
			run: func(x *Exchange) { x.wantMethod(greeting(0, 0, 0), 0) },
		},
		{
			ID: "greeting/255-methods", Title: "255 methods are read", Clause: "RFC 1928 s.3", Severity: Must, Profiles: RFC1928, needs: open,
			Why: "NMETHODS is one byte; a smaller buffer overflows or loses its place.",
			run: func(x *Exchange) {
				all := bytes.Repeat([]byte{0x80}, 255)
				all[254] = 0
				x.wantMethod(greeting(all...), 0)
			},
		},
		{
			ID: "greeting/no-methods", Title: "without methods none is chosen", Clause: "RFC 1928 s.3", Severity: Must, Profiles: RFC1928, needs: five,
			Why: "Serving a client that offered nothing lets it past a login.",
			run: func(x *Exchange) {
				c := x.dial()
				c.say("greeting", greeting()...)
				if b, _ := c.ended(); len(b) >= 2 {
					x.want(b[1] == 0xFF, "method %02x was chosen where none was offered", b[1])
				}
			},
		},
		{
			ID: "greeting/no-methods-ff", Title: "no methods at all are answered FF", Clause: "RFC 1928 s.3", Severity: Should, Profiles: RFC1928, needs: five,
			Why: "A silent close looks like a broken network.",
			run: func(x *Exchange) { x.wantMethod(greeting(), 0xFF) },
		},
		{
			ID: "greeting/prefers-password", Title: "02 is chosen when 00 is offered, too", Clause: "Tor socks-extensions s.1.1", Severity: Hint, Profiles: Tor, needs: []need{needPassword},
			Why: "Credentials keep streams apart in Tor, and a proxy that prefers 00 throws them away.",
			run: func(x *Exchange) { x.wantMethod(greeting(0, 2), 2) },
		},
		{
			ID: "greeting/version-6", Title: "version 06 is not taken for 05", Clause: "RFC 1928 s.3", Severity: Must, Profiles: RFC1928, needs: five,
			Why: "A later protocol would be misread without anybody noticing.",
			run: func(x *Exchange) { x.wantNoMethod(set(greeting(0), "VER", 6)) },
		},
		{
			ID: "greeting/other-versions", Title: "versions 00, 02, 7F and FF are not taken for 05", Clause: "RFC 1928 s.3", Severity: Must, Profiles: RFC1928, needs: five,
			Why: "What is not SOCKS5 must not be served as if it were.",
			run: func(x *Exchange) {
				for _, v := range []byte{0, 2, 0x7F, 0xFF} {
					x.wantNoMethod(set(greeting(0), "VER", v))
				}
			},
		},
		{
			ID: "greeting/wrong-version-closes", Title: "a wrong version ends the connection", Clause: "common practice", Severity: Should, needs: five,
			Why: "A program that speaks something else waits for ever on a proxy that waits, too.",
			run: func(x *Exchange) {
				c := x.dial()
				c.say("greeting", set(greeting(0), "VER", 7)...)
				_, end := c.ended()
				x.want(end, "the proxy did not hang up within %v", x.p.cfg.Timeout)
			},
		},
		{
			ID: "greeting/many-at-once", Title: "32 clients at once are all answered", Clause: "common practice", Severity: Must, Profiles: RFC1928 | Tor, needs: five,
			Why: "A browser opens dozens of connections for one page.",
			run: checkManyAtOnce,
		},
	}
}

func checkGreetingAnswered(x *Exchange) {
	c := x.dial()
	c.say("greeting", greeting(0, 2)...)
	b := c.first(2)
	switch {
	case isHTTP(b):
		x.refused("the proxy has no SOCKS5, and says so in HTTP")
	case len(b) >= 2:
		x.want(b[0] == 5 || b[0] == 0 && b[1]>>4 == 5, "the answer begins with %02x", b[0])
		if b[0] == 0 {
			x.refused("the proxy answers as SOCKS4: it has no SOCKS5")
		}
	case x.p.unmet[needHTTP] == "" || x.p.unmet[needSOCKS4] == "":
		x.skipHTTPAlone(c, "a greeting")
		c.endsWithin("the greeting", x.p.cfg.Patience)
		x.refused("the proxy has no SOCKS5, and hangs up")
	default:
		x.fail("the greeting got %d bytes of answer", len(b))
	}
}

// skipHTTPAlone skips where SOCKS is not applicable: the proxy serves HTTP and no SOCKS, and
// waits for the end of what it takes for a request line. That it waits so long is for
// slow/mid-http. A proxy that hangs up goes on to be judged.
func (x *Exchange) skipHTTPAlone(c *conn, what string) {
	if x.p.unmet[needHTTP] != "" || x.p.unmet[needSOCKS4] == "" || x.p.unmet[needSOCKS5] == "" {
		return
	}
	if c.fill(1, time.Now().Add(x.p.cfg.Patience)) != io.EOF {
		x.skip("the proxy serves HTTP alone, and takes %s for the beginning of a request line", what)
	}
}

// isHTTP reports whether an answer begins as one of HTTP does; of one that was read as two bytes
// no more may be there.
func isHTTP(b []byte) bool {
	const begin = "HTTP/"
	return len(b) >= 2 && string(b[:min(len(b), len(begin))]) == begin[:min(len(b), len(begin))]
}

// wantMethod greets and fails unless the proxy chooses m.
func (x *Exchange) wantMethod(greeting []Part, m byte) *conn {
	c := x.dial()
	c.say("greeting", greeting...)
	got := c.method()
	x.want(got == m, "method %02x was chosen, not %02x", got, m)
	return c
}

// wantNoMethod fails if something that is no greeting is answered with a method.
func (x *Exchange) wantNoMethod(greeting []Part) {
	c := x.dial()
	c.say("something else", greeting...)
	b := c.first(2)
	x.want(len(b) < 2 || b[0] != 5 || b[1] == 0xFF, "version %02x was answered with method %02x", greeting[0].Bytes[0], b1(b))
}

func b1(b []byte) byte {
	if len(b) < 2 {
		return 0
	}
	return b[1]
}

func checkOnlyOffered(x *Exchange) {
	for _, offer := range [][]byte{{0}, {0, 2}, {2, 0x80}, {0x80, 0x81}, {1, 2}} { // 02 alone is auth/offered-alone
		c := x.dial()
		c.say("greeting", greeting(offer...)...)
		m := c.method()
		x.want(m == 0xFF || slices.Contains(offer, m), "method %02x was chosen where %x was offered", m, offer)
	}
}

func checkManyAtOnce(x *Exchange) {
	var all []*conn
	for range 32 {
		all = append(all, x.dial())
	}
	for _, c := range all {
		c.say("greeting", x.opening()[0]...)
	}
	for _, c := range all {
		c.method()
	}
}
