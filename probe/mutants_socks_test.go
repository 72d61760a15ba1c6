package probe_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"hosier/probe"
	"hosier/socks"
)

func firstByte(v byte, do func(*conv)) func(*script) {
	return func(s *script) {
		s.hello = func(cv *conv) bool {
			first, err := cv.br.Peek(1)
			if err != nil || first[0] != v {
				return false
			}
			do(cv)
			return true
		}
	}
}

func chooses(m byte) func(*conv) { return func(cv *conv) { cv.c.Write([]byte{5, m}); cv.leave() } }

func greetingMutants() map[string]mutant {
	return map[string]mutant{
		"greeting/answered":  plain(says("method", offered(0, 2), put(0, 7))),
		"greeting/no-auth":   plain(says("method", offered(0), put(1, 2))),
		"greeting/version":   plain(says("method", nil, put(0, 1))),
		"greeting/two-bytes": plain(says("method", nil, add(0))),
		"greeting/server-waits": plain(func(s *script) {
			s.hello = func(cv *conv) bool { io.WriteString(cv.c, "welcome\r\n"); return false }
		}),
		"greeting/whole":                plain(eager(func(in []byte) bool { return bytes.Equal(in, []byte{5, 3, 0}) }, 5, 0)),
		"greeting/only-offered":         plain(says("method", offered(0x80, 0x81), put(1, 0))),
		"greeting/nothing-known":        plain(says("method", offered(0x7E, 0x80, 0xFE), put(1, 0))),
		"greeting/closes-after-ff":      plain(says("method", offered(0x7E), stay)),
		"greeting/gssapi":               plain(says("method", offered(1), put(1, 0))),
		"greeting/among-unknown":        plain(says("method", offered(0x80, 5, 3, 0), put(1, 0xFF))),
		"greeting/duplicates":           plain(says("method", offered(0, 0, 0), put(1, 0xFF))),
		"greeting/255-methods":          plain(says("method", func(e *saying) bool { return e.in[1] == 255 }, put(1, 0xFF))),
		"greeting/no-methods":           plain(says("method", offered(), put(1, 0))),
		"greeting/no-methods-ff":        plain(says("method", offered(), drop)),
		"greeting/prefers-password":     plain(says("method", offered(0, 2), put(1, 0))),
		"greeting/version-6":            plain(firstByte(6, chooses(0))),
		"greeting/other-versions":       plain(firstByte(0x7F, chooses(0))),
		"greeting/wrong-version-closes": plain(firstByte(7, (*conv).hang)),
		"greeting/many-at-once": plain(func(s *script) {
			s.hello = func(*conv) bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return len(s.conns) > 24
			}
		}),
	}
}

func being(name, pass string) func(socks.Auth) bool {
	return func(a socks.Auth) bool { return a.User == name && a.Password == pass }
}

func authMutants() map[string]mutant {
	all := map[string]mutant{
		"auth/offered-alone": plain(says("method", offered(2), put(1, 0))),
		"auth/reply-version": plain(says("password", nil, put(0, 5))),
		"auth/two-bytes":     plain(says("password", nil, add(0))),
		"auth/then-request":  plain(says("reply", offered(2), put(1, 1))),
		"auth/waits": plain(eager(func(in []byte) bool {
			return bytes.Equal(in, []byte("\x05\x01\x02\x01\x04user\x08"))
		}, 1, 0)),
		"auth/request-instead": plain(func(s *script) { s.sneak = parsed(3, socks.ParseRequest5) }),
		"auth/wrong-version":   plain(says("reply", heard("\x05\x01\x02\x05"), func(e *saying) { e.b = []byte{1, 0} })),
		"auth/longest":         plain(says("password", heard(strings.Repeat("u", 255)), put(1, 1))),
		"auth/any-bytes":       plain(says("password", heard("\r\n\xfe"), put(1, 1))),
		"auth/empty-user":      plain(refusing(func(a socks.Auth) bool { return a.User == "" && a.Password != "" })),
		"auth/empty-password":  plain(refusing(func(a socks.Auth) bool { return a.User != "" && a.Password == "" })),
		"auth/both-empty":      plain(refusing(being("", ""))),
		"auth/twice":           plain(says("reply", heard("\x01\x01c\x01d"), func(e *saying) { e.b = []byte{1, 0} })),
		"auth/unasked":         plain(says("password", offered(0), put(1, 1))),
	}
	open := func(yes func(l *probe.Login, a socks.Auth) bool) mutant {
		return guarded(func(s *script) {
			s.verify = func(a socks.Auth) error {
				if a.User == s.login.User && a.Password == s.login.Password || yes(s.login, a) {
					return nil
				}
				return errMutant
			}
		})
	}
	all["auth/wrong-password"] = open(func(l *probe.Login, a socks.Auth) bool { return a.User == l.User && a.Method == socks.UserPass })
	all["auth/wrong-user"] = open(func(l *probe.Login, a socks.Auth) bool { return a.Password == l.Password })
	all["auth/cut-password"] = open(func(l *probe.Login, a socks.Auth) bool {
		return a.Method == socks.UserPass && strings.HasPrefix(a.Password, l.Password+"\x00")
	})
	all["auth/closes-after-refusal"] = guarded(says("password", func(e *saying) bool { return e.b[1] != 0 }, stay))
	all["auth/no-request-after-refusal"] = guarded(func(s *script) { s.sneak = later })
	all["auth/no-way-around"] = guarded(func(s *script) { s.sneak = later })
	all["auth/no-way-around-socks4"] = open(func(l *probe.Login, a socks.Auth) bool { return a.Method == socks.NoAuth && a.User == l.User })
	all["auth/no-way-around-http"] = guarded(func(s *script) { s.verifyHTTP = func(socks.Auth) error { return nil } })
	return all
}

