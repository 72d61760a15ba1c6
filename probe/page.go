package probe

import "strings"

const clauseHTTP = "Tor socks-extensions s.4"

// pageChecks are about HTTP clients that are lost: browsers and programs that were
// pointed at a SOCKS port as if it were an HTTP proxy or a web server.
func pageChecks() []Check {
	return []Check{
		{
			ID: "page/get", Title: "GET gets an HTTP answer that explains", Clause: clauseHTTP, Severity: Should, Profiles: Tor,
			Why: "People who set the proxy up wrongly see what is wrong, in place of a broken connection.",
			run: func(x *Exchange) { x.ownPage() },
		},
		{
			ID: "page/proxy-get", Title: "GET of a whole URL gets one, too", Clause: clauseHTTP, Severity: Should, Profiles: Tor,
			Why: "This is what a browser sends that takes the port for an HTTP proxy.",
			run: func(x *Exchange) {
				x.page("GET http://www.example.test/ HTTP/1.1", "Host: www.example.test", "Accept: text/html")
			},
		},
		{
			ID: "page/post", Title: "POST gets one, too", Clause: clauseHTTP, Severity: Should, Profiles: Tor,
			Why: "Programs with an API do not begin with GET.",
			run: func(x *Exchange) { x.page("POST /api HTTP/1.1", "Host: localhost", "Content-Length: 0") },
		},
		{
			ID: "page/head", Title: "HEAD gets an answer without a body", Clause: "RFC 9110 s.9.3.2", Severity: Should, Profiles: Tor,
			Why: "A client takes the body for the next answer.",
			run: func(x *Exchange) {
				c := x.dial()
				c.say("request", head("HEAD / HTTP/1.1", "Host: localhost")...)
				r := x.pageHead(c)
				x.want(r.code >= 400, "the code is %d", r.code)
				b, _ := c.ended()
				x.want(len(b) == 0, "a body of %d bytes came", len(b))
			},
		},
		{
			ID: "page/failure", Title: "the answer is a failure", Clause: clauseHTTP, Severity: Must, Profiles: Tor,
			Why: "A program that gets 200 takes the page for what it asked for.",
			run: func(x *Exchange) {
				c := x.dial()
				c.say("request", head("GET / HTTP/1.1", "Host: localhost")...)
				if b, _ := c.ended(); len(b) > 12 && string(b[:5]) == "HTTP/" {
					x.want(b[9] == '4' || b[9] == '5', "the code is %s", string(b[9:12]))
				}
			},
		},
		{
			ID: "page/no-echo", Title: "nothing of the request stands in the answer", Clause: clauseHTTP, Severity: Must, Profiles: Tor,
			Why: "An echo lets a web page run its script as if it came from the proxy.",
			run: func(x *Exchange) {
				c, mark := x.dial(), x.p.token()
				c.say("request", head("GET /"+mark+"?"+mark+" HTTP/1.1", "Host: "+mark+".example.test", "User-Agent: "+mark)...)
				b, _ := c.ended()
				x.want(!strings.Contains(string(b), mark), "the answer repeats a part of the request")
			},
		},
		{
			ID: "page/length", Title: "the page is as long as it says", Clause: "RFC 9112 s.6.3", Severity: Must, Profiles: Tor,
			Why: "Otherwise the browser shows half a page, or waits.",
			run: func(x *Exchange) {
				c := x.dial()
				c.say("request", head("GET / HTTP/1.1", "Host: localhost", "Accept: text/html")...)
				if c.fill(5, x.soon()) != nil || string(c.in[:5]) != "HTTP/" {
					x.refused("there is no page")
				}
				x.wantBody(c, c.replyHTTP().http)
			},
		},
		{
			ID: "page/type", Title: "the page says what it is, and its character set", Clause: "RFC 9110 s.8.3", Severity: Should, Profiles: Tor,
			Why: "A browser that guesses may guess a script.",
			run: func(x *Exchange) {
				r := x.ownPage()
				kind, _ := r.get("content-type")
				x.want(strings.Contains(kind, "charset="), "Content-Type is %q", kind)
			},
		},
		{
			ID: "page/closes", Title: "the connection is closed after the page", Clause: clauseHTTP, Severity: Should, Profiles: Tor,
			Why: "Nothing can follow.",
			run: func(x *Exchange) {
				c := x.dial()
				c.say("request", head("GET / HTTP/1.1", "Host: localhost")...)
				x.pageHead(c)
				_, end := c.ended()
				x.want(end, "the proxy did not hang up within %v", x.p.cfg.Timeout)
			},
		},
		{
			ID: "page/unfinished", Title: "a head without its end is answered, too", Clause: clauseHTTP, Severity: Hint, Profiles: Tor,
			Why: "Programs that speak something like HTTP see what is wrong.",
			run: func(x *Exchange) {
				c := x.dial()
				c.say("part of a head", text("request line", "GET / HTTP/1.1\r\n"))
				x.pageHead(c)
			},
		},
		{
			ID: "page/cross-site", Title: "a web page that tries the port gets no HTTP answer", Clause: "Tor proposal 365", Severity: Should, Profiles: Tor,
			Why: "Any web site could find out which proxy somebody runs.",
			run: func(x *Exchange) {
				c := x.dial()
				c.say("request", head("GET / HTTP/1.1", "Host: localhost", "Origin: http://www.example.test", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors")...)
				b, _ := c.ended()
				x.want(len(b) < 5 || string(b[:5]) != "HTTP/", "it got one")
			},
		},
	}
}

// ownPage asks as a browser does that was pointed at the port itself. The page is then what was
// asked for, and may be a success; a redirect explains nothing.
func (x *Exchange) ownPage() *httpReply {
	c := x.dial()
	c.say("request", head("GET / HTTP/1.1", "Host: localhost", "Accept: text/html")...)
	r := x.pageHead(c)
	x.want(r.code == 200 || r.code >= 400, "the code is %d", r.code)
	return r
}

// page asks and wants an HTTP failure in return.
func (x *Exchange) page(line string, headers ...string) *httpReply {
	c := x.dial()
	c.say("request", head(line, headers...)...)
	r := x.pageHead(c)
	x.want(r.code >= 400, "the code is %d", r.code)
	return r
}

// pageHead reads the head of the page.
func (x *Exchange) pageHead(c *conn) *httpReply {
	err := c.fill(5, x.soon())
	x.want(err == nil && string(c.in[:5]) == "HTTP/", "no HTTP answer came")
	return c.replyHTTP().http
}
