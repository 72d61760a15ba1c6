package probe_test

import (
	"bytes"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"hosier/socks"
)

// moreMutants are those of RESOLVE_PTR, BIND and UDP ASSOCIATE.
func moreMutants() map[string]mutant {
	of := func(c socks.Command, when func(*saying) bool, change func(*saying)) func(*script) {
		return says("reply", both(both(isV5, commanded(c)), when), change)
	}
	ptr := func(when func(*saying) bool, change func(*saying)) mutant {
		return plain(of(socks.ResolvePTR, when, change))
	}
	bind := func(change func(*saying)) mutant { return more(of(socks.Bind, granted, change)) }
	udp := func(change func(*udpHooks)) mutant { return more(func(s *script) { change(&s.udp) }) }
	forPTR := is(socks.ResolvePTR, socks.V5)
	return map[string]mutant{
		"ptr/answered":     ptr(nil1, drop),
		"ptr/refused-code": ptr(heard("\x7f\x00\x00\x01"), put(1, 1)),
		"ptr/ipv4":         plain(answerIf(and(forPTR, func(r *socks.Request) bool { return r.Addr.IP.Is4() }), socks.Addr{Name: "other.test"})),
		"ptr/ipv6":         plain(failIf(and(forPTR, func(r *socks.Request) bool { return r.Addr.IP.Is6() }))),
		"ptr/literal":      ptr((*saying).isLiteral, put(1, 4)),
		"ptr/no-dot": ptr(granted, func(e *saying) {
			_, bound, _, _ := socks.ParseReply5(e.b)
			e.b = socks.AppendReply5(nil, 0, socks.Addr{Name: bound.Name + "."})
		}),
		"ptr/closes":       ptr(nil1, stay),
		"ptr/missing":      ptr(failing, grant),
		"ptr/missing-form": ptr(failing, put(3, 0)),
		"ptr/missing-code": ptr(failing, put(1, 1)),
		"ptr/of-a-name":    ptr(heard("www.example.test"), put(1, 1)),
		"ptr/socks4":       plain(says("reply", both(isV4, commanded(socks.ResolvePTR)), grant)),

		"bind/answered":     plain(of(socks.Bind, nil1, drop)),
		"bind/refused-code": plain(of(socks.Bind, nil1, put(1, 1))),
		"bind/address":      bind(func(e *saying) { e.b[8], e.b[9] = 0, 1 }),
		"bind/second-reply": more(says("second", nil, func(e *saying) { e.b[9] ^= 1 })),
		"bind/data":         more(func(s *script) { s.tunnel = blackHole }),
		"bind/socks4":       plain(says("reply", both(isV4, commanded(socks.Bind)), put(1, 0x5C))),

		"udp/answered":      plain(of(socks.Associate, nil1, drop)),
		"udp/refused-code":  plain(of(socks.Associate, nil1, put(1, 1))),
		"udp/address":       more(of(socks.Associate, granted, func(e *saying) { e.b[8], e.b[9] = 0, 0 })),
		"udp/ipv4":          udp(func(u *udpHooks) { u.pass = func(_ byte, to socks.Addr) bool { return to.Name != "" } }),
		"udp/name":          udp(func(u *udpHooks) { u.pass = func(_ byte, to socks.Addr) bool { return to.Name == "" } }),
		"udp/source":        udp(func(u *udpHooks) { u.source = func(a socks.Addr) socks.Addr { a.Port++; return a } }),
		"udp/fragment":      udp(func(u *udpHooks) { u.pass = func(byte, socks.Addr) bool { return true } }),
		"udp/ends-with-tcp": udp(func(u *udpHooks) { u.stay = true }),
		"udp/stays":         udp(func(u *udpHooks) { u.limit = 3 }),
	}
}

func nil1(*saying) bool { return true }

func (e *saying) isLiteral() bool { return e.literal() }

func ofDialect(id string) func(*socks.Request) bool {
	switch id {
	case "http":
		return http1
	case "socks5":
		return v5
	case "socks4a":
		return and(v4, named)
	}
	return and(v4, func(r *socks.Request) bool { return !named(r) })
}

