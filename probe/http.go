package probe

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"hosier/socks"
)

const clauseConnect = "RFC 9110 s.9.3.6"

func httpChecks() []Check {
	has := []need{needHTTP, needTarget}
	guarded := []need{needHTTP, needTarget, needGuarded}
	d := connectHTTP()
	return []Check{
		{
			ID: "http/answered", Title: "CONNECT is served, or refused by an answer or hang-up", Clause: clauseConnect, Severity: Must, Profiles: Tor, needs: []need{needTarget}, slow: true,
			Why: "A program that is neither served nor refused hangs.",
			run: checkHTTP,
		},
		{
			ID: "http/data", Title: "the tunnel carries data both ways", Clause: clauseConnect, Severity: Must, Profiles: Tor, needs: has,
			Why: "It is what CONNECT is for.",
			run: func(x *Exchange) { x.connect(d, x.target(echoes)).echo(words()) },
		},
		{
			ID: "http/name", Title: "CONNECT to a name works", Clause: clauseConnect, Severity: Must, Profiles: Tor, needs: append(has[:2:2], needName),
			Why: "Programs that speak CONNECT have nothing but names.",
			run: func(x *Exchange) {
				t := x.target(echoes)
				x.connectTo(d, socks.Addr{Name: x.name(), Port: t.addr.Port()}).echo(words())
			},
		},
		{
			ID: "http/ipv6", Title: "CONNECT to an IPv6 address in brackets works", Clause: clauseConnect, Severity: Should, Profiles: Tor, needs: append(has[:2:2], needIPv6),
			Why: "A proxy that cuts at the first colon cannot reach it.",
			run: func(x *Exchange) { x.connect(d, x.targetOf(echoes, true)).echo(words()) },
		},
		{
			ID: "http/exact", Title: "nothing follows the head of a success until the target speaks", Clause: clauseConnect, Severity: Must, Profiles: Tor, needs: has,
			Why: "What is more becomes the first bytes of the tunnel.",
			run: func(x *Exchange) { x.connect(d, x.target(silent)).quiet("after the head") },
		},
		{
			ID: "http/no-length", Title: "a success has no Content-Length and no Transfer-Encoding", Clause: clauseConnect, Severity: Must, Profiles: Tor, needs: has,
			Why: "RFC 9110 says must not: a client that believes it waits for a body.",
			run: func(x *Exchange) {
				_, r := x.ask(d, socks.AddrFrom(x.target(silent).addr))
				for _, name := range []string{"content-length", "transfer-encoding"} {
					_, has := r.http.get(name)
					x.want(!has, "the success has %s", name)
				}
			},
		},
		{
			ID: "http/waits", Title: "half a head is not answered", Clause: "RFC 9112 s.2", Severity: Must, Profiles: Tor, needs: has,
			Why: "The rest of the head would become data for the target.",
			run: func(x *Exchange) {
				c := x.dial()
				m := x.connectRequest(d, socks.AddrFrom(x.target(silent).addr))
				c.say("part of a head", m[:len(m)-1]...)
				c.quiet("before the head was whole")
			},
		},
		{
			ID: "http/version-10", Title: "CONNECT of HTTP/1.0 works", Clause: "RFC 9112 s.2.3", Severity: Should, Profiles: Tor, needs: has,
			Why: "Small and old clients, ssh helpers among them, speak 1.0.",
			run: func(x *Exchange) {
				c, t := x.dial(), x.target(echoes)
				c.say("request", x.head("CONNECT "+t.addr.String()+" HTTP/1.0")...)
				r := c.replyHTTP()
				x.want(r.succeeded(), "the request was refused: %v", r)
				c.echo(words())
			},
		},
		{
			ID: "http/host", Title: "the target is in the request line, not in Host", Clause: "RFC 9112 s.3.2", Severity: Must, Profiles: Tor, needs: has,
			Why: "Two readings of one request are how filters are passed.",
			run: func(x *Exchange) {
				c, t := x.dial(), x.target(echoes)
				c.say("request", x.head("CONNECT "+t.addr.String()+" HTTP/1.1", "Host: "+x.target(refuses).addr.String())...)
				r := c.replyHTTP()
				x.want(r.succeeded(), "the request was refused: %v", r)
				c.echo(words())
			},
		},
		{
			ID: "http/refused", Title: "a refused port is not a success", Clause: clauseConnect, Severity: Must, Profiles: Tor, needs: has,
			Why: "A client that is told of success sends its secrets into nothing.",
			run: func(x *Exchange) {
				_, r := x.ask(d, socks.AddrFrom(x.target(refuses).addr))
				x.want(r.http.code >= 400, "the code is %d", r.http.code)
			},
		},
		{
			ID: "http/missing", Title: "a name that does not exist is a failure of the server's side", Clause: clauseConnect, Severity: Should, Profiles: Tor, needs: has,
			Why: "A code of 4xx says that the client is wrong, which it is not.",
			run: func(x *Exchange) {
				_, r := x.ask(d, socks.Addr{Name: x.missing(), Port: 80})
				x.want(r.http.code/100 == 5, "the code is %d", r.http.code)
			},
		},
		{
			ID: "http/no-port", Title: "CONNECT without a port is refused", Clause: clauseConnect, Severity: Must, Profiles: Tor, needs: has,
			Why: "RFC 9110 says must: there is no default to guess.",
			run: func(x *Exchange) { x.wantHTTPFailure("CONNECT 127.0.0.1 HTTP/1.1") },
		},
		{
			ID: "http/port-0", Title: "CONNECT to port 0 is refused", Clause: clauseConnect, Severity: Should, Profiles: Tor, needs: has,
			Why: "Nobody can listen there, and some systems hang on it.",
			run: func(x *Exchange) { x.wantHTTPFailure("CONNECT 127.0.0.1:0 HTTP/1.1") },
		},
		{
			ID: "http/port-range", Title: "CONNECT to a port over 65535 is refused", Clause: clauseConnect, Severity: Must, Profiles: Tor, needs: has,
			Why: "A port that is cut to 16 bits leads to another service.",
			run: func(x *Exchange) {
				t := x.target(counts)
				x.wantHTTPFailure(fmt.Sprintf("CONNECT %v:%d HTTP/1.1", t.addr.Addr(), 65536+int(t.addr.Port())))
				x.wantUnreached(t, "a port over 65535")
			},
		},
		{
			ID: "http/bad-name", Title: "CONNECT to what is no host name is refused", Clause: clauseConnect, Severity: Must, Profiles: Tor, needs: has,
			Why: "What cannot be read must not be guessed.",
			run: func(x *Exchange) { x.wantHTTPFailure("CONNECT local@host/:80 HTTP/1.1") },
		},
		{
			ID: "http/failure-length", Title: "a failure says how long its text is, or closes after it", Clause: "RFC 9112 s.6.3", Severity: Must, Profiles: Tor, needs: has,
			Why: "Otherwise the client waits for the rest.",
			run: checkFailureLength,
		},
		{
			ID: "http/failed-reason", Title: "a failure has a Tor-Request-Failed header", Clause: "Tor proposal 365", Severity: Should, Profiles: Tor, needs: has,
			Why: "An HTTP code alone cannot tell a refused port from a forbidden one.",
			run: func(x *Exchange) {
				_, r := x.ask(d, socks.AddrFrom(x.target(refuses).addr))
				reason, _ := r.http.get("tor-request-failed")
				x.want(strings.HasPrefix(reason, "end/") || strings.HasPrefix(reason, "arti/"), "it is %q", reason)
			},
		},
		{
			ID: "http/capabilities", Title: "all answers to CONNECT have a Tor-Capabilities header, or none", Clause: "Tor proposal 365", Severity: Hint, Profiles: Tor, needs: has,
			Why: "It is how a client learns that it speaks with a proxy for Tor's clients.",
			run: func(x *Exchange) {
				_, granted := x.ask(d, socks.AddrFrom(x.target(silent).addr))
				_, failed := x.ask(d, socks.AddrFrom(x.target(refuses).addr))
				_, ofGrant := granted.http.get("tor-capabilities")
				_, ofFailure := failed.http.get("tor-capabilities")
				if !ofGrant && !ofFailure {
					x.skip("the proxy does not claim to serve Tor's clients")
				}
				x.want(ofGrant == ofFailure, "a success has it: %t; a failure: %t", ofGrant, ofFailure)
			},
		},
		{
			ID: "http/via", Title: "answers to CONNECT have a Via header", Clause: "Tor proposal 365", Severity: Hint, Profiles: Tor, needs: has,
			Why: "Whoever looks for a fault sees which proxies were on the way.",
			run: func(x *Exchange) {
				_, r := x.ask(d, socks.AddrFrom(x.target(silent).addr))
				_, ok := r.http.get("via")
				x.want(ok, "there is none")
			},
		},
		{
			ID: "http/options", Title: "OPTIONS says that there is CONNECT", Clause: "Tor proposal 365", Severity: Should, Profiles: Tor, needs: []need{needHTTP},
			Why: "It is how a client learns what a port is without using it.",
			run: func(x *Exchange) {
				c := x.dial()
				c.say("request", x.head("OPTIONS * HTTP/1.1", "Host: localhost")...)
				r := c.replyHTTP()
				allow, _ := r.http.get("allow")
				x.want(r.http.code == 200 && strings.Contains(allow, "CONNECT"), "the answer is %d, Allow: %q", r.http.code, allow)
			},
		},
		{
			ID: "http/rpc-target", Title: "a Tor-RPC-Target that is not there is not ignored", Clause: "Tor proposal 365", Severity: Hint, Profiles: Tor, needs: has,
			Why: "The client asked for a certain circuit, and would get any.",
			run: func(x *Exchange) {
				c, t := x.dial(), x.target(silent)
				c.say("request", x.head("CONNECT "+t.addr.String()+" HTTP/1.1", "Tor-RPC-Target: none")...)
				x.want(!c.replyHTTP().succeeded(), "the request was granted")
			},
		},
		{
			ID: "http/407", Title: "without a login the answer is 407", Clause: "RFC 9110 s.15.5.8", Severity: Must, needs: guarded,
			Why: "It is what makes a program ask for the password.",
			run: func(x *Exchange) { x.wantChallenge() },
		},
		{
			ID: "http/challenge", Title: "407 has a Proxy-Authenticate header", Clause: "RFC 9110 s.11.7.1", Severity: Must, needs: guarded,
			Why: "RFC 9110 says must: without it a program does not know how to log in.",
			run: func(x *Exchange) {
				r := x.wantChallenge()
				_, ok := r.http.get("proxy-authenticate")
				x.want(ok, "there is none")
			},
		},
		{
			ID: "http/wrong-login", Title: "a wrong password is refused with 407", Clause: "RFC 9110 s.15.5.8", Severity: Must, needs: guarded,
			Why: "Otherwise the password protects nobody.",
			run: func(x *Exchange) {
				x.wantChallenge(basic(Login{x.login().User, x.login().Password + "x"}))
			},
		},
	}
}