func v5(r *socks.Request) bool    { return r.Version == socks.V5 }
func v4(r *socks.Request) bool    { return r.Version == socks.V4 }
func http1(r *socks.Request) bool { return r.Version == socks.HTTP }

func connectMutants() map[string]mutant {
	hole := func(when func(*socks.Request) bool) mutant { return plain(tunnels(and(v5, when), blackHole)) }
	literal := func(has string) mutant {
		return plain(says("reply", func(e *saying) bool { return isV5(e) && e.literal() && bytes.Contains(e.in[6:], []byte(has)) }, put(1, 4)))
	}
	return map[string]mutant{
		"connect/ipv4":             hole(func(r *socks.Request) bool { return r.Addr.IP.Is4() }),
		"connect/ipv6":             hole(func(r *socks.Request) bool { return r.Addr.IP.Is6() }),
		"connect/name":             hole(named),
		"connect/name-case":        plain(failIf(func(r *socks.Request) bool { return strings.ToLower(r.Addr.Name) != r.Addr.Name })),
		"connect/name-dot":         plain(failIf(func(r *socks.Request) bool { return strings.HasSuffix(r.Addr.Name, ".") })),
		"connect/literal-ipv4":     literal("127.0.0.1"),
		"connect/literal-ipv6":     literal("::1"),
		"connect/literal-brackets": literal("[::1]"),
		"connect/mapped":           plain(failIf(func(r *socks.Request) bool { return r.Addr.IP.Is4In6() })),
		"connect/all-bytes":        plain(tunnels(v5, filter(func(b []byte) []byte { return bytes.ReplaceAll(b, []byte{0xFF}, []byte{0x7F}) }))),
		"connect/large": plain(tunnels(v5, func(cv *conv, target *net.TCPConn, _ []byte) {
			go io.Copy(target, cv.c)
			io.CopyN(cv.c, target, 300_000)
			cv.hang()
		})),
		"connect/exact": plain(tunnels(v5, prefix)),
		"connect/once": plain(asking(func(cv *conv, r *socks.Request) *answer {
			if c, _, err := cv.s.out.Dial(context.Background(), r); err == nil && r.Version == socks.V5 {
				c.Close()
			}
			return nil
		})),
		"connect/server-first": plain(tunnels(v5, func(cv *conv, target *net.TCPConn, early []byte) {
			b := make([]byte, 1)
			if n, _ := cv.c.Read(b); n > 0 {
				relayBoth(cv.c, target, append(early, b...))
			}
		})),
		"connect/silent-target": plain(asking(func(cv *conv, r *socks.Request) *answer {
			a := cv.serveRequest(r)
			if a.conn != nil && r.Version == socks.V5 && r.Addr.IP.Is4() {
				a.conn.SetReadDeadline(time.Now().Add(3 * time.Second))
				a.conn.Read(make([]byte, 1))
				a.conn.SetReadDeadline(time.Time{})
			}
			return &a
		})),
		"connect/apart": plain(func(s *script) {
			var last *net.TCPConn
			s.tunnel = func(cv *conv, target *net.TCPConn, early []byte) {
				s.mu.Lock()
				other := last
				last = target
				s.mu.Unlock()
				if other != nil {
					target = other
				}
				relayBoth(cv.c, target, early)
			}
		}),
		"connect/target-ends":   plain(tunnels(v5, keepClient)),
		"connect/target-resets": plain(tunnels(v5, keepClient)),
		"connect/client-ends": plain(tunnels(v5, func(cv *conv, target *net.TCPConn, _ []byte) {
			go io.Copy(cv.c, target)
			io.Copy(target, cv.c)
			cv.hang()
		})),
		"connect/both-ways": plain(tunnels(v5, func(cv *conv, target *net.TCPConn, _ []byte) {
			io.Copy(target, cv.c)
			io.Copy(cv.c, target)
		})),
	}
}