func earlyMutants() map[string]mutant {
	all := map[string]mutant{
		"early/all-in-one":        plain(tunnels(v5, forgetEarly)),
		"early/all-with-password": plain(says("method", func(e *saying) bool { return e.br.Buffered() > 3 }, cut(0))),
		"early/refused-in-one":    plain(says("method", func(e *saying) bool { return e.br.Buffered() > 3 }, cut(0))),
		"early/order": plain(tunnels(v5, func(cv *conv, target *net.TCPConn, early []byte) {
			buf := make([]byte, 4096)
			n, _ := cv.c.Read(buf)
			relayBoth(cv.c, target, append(buf[:n], early...))
		})),
		"early/large": plain(tunnels(v5, func(cv *conv, target *net.TCPConn, early []byte) {
			relayBoth(cv.c, target, early[:min(len(early), 100)])
		})),
	}
	for _, id := range []string{"socks4", "socks4a", "socks5", "http"} {
		when := ofDialect(id)
		all["early/"+id] = plain(tunnels(when, forgetEarly))
		reset := func(e *saying) {
			e.c.SetLinger(0)
			e.c.Close()
			e.drop = true
		}
		stage := "reply"
		if id == "http" {
			stage = "http"
		}
		all["early/refused-"+id] = plain(says(stage, both(failing, func(e *saying) bool { return e.req != nil && when(e.req) }), reset))
	}
	return all
}

// impatient hangs up when a read leaves a message of some kind incomplete.
func impatient(part func(in []byte) bool) mutant {
	return plain(func(s *script) {
		s.read = func(cv *conv) {
			if part(cv.in) {
				cv.c.Close()
			}
		}
	})
}

func splitMutants() map[string]mutant {
	partOf := map[string]func([]byte) bool{
		"socks4": func(in []byte) bool { return in[0] == 4 && len(in) < 9 },
		"socks4a": func(in []byte) bool {
			return in[0] == 4 && (len(in) < 9 || in[6]|in[5]|in[4] == 0 && in[len(in)-1] != 0)
		},
		"socks5": func(in []byte) bool { return in[0] == 5 && (len(in) < 3 || len(in) == 3+5) },
		"http":   func(in []byte) bool { return in[0] == 'C' && !bytes.Contains(in, []byte("\r\n\r\n")) },
		"password": func(in []byte) bool {
			return bytes.HasPrefix(in, []byte{5, 1, 2, 1}) && len(in) < 8
		},
	}
	all := make(map[string]mutant)
	for id, part := range partOf {
		all["split/halves-"+id] = impatient(part)
		all["split/bytes-"+id] = impatient(part)
	}
	return all
}

func halfCloseMutants() map[string]mutant {
	all := map[string]mutant{
		"halfclose/mid-request": plain(func(s *script) {
			s.sneak = func(cv *conv, err error) *socks.Request {
				if err == io.ErrUnexpectedEOF {
					cv.hang()
				}
				return nil
			}
		}),
		"halfclose/large": plain(tunnels(v5, func(cv *conv, target *net.TCPConn, early []byte) {
			done := make(chan struct{})
			go func() {
				defer close(done)
				io.CopyN(cv.c, target, 64<<10)
				cv.c.CloseWrite()
			}()
			io.Copy(target, cv.c)
			target.CloseWrite()
			<-done
		})),
	}
	// A server that takes the client's end for its wish to leave.
	impolite := func(when func(*socks.Request) bool) func(*script) {
		return asking(func(cv *conv, r *socks.Request) *answer {
			cv.c.SetReadDeadline(time.Now().Add(cv.s.pace * 100 * time.Millisecond))
			_, err := cv.br.Peek(cv.br.Size())
			cv.c.SetReadDeadline(time.Time{})
			if err == io.EOF && when(r) {
				cv.c.Close()
			}
			return nil
		})
	}
	for _, id := range []string{"socks4", "socks5", "http"} {
		when := ofDialect(id)
		all["halfclose/client-"+id] = plain(tunnels(when, firstEndEnds))
		all["halfclose/target-"+id] = plain(tunnels(when, firstEndEnds))
		all["halfclose/request-"+id] = plain(impolite(when))
		all["halfclose/both-"+id] = plain(tunnels(when, keepClient))
	}
	return all
}

