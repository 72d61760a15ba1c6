package probe

import "hosier/socks"

func earlyChecks() []Check {
	var all []Check
	for _, d := range dialects() {
		all = append(all, earlyData(d), earlyRefused(d))
	}
	five := []need{needSOCKS5, needTarget}
	return append(all, []Check{
		{
			ID: "early/all-in-one", Title: "greeting, request and data may come in one write", Clause: "RFC 9293 s.3.8", Severity: Should, Profiles: RFC1928 | Tor, needs: five,
			Why: "TCP has no messages: a server that reads past its own loses what came after.",
			run: func(x *Exchange) {
				c, t, want := x.dial(), x.target(echoes), words()
				var m []Part
				for _, o := range x.opening() {
					m = append(m, o...)
				}
				m = append(m, request5(socks.Connect, socks.AddrFrom(t.addr))...)
				c.say("greeting, request and data", append(m, Part{"data", want})...)
				c.answerOpening()
				r := c.reply5()
				x.want(r.succeeded(), "the request was refused: %v", r)
				c.expect(want, "the echo of the early data")
			},
		},
		{
			ID: "early/all-with-password", Title: "greeting, password, request and data may come in one write", Clause: "RFC 9293 s.3.8", Severity: Should, Profiles: RFC1928 | Tor,
			needs: []need{needPassword, needTarget},
			Why:   "Two round trips less are worth a lot on a long way, and C tor loses a reply there.",
			run:   checkAllWithPassword,
		},
		{
			ID: "early/refused-in-one", Title: "greeting and a request that is refused at once get both answers", Clause: "RFC 1928 s.6", Severity: Should, Profiles: RFC1928 | Tor, needs: five,
			Why: "C tor loses the first of the two, and the client reads the second as the first.",
			run: func(x *Exchange) {
				c := x.dial()
				var m []Part
				for _, o := range x.opening() {
					m = append(m, o...)
				}
				c.say("greeting and request", append(m, request5(0x77, socks.AddrFrom(x.target(silent).addr))...)...)
				c.answerOpening()
				x.want(!c.reply5().succeeded(), "command 77 was granted")
			},
		},
		{
			ID: "early/order", Title: "early data stay in front of later data", Clause: "RFC 9293 s.3.8", Severity: Must, Profiles: RFC1928 | Tor, needs: five,
			Why: "A stream whose parts change places is garbage.",
			run: func(x *Exchange) {
				c, t := x.dial(), x.target(silent)
				c.enter()
				want := words()
				c.say("request and data", append(request5(socks.Connect, socks.AddrFrom(t.addr)), Part{"data", want})...)
				r := c.reply5()
				x.want(r.succeeded(), "the request was refused: %v", r)
				for range 3 {
					more := words()
					c.say("data", Part{"data", more})
					want = append(want, more...)
				}
				s := x.await(t, "did not get the data", func(s sighting) bool { return s.Bytes >= len(want) })
				x.want(string(s.Data) == string(want), "the target got the parts in another order")
			},
		},
		{
			ID: "early/large", Title: "64 KiB of early data arrive whole", Clause: "RFC 9293 s.3.8", Severity: Should, Profiles: Tor, needs: five,
			Why: "Tor's clients send their whole first request early.",
			run: func(x *Exchange) {
				c, t, want := x.dial(), x.target(echoes), noise(64<<10)
				c.enter()
				c.say("request and data", append(request5(socks.Connect, socks.AddrFrom(t.addr)), Part{"data", want})...)
				r := c.reply5()
				x.want(r.succeeded(), "the request was refused: %v", r)
				c.expect(want, "the echo of the early data")
			},
		},
	}...)
}

// earlyData sends data right behind the request.
func earlyData(d dialect) Check {
	return Check{
		ID: "early/" + d.id, Title: "data right behind a " + d.label + " request arrive", Clause: "RFC 9293 s.3.8", Severity: Should, Profiles: early(d), needs: d.and(needTarget),
		Why: "TCP has no messages: a server that reads past the request and forgets the rest loses the client's first words.",
		run: func(x *Exchange) {
			c, t, want := x.dial(), x.target(echoes), words()
			a := x.addr(d, t)
			if d.five {
				c.enter()
			}
			c.say("request and data", append(x.connectRequest(d, a), Part{"data", want})...)
			r := c.reply(d)
			x.want(r.succeeded(), "the request was refused: %v", r)
			c.expect(want, "the echo of the early data")
		},
	}
}

// earlyRefused sees whether the bytes that nobody wants tear the reply down with them:
// closing a socket with unread bytes resets the connection.
func earlyRefused(d dialect) Check {
	return Check{
		ID: "early/refused-" + d.id, Title: "a " + d.label + " failure arrives although data came early", Clause: "RFC 9293 s.3.6.1", Severity: Should, Profiles: early(d), needs: d.and(needTarget),
		Why: "A server that closes on unread bytes resets the connection, and the reset overtakes the reason.",
		run: func(x *Exchange) {
			c, t := x.dial(), x.target(refuses)
			a := x.addr(d, t)
			if d.five {
				c.enter()
			}
			c.say("request and data", append(x.connectRequest(d, a), Part{"data", noise(16 << 10)})...)
			x.want(!c.reply(d).succeeded(), "a refused port was a success")
		},
	}
}

// early is the profile of a dialect.
func early(d dialect) Profile {
	if d.five {
		return RFC1928 | Tor
	}
	return Tor
}

func checkAllWithPassword(x *Exchange) {
	c, t, want := x.dial(), x.target(echoes), words()
	user, pass := x.credentials()
	m := append(greeting(2), password(user, pass)...)
	m = append(m, request5(socks.Connect, socks.AddrFrom(t.addr))...)
	c.say("greeting, password, request and data", append(m, Part{"data", want})...)
	x.want(c.method() == 2, "method 02 was not chosen")
	s := c.verdict()
	if s != 0 && x.p.cfg.Login == nil {
		x.skip("the proxy judges passwords, and no login was given (--user)")
	}
	x.want(s == 0, "the login was refused: status %02x", s)
	r := c.reply5()
	x.want(r.succeeded(), "the request was refused: %v", r)
	c.expect(want, "the echo of the early data")
}
