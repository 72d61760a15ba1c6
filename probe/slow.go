package probe

import (
	"time"

	"hosier/socks"
)

func slowChecks() []Check {
	five := []need{needSOCKS5}
	stalled := func(name, what string, needs []need, begin func(x *Exchange, c *conn)) Check {
		return Check{
			ID: "slow/" + name, Title: "a client that stops " + what + " is dropped", Clause: "common practice", Severity: Should, needs: needs, slow: true,
			Why: "Clients that vanish without a word use up all sockets of a server that waits for ever.",
			run: func(x *Exchange) {
				c := x.dial()
				begin(x, c)
				x.untilDropped(c)
			},
		}
	}
	return []Check{
		stalled("silent", "before its first byte", nil, func(*Exchange, *conn) {}),
		stalled("mid-greeting", "in its greeting", five, func(_ *Exchange, c *conn) {
			c.say("part of a greeting", part("VER", 5), part("NMETHODS", 2), part("METHODS", 0))
		}),
		stalled("mid-password", "before its password", []need{needPassword}, func(x *Exchange, c *conn) {
			c.say("greeting", greeting(2)...)
			c.method()
		}),
		stalled("mid-request", "in its request", five, func(_ *Exchange, c *conn) {
			c.enter()
			c.say("part of a request", part("VER", 5), part("CMD", 1))
		}),
		stalled("mid-socks4", "in its SOCKS4 user id", []need{needSOCKS4, needTarget}, func(x *Exchange, c *conn) {
			c.say("part of a request", request4(socks.Connect, socks.AddrFrom(x.target(silent).addr), "user")[:5]...)
		}),
		stalled("mid-http", "in its HTTP head", []need{needHTTP}, func(_ *Exchange, c *conn) {
			c.say("part of a head", text("request line", "CONNECT www.example.test:443 HTTP/1.1\r\n"), text("header", "Host: "))
		}),
		{
			ID: "slow/trickle", Title: "a client that sends a byte now and then is dropped, too", Clause: "common practice", Severity: Hint, needs: []need{needSOCKS4, needTarget}, slow: true,
			Why: "Each byte must not buy new patience, or a handful of clients can hold a server for days.",
			run: checkTrickle,
		},
		{
			ID: "slow/patient", Title: "a client that pauses for a second is served", Clause: "common practice", Severity: Must, Profiles: RFC1928 | Tor, needs: []need{needSOCKS5, needTarget},
			Why: "Over Tor, a satellite or a bad line a second is nothing.",
			run: func(x *Exchange) {
				c, t := x.dial(), x.target(echoes)
				x.pause(time.Second)
				c.enter()
				r := request5(socks.Connect, socks.AddrFrom(t.addr))
				c.say("part of a request", r[:4]...)
				x.pause(time.Second)
				c.say("rest of the request", r[4:]...)
				got := c.reply5()
				x.want(got.succeeded(), "the request was refused: %v", got)
				c.echo(words())
			},
		},
		{
			ID: "slow/idle-tunnel", Title: "a tunnel in which nothing moves for a while stays", Clause: "common practice", Severity: Must, Profiles: RFC1928 | Tor, needs: []need{needSOCKS5, needTarget}, slow: true,
			Why: "Chats and shells are silent most of the time.",
			run: func(x *Exchange) {
				c := x.connect(socks5(), x.target(echoes))
				c.echo(words())
				x.pause(x.p.cfg.Patience / 3)
				c.echo(words())
			},
		},
		{
			ID: "slow/others-served", Title: "clients that are silent do not keep others waiting", Clause: "common practice", Severity: Must, Profiles: RFC1928 | Tor, needs: []need{needSOCKS5, needTarget},
			Why: "One stuck program must not take the proxy away from everybody.",
			run: func(x *Exchange) {
				for range 16 {
					x.dial().say("part of a greeting", part("VER", 5))
				}
				x.connect(socks5(), x.target(echoes)).echo(words())
			},
		},
	}
}

// untilDropped waits for the proxy to lose its patience. It may say something before.
func (x *Exchange) untilDropped(c *conn) {
	begun := time.Now()
	if err := c.fill(maxTaken, begun.Add(x.p.cfg.Patience)); err == nil || !isEOF(err) {
		x.fail("the proxy still waits after %v", x.p.cfg.Patience)
	}
	c.rest("last words")
	c.event("hangs up")
	x.note = "dropped after " + time.Since(begun).Round(100*time.Millisecond).String()
}

// checkTrickle sends a byte in every thirtieth part of the patience.
func checkTrickle(x *Exchange) {
	c := x.dial()
	c.say("part of a request", request4(socks.Connect, socks.AddrFrom(x.target(silent).addr), "user")[:5]...)
	for end := time.Now().Add(x.p.cfg.Patience); time.Now().Before(end); {
		if err := c.fill(maxTaken, time.Now().Add(x.p.cfg.Patience/30)); isEOF(err) {
			c.rest("last words")
			c.event("hangs up")
			return
		}
		c.say("byte", text("USERID", "u"))
	}
	x.fail("the proxy still waits after %v", x.p.cfg.Patience)
}
