package probe

import (
	"hosier/socks"
)

func garbageChecks() []Check {
	five := []need{needSOCKS5, needTarget}
	return []Check{
		unserved("zeros", "zeros get no tunnel", make([]byte, 64)),
		unserved("ones", "bytes FF get no tunnel", []byte{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}),
		unserved("tls", "a TLS hello gets no SOCKS reply", []byte("\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x03"+
			"0123456789abcdef0123456789abcdef\x00\x00\x04\x13\x01\x13\x02\x01\x00")),
		unserved("ssh", "an SSH banner gets no SOCKS reply", []byte("SSH-2.0-OpenSSH_9.2\r\n")),
		{
			ID: "garbage/survives", Title: "after a hundred lots of garbage the proxy still serves", Clause: "common practice", Severity: Must, Profiles: RFC1928 | Tor, needs: five,
			Why: "Whatever one client sends, the others must not notice.",
			run: checkSurvives,
		},
		{
			ID: "garbage/after-greeting", Title: "garbage in place of a request gets no success", Clause: "RFC 1928 s.4", Severity: Must, Profiles: RFC1928 | Tor, needs: five,
			Why: "What cannot be read must not be guessed.",
			run: func(x *Exchange) {
				c := x.dial()
				c.enter()
				c.say("garbage", Part{"bytes", []byte("\x07\x00\xff\xfe\x80 garbage\r\n\r\n")})
				b := c.first(2)
				x.want(len(b) < 2 || b[1] != 0, "it was answered with a success")
			},
		},
		refusesName("name-empty", "an empty name is refused", Must, "Some resolvers answer it with the proxy's own host.", ""),
		refusesName("name-space", "a name with a space is refused", Should, "No host is called so; the name was not meant as one.", "local host"),
		refusesName("name-line-end", "a name with a line end is refused", Must, "It forges lines in logs, and headers in front of an HTTP proxy.", "localhost\r\nX-Injected: 1"),
		refusesName("name-port", "a name with a port in it is refused", Should, "Client and proxy would not agree on where it leads.", "127.0.0.1:80"),
		refusesName("name-zone", "an IPv6 address with a zone is refused", Should, "A zone is a network card of the proxy's host, and none of the client's business.", "fe80::1%lo"),
		refusesName("name-open-bracket", "half a bracketed address is refused", Should, "What cannot be read must not be guessed.", "[::1"),
		{
			ID: "garbage/name-nul", Title: "a name with a NUL is not cut there", Clause: "RFC 1928 s.5", Severity: Must, Profiles: RFC1928 | Tor, needs: append(five[:2:2], needName),
			Why: "Whoever judges the whole name sees another one than whoever connects, as C tor does.",
			run: func(x *Exchange) {
				t := x.target(counts)
				c := x.dial()
				c.enter()
				c.say("request", request5(socks.Connect, socks.Addr{Name: x.name() + "\x00.example.test", Port: t.addr.Port()})...)
				c.ended()
				x.wantUnreached(t, "a name with a NUL in it")
			},
		},
		{
			ID: "garbage/name-length", Title: "a name that is shorter than its length is waited for", Clause: "RFC 1928 s.5", Severity: Must, Profiles: RFC1928 | Tor, needs: five,
			Why: "A server that takes what is there connects to half a name.",
			run: func(x *Exchange) {
				c := x.dial()
				c.enter()
				// The tenth byte of the name is then the first of the port: one that may stand in a
				// name, or who reads all ten may hang up for that alone.
				m := request5(socks.Connect, socks.Addr{Name: "localhost", Port: 'a'<<8 | 'b'})
				c.say("request that is one byte short", set(m, "LEN", 10)...)
				c.quiet("before the request was whole")
			},
		},
	}
}

// unserved sends what is no SOCKS, and wants neither a method nor a success for it.
func unserved(id, title string, b []byte) Check {
	return Check{
		ID: "garbage/" + id, Title: title, Clause: "common practice", Severity: Must, Profiles: RFC1928 | Tor,
		Why: "A program that meant another protocol must not believe that it was understood.",
		run: func(x *Exchange) {
			c := x.dial()
			c.say("garbage", Part{"bytes", b})
			got := c.first(2)
			method := len(got) >= 2 && got[0] == 5 && got[1] != 0xFF
			granted := len(got) >= 2 && got[0] == 0 && got[1] == 0x5A
			x.want(!method && !granted, "it was answered with %x", got)
		},
	}
}

// refusesName sends what is no host name, and wants a failure in return.
func refusesName(id, title string, s Severity, why, name string) Check {
	return Check{
		ID: "garbage/" + id, Title: title, Clause: "RFC 1123 s.2.1", Severity: s, Profiles: RFC1928 | Tor, Why: why, needs: []need{needSOCKS5, needTarget},
		run: func(x *Exchange) {
			x.wantRefused(request5(socks.Connect, socks.Addr{Name: name, Port: x.target(silent).addr.Port()}), "the name")
		},
	}
}

// checkSurvives holds the connections open for a moment, since a server may go down on
// reading, on answering or on closing.
func checkSurvives(x *Exchange) {
	for i := range 100 {
		c := x.dial()
		b := noise(200 + i)
		b[0] = []byte{0, 1, 4, 5, 'G', 'C', 0x16, 0xFF}[i%8]
		c.write(b)
		if i%3 == 0 {
			c.nc.Close()
		}
	}
	x.note = "100 lots of 200 to 299 bytes"
	x.connect(socks5(), x.target(echoes)).echo(words())
}