func socks4Mutants() map[string]mutant {
	reply := func(when func(*saying) bool, change func(*saying)) mutant {
		return plain(says("reply", both(isV4, when), change))
	}
	for4 := func(when func(*socks.Request) bool) mutant { return plain(failIf(and(v4, when))) }
	grants := func(part string) mutant { return reply(both(failing, heard(part)), grant) }
	return map[string]mutant{
		"socks4/answered":        reply(granted, cut(2)),
		"socks4/reply-version":   reply(granted, put(0, 4)),
		"socks4/eight-bytes":     reply(granted, add(0)),
		"socks4/data":            plain(tunnels(v4, blackHole)),
		"socks4/waits":           plain(eager(func(in []byte) bool { return len(in) == 12 && in[0] == 4 && string(in[8:]) == "user" }, 0, 0x5A, 0, 0, 0, 0, 0, 0)),
		"socks4/user":            for4(func(r *socks.Request) bool { return r.Auth.User == "probe" }),
		"socks4/user-long":       for4(func(r *socks.Request) bool { return len(r.Auth.User) == 255 }),
		"socks4/user-bytes":      for4(func(r *socks.Request) bool { return strings.Contains(r.Auth.User, "\xff") }),
		"socks4/refused":         reply(failing, grant),
		"socks4/refused-code":    reply(failing, put(1, 0x5C)),
		"socks4/refused-closes":  reply(failing, stay),
		"socks4/unknown-command": grants("\x04\x77"),
		"socks4/unknown-address": reply(both(failing, func(e *saying) bool { return bytes.Equal(e.in[4:8], []byte{0, 0, 0, 0}) }), grant),
		"socks4/port-0":          grants("\x04\x01\x00\x00"),

		"socks4a/answered":      plain(says("reply", both(isV4, asks(named)), hang)),
		"socks4a/data":          plain(tunnels(and(v4, named), blackHole)),
		"socks4a/user-and-name": for4(func(r *socks.Request) bool { return r.Auth.User == "some user" }),
		"socks4a/markers":       reply(heard("\x00\x00\x00\x7f\x00"), put(1, 0x5B)),
		"socks4a/waits":         plain(eager(func(in []byte) bool { return in[0] == 4 && strings.HasSuffix(string(in), "localhost") }, 0, 0x5A, 0, 0, 0, 0, 0, 0)),
		"socks4a/literal":       reply(heard("\x00\x00\x00\x01\x00127.0.0.1\x00"), put(1, 0x5B)),
		"socks4a/empty-name":    grants("\x00\x00\x00\x01\x00\x00"),
		"socks4a/long-name":     grants("a.a.a.a."),
		"socks4a/bad-bytes":     grants("local host"),
		"socks4a/ipv6-literal":  grants("\x00::1\x00"),
		"socks4a/missing":       reply(failing, grant),
		"socks4a/only-ipv6":     reply(failing, grant),
	}
}

