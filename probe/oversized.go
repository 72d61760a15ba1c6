package probe

import (
	"bytes"
	"strings"

	"hosier/socks"
)

func oversizedChecks() []Check {
	return []Check{
		endless("socks4-user", "a SOCKS4 user id without an end is cut off", []need{needSOCKS4, needTarget}, func(x *Exchange) []Part {
			m := request4(socks.Connect, socks.AddrFrom(x.target(silent).addr), "")
			return append(m[:4:4], Part{"USERID", bytes.Repeat([]byte("u"), 512<<10)})
		}),
		endless("socks4a-name", "a SOCKS4A name without an end is cut off", []need{needSOCKS4A, needTarget}, func(x *Exchange) []Part {
			m := request4(socks.Connect, socks.Addr{Port: 80}, "")
			return append(m[:6:6], Part{"HOST", bytes.Repeat([]byte("a"), 512<<10)})
		}),
		endless("http-line", "an HTTP request line without an end is cut off", []need{needHTTP}, func(*Exchange) []Part {
			return []Part{text("request line", "CONNECT "+strings.Repeat("a", 512<<10))}
		}),
		endless("http-head", "an HTTP head without an end is cut off", []need{needHTTP}, func(*Exchange) []Part {
			return []Part{text("request line", "CONNECT www.example.test:443 HTTP/1.1\r\n"), text("headers", strings.Repeat("X-Filler: "+strings.Repeat("x", 80)+"\r\n", 6000))}
		}),
		{
			ID: "oversized/name", Title: "a name of 255 bytes is answered", Clause: "RFC 1928 s.5", Severity: Must, Profiles: RFC1928 | Tor, needs: []need{needSOCKS5, needTarget}, slow: true,
			Why: "The length is one byte; a smaller buffer overflows or loses its place.",
			run: func(x *Exchange) {
				name := strings.Repeat("a.", 127) + "b"
				c := x.dial()
				c.enter()
				c.say("request", request5(socks.Connect, socks.Addr{Name: name, Port: x.target(silent).addr.Port()})...)
				c.within(x.p.cfg.Patience, 1, "the reply")
				x.want(!c.reply5().succeeded(), "a name that cannot exist was a success")
			},
		},
		{
			ID: "oversized/label", Title: "a label of 64 bytes is refused by reply", Clause: "RFC 1035 s.2.3.4", Severity: Must, Profiles: RFC1928 | Tor, needs: []need{needSOCKS5, needTarget},
			Why: "It cannot be asked for in DNS, and a library that tries may fail in its own way.",
			run: func(x *Exchange) {
				name := strings.Repeat("a", 64) + ".example.test"
				_, r := x.ask5(request5(socks.Connect, socks.Addr{Name: name, Port: x.target(silent).addr.Port()}))
				x.want(!r.succeeded(), "a name that cannot exist was a success")
			},
		},
	}
}

// endless sends half a megabyte that has no end, and wants the proxy to have had enough.
func endless(id, title string, needs []need, message func(*Exchange) []Part) Check {
	return Check{
		ID: "oversized/" + id, Title: title, Clause: "common practice", Severity: Should, Profiles: Tor, needs: needs,
		Why: "A server that keeps what has no end is filled up by a single client.",
		run: func(x *Exchange) {
			c := x.dial()
			c.say("a message without an end", message(x)...)
			_, end := c.ended()
			x.want(end, "the proxy did not hang up within %v", x.p.cfg.Timeout)
		},
	}
}