func slowMutants() map[string]mutant {
	patient := plain(func(s *script) { s.idle = time.Hour })
	all := map[string]mutant{
		"slow/trickle": plain(func(s *script) {
			s.read = func(cv *conv) { cv.c.SetDeadline(time.Now().Add(s.idle)) }
		}),
		"slow/patient": plain(func(s *script) { s.idle = 500 * time.Millisecond }),
		"slow/idle-tunnel": plain(tunnels(v5, func(cv *conv, target *net.TCPConn, early []byte) {
			cv.c.SetDeadline(time.Now().Add(300 * time.Millisecond))
			relayBoth(cv.c, target, early)
			cv.c.Close()
		})),
		"slow/others-served": plain(func(s *script) { s.rounds, s.idle = make(chan struct{}, 15), time.Hour }),
	}
	for _, id := range []string{"silent", "mid-greeting", "mid-password", "mid-request", "mid-socks4", "mid-http"} {
		all["slow/"+id] = patient
	}
	return all
}

// garbageMutants are those of the groups garbage and oversized.
func garbageMutants() map[string]mutant {
	grants := func(part string) mutant {
		return plain(says("reply", both(isV5, both(failing, heard(part))), grant))
	}
	endless := func(part string) mutant {
		return plain(func(s *script) {
			s.read = func(cv *conv) {
				if len(cv.in) > 2000 && bytes.Contains(cv.in, []byte(part)) {
					cv.hang()
				}
			}
		})
	}
	drops := func(part string) mutant { return plain(says("reply", both(isV5, heard(part)), drop)) }
	return map[string]mutant{
		"oversized/socks4-user":  endless("uuuu"),
		"oversized/socks4a-name": endless("aaaa"),
		"oversized/http-line":    endless("CONNECT aaaa"),
		"oversized/http-head":    endless("X-Filler"),
		"oversized/name":         drops("a.a.a.a."),
		"oversized/label":        drops(strings.Repeat("a", 64) + ".example"),

		"garbage/zeros": plain(firstByte(0, chooses(0))),
		"garbage/ones":  plain(firstByte(0xFF, chooses(0))),
		"garbage/tls":   plain(firstByte(0x16, chooses(0))),
		"garbage/ssh":   plain(firstByte('S', chooses(0))),
		"garbage/survives": plain(func(s *script) {
			s.hello = func(cv *conv) bool {
				first, err := cv.br.Peek(1)
				s.mu.Lock()
				defer s.mu.Unlock()
				if err == nil && first[0] == 0x16 {
					s.count++
				}
				return s.count > 3
			}
		}),
		"garbage/after-greeting":    grants("\x07\x00\xff\xfe"),
		"garbage/name-empty":        grants("\x05\x01\x00\x03\x00"),
		"garbage/name-space":        grants("local host"),
		"garbage/name-line-end":     grants("X-Injected"),
		"garbage/name-port":         grants("127.0.0.1:80"),
		"garbage/name-zone":         grants("%lo"),
		"garbage/name-open-bracket": grants("[::1"),
		"garbage/name-nul": plain(func(s *script) {
			s.sneak = func(cv *conv, _ error) *socks.Request {
				name := nameIn(cv.in)
				if i := strings.IndexByte(name, 0); i > 0 {
					at := 8 + len(name)
					port := uint16(cv.in[at])<<8 | uint16(cv.in[at+1])
					return &socks.Request{Version: socks.V5, Command: socks.Connect, Addr: socks.Addr{Name: name[:i], Port: port}}
				}
				return nil
			}
		}),
		"garbage/name-length": plain(eager(func(in []byte) bool { return bytes.HasSuffix(in, []byte("localhostab")) }, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0)),
	}
}

// answers changes what is said in HTTP.
func answers(when func(*saying) bool, change func(*saying)) mutant {
	return plain(says("http", when, change))
}

// swap replaces text in an answer.
func swap(from, to string) func(*saying) {
	return func(e *saying) { e.b = bytes.Replace(e.b, []byte(from), []byte(to), 1) }
}

