package probe

import (
	"strings"

	"hosier/socks"
)

func authChecks() []Check {
	pass := []need{needPassword}
	anyone := []need{needAnyPassword}
	known := []need{needPassword, needLogin}
	guarded := []need{needGuarded, needTarget}
	return []Check{
		{
			ID: "auth/offered-alone", Title: "02 alone is answered with 02 or FF", Clause: "RFC 1928 s.3", Severity: Must, Profiles: RFC1928 | Tor, needs: []need{needSOCKS5},
			Why: "A client that offers only a password relies on being asked for it, or told no.",
			run: func(x *Exchange) {
				c := x.dial()
				c.say("greeting", greeting(2)...)
				m := c.method()
				x.want(m == 2 || m == 0xFF, "method %02x was chosen where only 02 was offered", m)
				if m == 0xFF {
					x.refused("the proxy has no user name and password")
				}
			},
		},
		{
			ID: "auth/reply-version", Title: "the password reply has version 01", Clause: "RFC 1929 s.2", Severity: Must, Profiles: RFC1928 | Tor, needs: pass,
			Why: "It is the version of the sub-negotiation, not of SOCKS; clients check it.",
			run: func(x *Exchange) { x.dial().enterWith(x.credentials()) },
		},
		{
			ID: "auth/two-bytes", Title: "the password reply is two bytes and no more", Clause: "RFC 1929 s.2", Severity: Must, Profiles: RFC1928 | Tor, needs: pass,
			Why: "A byte too many is read as the beginning of the reply that comes next.",
			run: func(x *Exchange) {
				c := x.dial()
				if c.enterWith(x.credentials()) == 0 {
					c.quiet("after the password reply")
				}
			},
		},
		{
			ID: "auth/then-request", Title: "a request is served after the login", Clause: "RFC 1929 s.2", Severity: Must, Profiles: RFC1928 | Tor, needs: []need{needPassword, needTarget},
			Why: "Otherwise the login is for nothing.",
			run: func(x *Exchange) {
				c := x.dial()
				s := c.enterWith(x.credentials())
				if s != 0 && x.p.cfg.Login == nil {
					x.skip("the proxy judges passwords, and no login was given (--user)")
				}
				x.want(s == 0, "the login that was given is refused: status %02x", s)
				c.say("request", request5(socks.Connect, socks.AddrFrom(x.target(echoes).addr))...)
				r := c.reply5()
				x.want(r.succeeded(), "the request after the login was refused: %v", r)
				c.echo(words())
			},
		},
		{
			ID: "auth/waits", Title: "half a password message is not answered", Clause: "RFC 1929 s.2", Severity: Must, Profiles: RFC1928 | Tor, needs: pass,
			Why: "A server that judges half a password locks people out whose packets were split.",
			run: func(x *Exchange) {
				c := x.dial()
				c.say("greeting", greeting(2)...)
				x.want(c.method() == 2, "method 02 was not chosen")
				c.say("part of a password", password("user", "password")[:4]...)
				c.quiet("before the password was whole")
			},
		},
		{
			ID: "auth/request-instead", Title: "a request in place of the password is not served", Clause: "RFC 1929 s.2", Severity: Must, Profiles: RFC1928 | Tor, needs: []need{needPassword, needTarget},
			Why: "Whoever leaves the login out must not get past it.",
			run: func(x *Exchange) {
				c := x.dial()
				c.say("greeting", greeting(2)...)
				x.want(c.method() == 2, "method 02 was not chosen")
				x.wantUnserved(c, x.target(counts), "a request without the password")
			},
		},
		{
			ID: "auth/wrong-version", Title: "a password message of another version is not accepted", Clause: "RFC 1929 s.2", Severity: Should, Profiles: RFC1928, needs: pass,
			Why: "What is not RFC 1929 cannot be judged as a password.",
			run: func(x *Exchange) {
				c := x.dial()
				c.say("greeting", greeting(2)...)
				x.want(c.method() == 2, "method 02 was not chosen")
				c.say("password", set(password(x.credentials()), "VER", 5)...)
				b := c.first(2)
				x.want(len(b) < 2 || b[1] != 0, "a password message of version 05 was accepted")
			},
		},
		{
			ID: "auth/longest", Title: "255 bytes of user name and of password are read", Clause: "RFC 1929 s.2", Severity: Must, Profiles: RFC1928 | Tor, needs: pass,
			Why: "Access tokens are long, and a smaller buffer cuts them or loses its place.",
			run: func(x *Exchange) {
				s := x.dial().enterWith(strings.Repeat("u", 255), strings.Repeat("p", 255))
				x.want(s == 0 || x.p.unmet[needAnyPassword] != "", "status %02x though any other password is accepted", s)
			},
		},
		{
			ID: "auth/any-bytes", Title: "any byte may stand in user name and password", Clause: "RFC 1929 s.2", Severity: Should, Profiles: RFC1928 | Tor, needs: anyone,
			Why: "Names and passwords are not ASCII for most of the world.",
			run: func(x *Exchange) {
				s := x.dial().enterWith("z\u00fcrich\x00\xff", "\x00\x01\r\n\xfe")
				x.want(s == 0, "status %02x", s)
			},
		},
		authEmpty("empty-user", "user name", "", "password"),
		authEmpty("empty-password", "password", "user", ""),
		authEmpty("both-empty", "user name and password", "", ""),
		{
			ID: "auth/twice", Title: "a second password message is not accepted", Clause: "RFC 1929 s.2", Severity: Should, Profiles: RFC1928, needs: anyone,
			Why: "Trying passwords until one fits must cost a connection each.",
			run: func(x *Exchange) {
				c := x.dial()
				x.want(c.enterWith("a", "b") == 0, "the first password was refused")
				c.say("password", password("c", "d")...)
				b := c.first(2)
				x.want(len(b) < 2 || b[1] != 0, "a second password was accepted")
			},
		},
		{
			ID: "auth/unasked", Title: "a password that nobody asked for is accepted", Clause: "Tor socks-extensions s.1.1", Severity: Should, Profiles: Tor, needs: []need{needAnyPassword, needAnonymous, needTarget},
			Why: "There are clients that send it although 00 was chosen, and Tor takes it.",
			run: checkUnasked,
		},
		{
			ID: "auth/wrong-password", Title: "a wrong password is refused", Clause: "RFC 1929 s.2", Severity: Must, Profiles: RFC1928, needs: known,
			Why: "Otherwise the password protects nobody.",
			run: func(x *Exchange) {
				s := x.dial().enterWith(x.login().User, x.login().Password+"x")
				x.want(s != 0, "a wrong password was accepted")
			},
		},
		{
			ID: "auth/wrong-user", Title: "a wrong user name is refused", Clause: "RFC 1929 s.2", Severity: Must, Profiles: RFC1928, needs: known,
			Why: "A password belongs to its user.",
			run: func(x *Exchange) {
				s := x.dial().enterWith(x.login().User+"x", x.login().Password)
				x.want(s != 0, "the password of another user was accepted")
			},
		},
		{
			ID: "auth/cut-password", Title: "the beginning of the password is not enough", Clause: "RFC 1929 s.2", Severity: Must, Profiles: RFC1928, needs: known,
			Why: "Servers that compare up to a NUL or up to the shorter length have been broken so.",
			run: func(x *Exchange) {
				for _, p := range []string{"", x.login().Password[:len(x.login().Password)/2], x.login().Password + "\x00x"} {
					s := x.dial().enterWith(x.login().User, p)
					x.want(s != 0 || p == x.login().Password, "a part of the password, or one with a NUL behind it, was accepted")
				}
			},
		},
		{
			ID: "auth/closes-after-refusal", Title: "the connection is closed after a refused login", Clause: "RFC 1929 s.2", Severity: Must, Profiles: RFC1928, needs: known,
			Why: "RFC 1929 says must: a connection that stays open can be tried again.",
			run: func(x *Exchange) {
				c := x.dial()
				x.want(c.enterWith(x.login().User, x.login().Password+"x") != 0, "a wrong password was accepted")
				c.ends("the refused login")
			},
		},
		{
			ID: "auth/no-request-after-refusal", Title: "a request after a refused login is not served", Clause: "RFC 1929 s.2", Severity: Must, Profiles: RFC1928, needs: []need{needPassword, needLogin, needTarget},
			Why: "A refusal that is only words is none.",
			run: func(x *Exchange) {
				c := x.dial()
				t := x.target(counts)
				c.say("greeting", greeting(2)...)
				x.want(c.method() == 2, "method 02 was not chosen")
				c.say("password and request", append(password(x.login().User, "wrong"), request5(socks.Connect, socks.AddrFrom(t.addr))...)...)
				x.want(c.verdict() != 0, "a wrong password was accepted")
				c.ended()
				x.wantUnreached(t, "a request after a refused login")
			},
		},
		{
			ID: "auth/no-way-around", Title: "00 with a request behind it is not served", Clause: "RFC 1928 s.3", Severity: Must, Profiles: RFC1928, needs: guarded,
			Why: "A client that does not wait for FF must not get in either.",
			run: func(x *Exchange) {
				c := x.dial()
				c.say("greeting", greeting(0)...)
				x.wantUnserved(c, x.target(counts), "a request without a login")
			},
		},
		{
			ID: "auth/no-way-around-socks4", Title: "SOCKS4 is not a way around the login", Clause: "common practice", Severity: Must, needs: guarded,
			Why: "SOCKS4 has no password, so where one is wanted it must be refused.",
			run: func(x *Exchange) {
				c, t := x.dial(), x.target(counts)
				c.say("request", request4(socks.Connect, socks.AddrFrom(t.addr), x.login().User)...)
				c.ended()
				x.wantUnreached(t, "a SOCKS4 request without a password")
			},
		},
		{
			ID: "auth/no-way-around-http", Title: "HTTP CONNECT is not a way around the login", Clause: "RFC 9110 s.11.7", Severity: Must, needs: guarded,
			Why: "A second dialect on the port is a second door, and wants the same lock.",
			run: func(x *Exchange) {
				c, t := x.dial(), x.target(counts)
				c.say("request", connectHead(socks.AddrFrom(t.addr))...)
				c.ended()
				x.wantUnreached(t, "a CONNECT without a login")
			},
		},
	}
}