func replyMutants() map[string]mutant {
	reply := func(when func(*saying) bool, change func(*saying)) mutant {
		return plain(says("reply", both(isV5, when), change))
	}
	bound := func(a socks.Addr) func(*saying) {
		return func(e *saying) { e.b = socks.AppendReply5(nil, socks.Succeeded, a) }
	}
	fails := func(s socks.Status) func(*saying) bool { return func(e *saying) bool { return e.status == s } }
	type0 := func(atyp byte) func(*saying) bool {
		return func(e *saying) bool { return len(e.in) > 6 && e.in[6] == atyp }
	}
	return map[string]mutant{
		"reply/version":              reply(granted, put(0, 4)),
		"reply/reserved":             reply(failing, put(2, 1)),
		"reply/exact":                reply(granted, add(0)),
		"reply/bound-form":           reply(granted, bound(socks.Addr{Name: "script"})),
		"reply/bound-true":           reply(granted, bound(socks.Addr{IP: netip.AddrFrom4([4]byte{10, 9, 8, 7}), Port: 6})),
		"reply/refused":              reply(fails(socks.ConnectionRefused), grant),
		"reply/refused-code":         reply(fails(socks.ConnectionRefused), put(1, 1)),
		"reply/known-code":           reply(failing, put(1, 0x99)),
		"reply/closes":               reply(failing, stay),
		"reply/whole":                reply(failing, cut(2)),
		"reply/missing":              reply(both(failing, asks(named)), grant),
		"reply/missing-code":         reply(both(failing, asks(named)), put(1, 1)),
		"reply/no-address":           reply(both(failing, asks(named)), put(1, 1)),
		"reply/dns-failure":          reply(both(failing, asks(named)), grant),
		"reply/dns-silence":          reply(both(failing, asks(named)), hang),
		"reply/unreachable":          reply(both(failing, heard("\xff\xff\xff\xff")), put(1, 5)),
		"reply/port-0":               reply(both(failing, asks(func(r *socks.Request) bool { return r.Addr.Port == 0 })), grant),
		"reply/unknown-command":      reply(fails(socks.CommandNotSupported), grant),
		"reply/unknown-command-code": reply(both(fails(socks.CommandNotSupported), heard("\x05\x77")), put(1, 1)),
		"reply/unknown-type":         reply(type0(2), grant),
		"reply/unknown-type-code":    reply(type0(5), put(1, 1)),
		"reply/reserved-request":     reply(heard("\x05\x01\x01\x01"), grant),
		"reply/other-version":        plain(func(s *script) { s.sneak = parsed(3, socks.ParseRequest4) }),
	}
}

func resolveMutants() map[string]mutant {
	five := func(when func(*saying) bool, change func(*saying)) mutant {
		return plain(says("reply", both(both(isV5, commanded(socks.Resolve)), when), change))
	}
	four := func(when func(*saying) bool, change func(*saying)) mutant {
		return plain(says("reply", both(both(isV4, commanded(socks.Resolve)), when), change))
	}
	at := func(addr string) func(*socks.Request) bool {
		return func(r *socks.Request) bool {
			return r.Addr.IP == netip.MustParseAddr(addr) && r.Command == socks.Resolve
		}
	}
	other := ip("203.0.113.9")
	return map[string]mutant{
		"resolve/answered":     five(granted, drop),
		"resolve/refused-code": five(granted, put(1, 1)),
		"resolve/ipv4":         plain(answerIf(at("198.51.100.1"), other)),
		"resolve/ipv6":         plain(answerIf(at("2001:db8::1"), other)),
		"resolve/literal":      plain(answerIf(at("192.0.2.77"), other)),
		"resolve/brackets":     plain(answerIf(at("2001:db8::77"), other)),
		"resolve/name":         plain(answerIf(and(is(socks.Resolve, socks.V5), named), other)),
		"resolve/only-ipv6":    five(func(e *saying) bool { return e.b[3] == 4 && named(e.req) }, put(1, 4)),
		"resolve/both":         plain(answerIf(and(is(socks.Resolve, socks.V5), named), ip("2001:db8::3"))),
		"resolve/port":         plain(failIf(func(r *socks.Request) bool { return r.Command == socks.Resolve && r.Addr.Port == 65535 })),
		"resolve/no-connection": plain(asking(func(cv *conv, r *socks.Request) *answer {
			if r.Command == socks.Resolve && r.Addr.Port != 0 {
				if c, err := net.Dial("tcp", r.Addr.String()); err == nil {
					c.Close()
				}
			}
			return nil
		})),
		"resolve/closes":            five(granted, stay),
		"resolve/missing":           five(failing, grant),
		"resolve/missing-form":      five(failing, put(3, 0)),
		"resolve/missing-code":      five(failing, put(1, 1)),
		"resolve/empty":             five(failing, grant),
		"resolve/socks4a":           plain(answerIf(and(is(socks.Resolve, socks.V4), named), other)),
		"resolve/socks4":            plain(answerIf(and(is(socks.Resolve, socks.V4), at("198.51.100.6")), other)),
		"resolve/socks4a-missing":   four(failing, grant),
		"resolve/socks4a-only-ipv6": four(failing, grant),
	}
}