func httpMutants() map[string]mutant {
	tunnel := func(e *saying) bool { return e.req != nil && granted(e) }
	failed := func(e *saying) bool { return e.req != nil && failing(e) }
	line := func(part string) func(*saying) bool {
		return func(e *saying) bool { return failed(e) && strings.HasPrefix(e.head, part) }
	}
	code := func(n int) func(*saying) { return func(e *saying) { e.b = httpFailure(n, "") } }
	login := func(e *saying) bool { return bytes.Contains(e.b, []byte("407")) }
	return map[string]mutant{
		"http/answered":  answers(tunnel, hang),
		"http/data":      plain(tunnels(http1, blackHole)),
		"http/name":      plain(failIf(and(http1, named))),
		"http/ipv6":      plain(tunnels(and(http1, func(r *socks.Request) bool { return r.Addr.IP.Is6() }), blackHole)),
		"http/exact":     answers(tunnel, add('\n')),
		"http/no-length": answers(tunnel, swap("\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n")),
		"http/waits": plain(eager(func(in []byte) bool {
			return bytes.HasPrefix(in, []byte("CONNECT")) && !bytes.HasSuffix(in, []byte("\r\n\r\n"))
		}, []byte(tunnelHead)...)),
		"http/version-10": answers(func(e *saying) bool { return strings.Contains(e.head, "HTTP/1.0") }, code(505)),
		"http/host": plain(asking(func(cv *conv, r *socks.Request) *answer {
			if _, host, ok := strings.Cut(cv.head, "Host: "); ok && http1(r) {
				host, _, _ = strings.Cut(host, "\r\n")
				r.Addr, _ = socks.ParseAddr(host)
			}
			return nil
		})),
		"http/refused":  answers(failed, grant),
		"http/missing":  answers(failed, code(404)),
		"http/no-port":  answers(line("CONNECT 127.0.0.1 "), grant),
		"http/port-0":   answers(line("CONNECT 127.0.0.1:0 "), grant),
		"http/bad-name": answers(line("CONNECT local@host/"), grant),
		"http/port-range": plain(func(s *script) {
			s.say = func(e *saying) {
				part := strings.Fields(e.head)
				if len(part) < 2 || !failed(e) {
					return
				}
				host, port, _ := strings.Cut(part[1], ":")
				n := 0
				for _, c := range port {
					n = n*10 + int(c-'0')
				}
				if c, err := net.Dial("tcp", net.JoinHostPort(host, strconv.Itoa(n%65536))); err == nil {
					c.Close()
				}
			}
		}),
		"http/failure-length": answers(failed, swap("Content-Length: 22", "Content-Length: 33")),
		"http/failed-reason":  answers(failed, swap("Tor-Request-Failed", "X-Failed")),
		"http/capabilities":   answers(tunnel, swap("Tor-Capabilities", "X-Capabilities")),
		"http/via":            answers(tunnel, swap("Via", "X-Via")),
		"http/options":        answers(func(e *saying) bool { return strings.HasPrefix(e.head, "OPTIONS") }, code(405)),
		"http/rpc-target":     answers(func(e *saying) bool { return failed(e) && strings.Contains(e.head, "Tor-RPC-Target") }, grant),
		"http/407":            guarded(says("http", login, swap("407", "403"))),
		"http/challenge":      guarded(says("http", login, swap("Proxy-Authenticate", "WWW-Authenticate"))),
		"http/wrong-login": guarded(func(s *script) {
			s.verifyHTTP = func(a socks.Auth) error {
				if a.User == s.login.User {
					return nil
				}
				return errMutant
			}
		}),
	}
}

func pageMutants() map[string]mutant {
	page := func(part string, change func(*saying)) mutant {
		return answers(func(e *saying) bool { return e.req == nil && strings.HasPrefix(e.head, part) }, change)
	}
	return map[string]mutant{
		"page/get":       page("GET /", drop),
		"page/proxy-get": page("GET http", drop),
		"page/post":      page("POST", drop),
		"page/head":      page("HEAD", add([]byte("a body")...)),
		"page/failure":   page("GET", swap("501 Not Implemented", "200 OK")),
		"page/no-echo": page("GET", func(e *saying) {
			path, _, _ := strings.Cut(e.head[len("GET "):], " ")
			e.b = httpFailure(501, "X-Path: "+path+"\r\n")
		}),
		"page/length":     page("GET", swap("Content-Length: 22", "Content-Length: 33")),
		"page/type":       page("GET", swap("; charset=utf-8", "")),
		"page/closes":     page("GET", stay),
		"page/unfinished": answers(func(e *saying) bool { return e.req == nil && !strings.HasSuffix(e.head, "\r\n\r\n") }, drop),
		"page/cross-site": answers(func(e *saying) bool { return strings.Contains(e.head, "cross-site") }, func(e *saying) { e.b = httpFailure(501, "") }),
	}
}