func authEmpty(name, what, user, pass string) Check {
	return Check{
		ID: "auth/" + name, Title: "an empty " + what + " is accepted where any is", Clause: "Tor socks-extensions s.1.1",
		Severity: Should, Profiles: Tor, needs: []need{needAnyPassword},
		Why: "Programs that use credentials only to be kept apart leave one of them empty.",
		run: func(x *Exchange) {
			s := x.dial().enterWith(user, pass)
			x.want(s == 0, "status %02x", s)
		},
	}
}

// credentials are the login, or any.
func (x *Exchange) credentials() (user, pass string) {
	if x.p.cfg.Login == nil {
		return "probe", x.p.token()
	}
	return x.login().User, x.login().Password
}

// wantUnserved asks for a connection on c and fails if the target hears of it.
func (x *Exchange) wantUnserved(c *conn, t *target, what string) {
	c.say("request", request5(socks.Connect, socks.AddrFrom(t.addr))...)
	c.ended()
	x.wantUnreached(t, what)
}

// wantUnreached fails if somebody connected to the target. The proxy has hung up or had
// the time of an answer.
func (x *Exchange) wantUnreached(t *target, what string) {
	x.pause(x.p.cfg.Quiet)
	s, err := t.seen()
	if err != nil {
		x.skip("the target cannot be asked: %v", err)
	}
	x.want(s.Conns == 0, "%s reached the target", what)
}

func checkUnasked(x *Exchange) {
	c := x.wantMethod(greeting(0), 0)
	c.say("password", password("user", "password")...)
	s := c.verdict()
	x.want(s == 0, "the password that nobody asked for got status %02x", s)
	c.say("request", request5(socks.Connect, socks.AddrFrom(x.target(echoes).addr))...)
	r := c.reply5()
	x.want(r.succeeded(), "the request after it was refused: %v", r)
	c.echo(words())
}
