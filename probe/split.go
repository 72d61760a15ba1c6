package probe

import "hosier/socks"

// script is a whole conversation up to the tunnel: what is sent, and what to read
// before the next message may go.
type script struct {
	id, label string
	needs     []need
	profiles  Profile
	build     func(x *Exchange, t *target) ([][]Part, func(c *conn, step int))
}

func scripts() []script {
	var all []script
	for _, d := range dialects() {
		all = append(all, script{d.id, d.label, d.and(needTarget), early(d), func(x *Exchange, t *target) ([][]Part, func(*conn, int)) {
			return x.script(d, t)
		}})
	}
	return append(all, script{"password", "SOCKS5 with a password", []need{needPassword, needTarget}, RFC1928 | Tor, passwordScript})
}

func (x *Exchange) script(d dialect, t *target) ([][]Part, func(*conn, int)) {
	last := x.connectRequest(d, x.addr(d, t))
	if !d.five {
		return [][]Part{last}, func(c *conn, _ int) {
			x.want(c.reply(d).succeeded(), "the request was refused")
		}
	}
	open := x.opening()
	return append(open, last), func(c *conn, step int) {
		switch {
		case step == len(open):
			x.want(c.reply5().succeeded(), "the request was refused")
		case step == 0:
			x.want(c.method() == open[0][2].Bytes[0], "another method was chosen than offered")
		default:
			x.want(c.verdict() == 0, "the login was refused")
		}
	}
}

func passwordScript(x *Exchange, t *target) ([][]Part, func(*conn, int)) {
	user, pass := x.credentials()
	m := [][]Part{greeting(2), password(user, pass), request5(socks.Connect, socks.AddrFrom(t.addr))}
	return m, func(c *conn, step int) {
		switch step {
		case 0:
			x.want(c.method() == 2, "method 02 was not chosen")
		case 1:
			if s := c.verdict(); s != 0 && x.p.cfg.Login == nil {
				x.skip("the proxy judges passwords, and no login was given (--user)")
			} else if s != 0 {
				x.fail("the login was refused: status %02x", s)
			}
		default:
			x.want(c.reply5().succeeded(), "the request was refused")
		}
	}
}

func splitChecks() []Check {
	var all []Check
	for _, s := range scripts() {
		all = append(all, Check{
			ID: "split/halves-" + s.id, Title: s.label + " in two parts is read, wherever it is cut", Clause: "RFC 9293 s.3.8", Severity: Must, Profiles: s.profiles, needs: s.needs,
			Why: "Networks cut where they like; a server that wants a message in one read fails now and then, and nobody can say why.",
			run: func(x *Exchange) { x.halves(s) },
		}, Check{
			ID: "split/bytes-" + s.id, Title: s.label + " byte by byte is read", Clause: "RFC 9293 s.3.8", Severity: Must, Profiles: s.profiles, needs: s.needs,
			Why: "Slow links and simple clients send so.",
			run: func(x *Exchange) { x.byBytes(s) },
		})
	}
	return all
}

// halves holds the conversation once for every boundary of its messages.
func (x *Exchange) halves(s script) {
	t := x.target(echoes)
	messages, _ := s.build(x, t)
	for i, m := range messages {
		for at := 1; at < len(join(m)); at++ {
			x.cut(s, t, i, at)
		}
	}
	x.note = "cut at every byte"
}

// cut holds the conversation with message i in two parts.
func (x *Exchange) cut(s script, t *target, i, at int) {
	c := x.dial()
	messages, read := s.build(x, t)
	for step, m := range messages {
		b := join(m)
		if step != i {
			c.say("message", Part{"bytes", b})
		} else {
			at = min(at, len(b)-1)
			c.piece("first part", b[:at])
			x.pause(x.p.cfg.Pace)
			c.piece("second part", b[at:])
		}
		read(c, step)
	}
	c.echo(words())
	c.nc.Close()
}

func (x *Exchange) byBytes(s script) {
	c, t := x.dial(), x.target(echoes)
	messages, read := s.build(x, t)
	for step, m := range messages {
		for _, b := range join(m) {
			c.piece("byte", []byte{b})
			x.pause(x.p.cfg.Pace)
		}
		read(c, step)
	}
	c.echo(words())
}

// piece sends a part of a message. If a password may be in it, cut so that it would not
// be recognized, the bytes are not recorded.
func (c *conn) piece(what string, b []byte) {
	if c.x.p.cfg.Login != nil {
		c.x.record(Record{Conn: c.n, Sent: true, What: what + " (not shown: it may hold a password)"})
		c.write(b)
		return
	}
	c.say(what, Part{"bytes", b})
}
