package probe

import "hosier/socks"

func halfCloseChecks() []Check {
	var all []Check
	for _, d := range dialects() {
		if d.named {
			continue // SOCKS4A's tunnel is SOCKS4's
		}
		all = append(all, halfCloseOf(d)...)
	}
	return append(all, Check{
		ID: "halfclose/mid-request", Title: "a client that ends in the middle of its request is let go", Clause: "common practice", Severity: Should, Profiles: Tor, needs: []need{needSOCKS5},
		Why: "Programs that are killed end so, and a server that goes on waiting runs out of sockets.",
		run: func(x *Exchange) {
			c := x.dial()
			c.enter()
			c.say("part of a request", request5(socks.Connect, socks.Addr{Name: "www.example.test", Port: 80})[:3]...)
			c.finish()
			_, end := c.ended()
			x.want(end, "the proxy did not hang up within %v", x.p.cfg.Timeout)
		},
	}, Check{
		ID: "halfclose/large", Title: "a megabyte comes back after the client has ended", Clause: "RFC 9293 s.3.6", Severity: Should, Profiles: RFC1928, needs: []need{needSOCKS5, needTarget},
		Why: "A proxy that gives the far side only a moment more cuts long answers short.",
		run: func(x *Exchange) {
			c := x.connect(socks5(), x.target(counts))
			data := noise(512 << 10)
			c.say("data", Part{"data", data})
			c.finish()
			c.expect(noise(len(data)), "the answer")
			c.ends("the answer")
		},
	})
}

func halfCloseOf(d dialect) []Check {
	needs := d.and(needTarget)
	return []Check{
		{
			ID: "halfclose/client-" + d.id, Title: "a client that has ended gets its answer (" + d.label + ")", Clause: "RFC 9293 s.3.6", Severity: Should, Profiles: early(d) &^ Tor, needs: needs,
			Why: "Many simple clients end their side when all is asked; the answer must still come.",
			run: func(x *Exchange) {
				c := x.connect(d, x.target(counts))
				want := words()
				c.say("data", Part{"data", want})
				c.finish()
				c.expect(noise(len(want)), "the answer")
				c.ends("the answer")
			},
		},
		{
			ID: "halfclose/target-" + d.id, Title: "a target that has ended still gets data (" + d.label + ")", Clause: "RFC 9293 s.3.6", Severity: Should, Profiles: early(d) &^ Tor, needs: needs,
			Why: "The end of one direction is not the end of the other.",
			run: func(x *Exchange) {
				t := x.target(closes)
				c := x.connect(d, t)
				c.expect([]byte(hello), "the target's hello")
				c.ends("the target's end")
				want := words()
				c.say("data", Part{"data", want})
				x.await(t, "did not get the data", func(s sighting) bool { return string(s.Data) == string(want) })
			},
		},
		{
			ID: "halfclose/request-" + d.id, Title: "a request, data and the end in one go are served (" + d.label + ")", Clause: "RFC 9293 s.3.6", Severity: Should, Profiles: early(d) &^ Tor, needs: needs,
			Why: "A client with all said has no reason to wait; C tor drops it.",
			run: func(x *Exchange) {
				c, t, want := x.dial(), x.target(counts), words()
				if d.five {
					c.enter()
				}
				c.say("request and data", append(x.connectRequest(d, x.addr(d, t)), Part{"data", want})...)
				c.finish()
				r := c.reply(d)
				x.want(r.succeeded(), "the request was refused: %v", r)
				c.expect(noise(len(want)), "the answer")
			},
		},
		{
			ID: "halfclose/both-" + d.id, Title: "when both sides have ended, so has the tunnel (" + d.label + ")", Clause: "RFC 9293 s.3.6", Severity: Must, Profiles: early(d), needs: needs,
			Why: "A tunnel that outlives both its ends is two sockets lost for good.",
			run: func(x *Exchange) {
				t := x.target(departs)
				c := x.connect(d, t)
				c.expect([]byte(hello), "the target's hello")
				c.finish()
				c.ends("both ends")
			},
		},
	}
}