// isolationMutants are those of the groups isolation and extended.
func isolationMutants() map[string]mutant {
	accepts := func(user string) mutant {
		return plain(says("password", func(e *saying) bool {
			return bytes.Contains(e.in, append([]byte{1, byte(len(user))}, user...))
		}, put(1, 0)))
	}
	header := func(part string) mutant {
		return answers(func(e *saying) bool { return strings.Contains(e.head, "\r\n"+part) }, func(e *saying) { e.b = httpFailure(400, "") })
	}
	grants := func(part string) mutant {
		return plain(says("reply", both(isV5, both(failing, heard(part))), grant))
	}
	seen := make(map[string]bool)
	return map[string]mutant{
		"isolation/credentials": plain(func(s *script) {
			s.verify = func(a socks.Auth) error {
				s.mu.Lock()
				defer s.mu.Unlock()
				if a.Method == socks.UserPass {
					seen[a.User] = true
				}
				if len(seen) > 2 {
					return errMutant
				}
				return nil
			}
		}),
		"isolation/tor-0":      plain(refusing(func(a socks.Auth) bool { return a.User == "<torS0X>0" })),
		"isolation/tor-9":      accepts("<torS0X>9"),
		"isolation/tor-bare":   accepts("<torS0X>"),
		"isolation/tor-0x":     accepts("<torS0X>0x"),
		"isolation/tor-case":   plain(refusing(func(a socks.Auth) bool { return a.User == "<TORs0x>9" })),
		"isolation/header":     header("X-Tor-Stream-Isolation"),
		"isolation/new-header": header("Tor-Stream-Isolation"),
		"isolation/basic":      header("Proxy-Authorization"),

		"extended/onion-wrong": grants("aaaaaaaa.onion"),
		"extended/onion-old":   grants("expyuzz4wqqyqhjn"),
		"extended/onion-alone": grants("\x05onion"),
		"extended/code":        plain(says("reply", both(isV5, heard("aaaa.onion")), put(1, 0xF0))),
		"extended/socks4":      plain(says("reply", both(isV4, heard("aaaa.onion")), put(1, 0xF6))),
		"extended/only-onion":  plain(says("reply", both(isV5, failing), put(1, 0xF0))),
		"extended/exit":        grants(".exit"),
	}
}

func leakMutants() map[string]mutant {
	twice := func(c socks.Command, when func(*socks.Request) bool) mutant {
		return plain(asking(func(cv *conv, r *socks.Request) *answer {
			if r.Command == c && named(r) && when(r) {
				cv.s.question(r.Addr.Name, dnsmessage.TypeA) // the resolver asks once, whoever asks it
			}
			return nil
		}))
	}
	asks := func(part string) mutant { return plain(asksFor(has(part), same)) }
	unknown := func(e *saying) bool { return e.stage == "reply" && bytes.Contains(e.in, []byte("\x05\x77")) }
	return map[string]mutant{
		"leak/literal":     asks("127.0.0.1"),
		"leak/onion-wrong": asks(".onion"),
		"leak/onion-sub":   asks(".onion"),
		"leak/onion-alone": asks(".onion"),
		"leak/malformed":   asks(" secret"),
		"leak/nul": plain(asksFor(has("\x00"), func(name string) string {
			name, _, _ = strings.Cut(name, "\x00")
			return name
		})),
		"leak/port-0": asks(".test"),
		"leak/address": plain(asking(func(cv *conv, r *socks.Request) *answer {
			if r.Addr.IP.Is4() && v5(r) {
				cv.s.question("1.0.0.127.in-addr.arpa", 12)
			}
			return nil
		})),
		"leak/no-suffix": plain(asksFor(has(".test"), func(name string) string { return name + ".corp.example" })),
		"leak/unknown-command": plain(func(s *script) {
			s.say = func(e *saying) {
				if unknown(e) {
					s.question(nameIn(e.in), 1)
				}
			}
		}),
		"leak/half": plain(func(s *script) {
			s.read = func(cv *conv) {
				if name := nameIn(cv.in); name != "" && len(cv.in) == 8+len(name) {
					s.question(name, 1)
				}
			}
		}),
		"leak/refused-login": guarded(func(s *script) {
			s.sneak = func(cv *conv, _ error) *socks.Request {
				if name := nameIn(cv.in); name != "" {
					s.question(name, 1)
				}
				return nil
			}
		}),
		"leak/once-connect-socks4a": twice(socks.Connect, v4),
		"leak/once-connect-socks5":  twice(socks.Connect, v5),
		"leak/once-connect-http":    twice(socks.Connect, http1),
		"leak/once-resolve":         twice(socks.Resolve, v5),
		"leak/once-resolve-socks4a": twice(socks.Resolve, v4),
	}
}
