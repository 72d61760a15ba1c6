package probe

import "hosier/socks"

const clauseIsolation = "Tor socks-extensions s.3"

// isolationChecks are about credentials that say nothing but which streams to keep
// apart. Whether they are kept apart does not show on this side of the proxy.
func isolationChecks() []Check {
	anyone := []need{needAnyPassword, needTarget}
	return []Check{
		{
			ID: "isolation/credentials", Title: "different credentials are all served", Clause: clauseIsolation, Severity: Must, Profiles: Tor, needs: anyone,
			Why: "Tor Browser makes a pair up for every site.",
			run: func(x *Exchange) {
				t := x.target(echoes)
				for range 3 {
					c := x.dial()
					x.want(c.enterWith(x.p.token(), x.p.token()) == 0, "made-up credentials were refused")
					c.say("request", request5(socks.Connect, socks.AddrFrom(t.addr))...)
					r := c.reply5()
					x.want(r.succeeded(), "the request was refused: %v", r)
					c.echo(words())
				}
			},
		},
		{
			ID: "isolation/tor-0", Title: "user name <torS0X>0 is accepted", Clause: "Tor proposal 351", Severity: Should, Profiles: Tor, needs: anyone,
			Why: "New Tor clients ask for isolation in this form.",
			run: func(x *Exchange) {
				x.want(x.dial().enterWith("<torS0X>0", x.p.token()) == 0, "it was refused")
			},
		},
		torFormat("tor-9", "an unknown format", "<torS0X>9"),
		torFormat("tor-bare", "no format", "<torS0X>"),
		torFormat("tor-0x", "more than the format", "<torS0X>0x"),
		{
			ID: "isolation/tor-case", Title: "user name <TORs0x>9 is an ordinary one", Clause: "Tor proposal 351", Severity: Hint, Profiles: Tor, needs: anyone,
			Why: "Only the exact eight bytes have a meaning.",
			run: func(x *Exchange) {
				x.want(x.dial().enterWith("<TORs0x>9", x.p.token()) == 0, "it was refused")
			},
		},
		isolationHeader("header", "X-Tor-Stream-Isolation: "),
		isolationHeader("new-header", "Tor-Stream-Isolation: "),
		isolationHeader("basic", "Proxy-Authorization: Basic dG9yLWlzbzo"),
	}
}

func torFormat(id, what, user string) Check {
	return Check{
		ID: "isolation/" + id, Title: user + ", " + what + ", is refused with status 01 of RFC 1929", Clause: "Tor proposal 351", Severity: Should, Profiles: Tor,
		needs: []need{needAnyPassword, needTarget},
		Why:   "The client asked for what the proxy does not know, and would get something else; C tor sends a reply that no client expects there.",
		run: func(x *Exchange) {
			x.want(x.dial().enterWith(user, x.p.token()) != 0, "it was accepted")
		},
	}
}

func isolationHeader(id, header string) Check {
	return Check{
		ID: "isolation/" + id, Title: "CONNECT with " + header[:len(header)-2] + "… is served", Clause: "Tor proposal 365", Severity: Should, Profiles: Tor,
		needs: []need{needHTTP, needTarget, needAnonymous},
		Why:   "A proxy that stumbles over the header keeps Tor's clients out.",
		run: func(x *Exchange) {
			c, t := x.dial(), x.target(echoes)
			c.say("request", connectHead(socks.AddrFrom(t.addr), header+x.p.token()[:4])...)
			r := c.replyHTTP()
			x.want(r.succeeded(), "the request was refused: %v", r)
			c.echo(words())
		},
	}
}