// head adds the login to the headers.
func (x *Exchange) head(line string, headers ...string) []Part {
	if x.p.cfg.Login != nil {
		headers = append(headers, basic(x.login()))
	}
	return head(line, headers...)
}

func checkHTTP(x *Exchange) {
	c := x.dial()
	c.say("request", x.connectRequest(connectHTTP(), socks.AddrFrom(x.target(silent).addr))...)
	if c.fill(5, x.soon()) != nil && len(c.in) == 0 {
		c.endsWithin("the request", x.p.cfg.Patience)
		x.refused("the proxy has no HTTP CONNECT, and hangs up")
	}
	if len(c.in) < 5 || string(c.in[:5]) != "HTTP/" {
		b := c.rest("answer")
		x.want(len(b) == 2 && b[0] == 5 && b[1] == 0xFF, "the answer is neither HTTP nor a hang-up")
		x.refused("the proxy has no HTTP CONNECT, and says so in SOCKS5")
	}
	if r := c.replyHTTP(); !r.succeeded() {
		x.want(r.http.code >= 400, "the code is %d", r.http.code)
		x.refused("the proxy does not serve CONNECT: %v", r)
	}
}

// wantHTTPFailure sends a request that is wrong, and wants a code of 4xx or 5xx or a hang-up.
func (x *Exchange) wantHTTPFailure(line string) {
	c := x.dial()
	c.say("request", x.head(line, "Host: "+netip.AddrFrom4([4]byte{127, 0, 0, 1}).String())...)
	if r, answered := c.refusal(connectHTTP(), "the request"); answered {
		x.want(r.http.code >= 400, "the code is %d", r.http.code)
	}
}

func (x *Exchange) wantChallenge(headers ...string) reply {
	c, t := x.dial(), x.target(silent)
	c.say("request", connectHead(socks.AddrFrom(t.addr), headers...)...)
	r := c.replyHTTP()
	x.want(r.http.code == 407, "the code is %d", r.http.code)
	return r
}

func checkFailureLength(x *Exchange) {
	c, r := x.ask(connectHTTP(), socks.AddrFrom(x.target(refuses).addr))
	x.want(r.http.code >= 400, "the code is %d", r.http.code)
	x.wantBody(c, r.http)
}

// wantBody reads the body, which must have the length that it claims, or end.
func (x *Exchange) wantBody(c *conn, h *httpReply) []byte {
	length, has := h.get("content-length")
	if !has {
		b, end := c.ended()
		x.want(end, "there is no Content-Length, and the proxy does not hang up")
		return b
	}
	n, err := strconv.Atoi(length)
	x.want(err == nil && n >= 0 && n <= maxTaken, "Content-Length is %q", length)
	c.need(n, "the body")
	b := append([]byte(nil), c.in[:n]...)
	c.take("body", Part{"body", b})
	if conn, _ := h.get("connection"); strings.EqualFold(conn, "close") {
		c.ends("the body")
	}
	return b
}
