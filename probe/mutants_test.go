package probe_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"hosier/socks"
)

// mutant breaks one clause of a script. Base names the script that it starts from.
type mutant struct {
	base   string // plain if empty; login; or more, with BIND and UDP ASSOCIATE
	change func(*script)
}

// mutants has one for each check, by its ID.
func mutants() map[string]mutant {
	all := make(map[string]mutant)
	for _, group := range []map[string]mutant{
		greetingMutants(), authMutants(), connectMutants(), socks4Mutants(), replyMutants(),
		resolveMutants(), moreMutants(), earlyMutants(), splitMutants(), halfCloseMutants(),
		slowMutants(), garbageMutants(), httpMutants(), pageMutants(), isolationMutants(), leakMutants(),
	} {
		maps.Copy(all, group)
	}
	return all
}

func plain(change func(*script)) mutant   { return mutant{"", change} }
func guarded(change func(*script)) mutant { return mutant{"login", change} }
func more(change func(*script)) mutant    { return mutant{"more", change} }

// says changes what is said at a stage, where the condition holds.
func says(stage string, when func(*saying) bool, change func(*saying)) func(*script) {
	return func(s *script) {
		s.say = func(e *saying) {
			if e.stage == stage && (when == nil || when(e)) {
				change(e)
			}
		}
	}
}

// What a mutant does with a message.
func drop(e *saying) { e.drop = true }
func hang(e *saying) { e.hang = true }
func stay(e *saying) { e.hold = true }

func put(i int, v byte) func(*saying) { return func(e *saying) { e.b[i] = v } }

func cut(n int) func(*saying) { return func(e *saying) { e.b = e.b[:n] } }

func add(b ...byte) func(*saying) { return func(e *saying) { e.b = append(e.b, b...) } }

// grant says that all is well, and stays.
func grant(e *saying) {
	r := *e.req
	e.b, e.hold = r.AppendReply(nil, socks.Succeeded, socks.Addr{}), true
	if r.Version == socks.HTTP {
		e.b = []byte(tunnelHead)
	}
}

// Conditions.
func failing(e *saying) bool { return e.status != socks.Succeeded }

func granted(e *saying) bool { return e.status == socks.Succeeded }

func both(a, b func(*saying) bool) func(*saying) bool {
	return func(e *saying) bool { return a(e) && b(e) }
}

func isV4(e *saying) bool { return e.req.Version == socks.V4 }

func isV5(e *saying) bool { return e.req.Version == socks.V5 }

func commanded(c socks.Command) func(*saying) bool {
	return func(e *saying) bool { return e.req.Command == c }
}

// heard looks for bytes in all that the client has sent.
func heard(part string) func(*saying) bool {
	return func(e *saying) bool { return bytes.Contains(e.in, []byte(part)) }
}

// offered is the greeting's list of methods.
func offered(methods ...byte) func(*saying) bool {
	return func(e *saying) bool {
		return len(e.in) >= 2+len(methods) && int(e.in[1]) == len(methods) && bytes.Equal(e.in[2:2+len(methods)], methods)
	}
}

// asks is for what a request is about.
func asks(when func(*socks.Request) bool) func(*saying) bool {
	return func(e *saying) bool { return when(e.req) }
}

// eager answers as soon as what came satisfies the condition.
func eager(when func(in []byte) bool, say ...byte) func(*script) {
	return func(s *script) {
		s.read = func(cv *conv) {
			if when(cv.in) {
				cv.c.Write(say)
			}
		}
	}
}

// tunnels replaces the tunnel of the requests for which the condition holds.
func tunnels(when func(*socks.Request) bool, tunnel func(cv *conv, target *net.TCPConn, early []byte)) func(*script) {
	return func(s *script) {
		s.tunnel = func(cv *conv, target *net.TCPConn, early []byte) {
			if when == nil || when(cv.req) {
				tunnel(cv, target, early)
				return
			}
			relayBoth(cv.c, target, early)
		}
	}
}

// Wrong tunnels.
func blackHole(cv *conv, _ *net.TCPConn, _ []byte) { io.Copy(io.Discard, cv.c) }

func forgetEarly(cv *conv, target *net.TCPConn, _ []byte) { relayBoth(cv.c, target, nil) }

// firstEndEnds is the classic: the end of one direction ends both.
func firstEndEnds(cv *conv, target *net.TCPConn, early []byte) {
	target.Write(early)
	done := make(chan struct{}, 2)
	pump := func(to, from *net.TCPConn) {
		io.Copy(to, from)
		done <- struct{}{}
	}
	go pump(cv.c, target)
	go pump(target, cv.c)
	<-done
	cv.c.Close()
	target.Close()
	<-done
}

// keepClient does not tell the client that the target is gone.
func keepClient(cv *conv, target *net.TCPConn, early []byte) {
	target.Write(early)
	go io.Copy(target, cv.c)
	io.Copy(cv.c, target)
	cv.hang()
}

// filter changes what comes back.
func filter(change func([]byte) []byte) func(*conv, *net.TCPConn, []byte) {
	return func(cv *conv, target *net.TCPConn, early []byte) {
		target.Write(early)
		done := make(chan struct{})
		go func() {
			defer close(done)
			buf := make([]byte, 32<<10)
			for {
				n, err := target.Read(buf)
				if _, werr := cv.c.Write(change(buf[:n])); err != nil || werr != nil {
					cv.c.CloseWrite()
					return
				}
			}
		}()
		io.Copy(target, cv.c)
		target.CloseWrite()
		<-done
	}
}

// prefix puts bytes in front of what the client sends.
func prefix(cv *conv, target *net.TCPConn, early []byte) {
	relayBoth(cv.c, target, append([]byte{0}, early...))
}

// asking replaces what is done for a request; nil goes on as usual.
func asking(f func(cv *conv, r *socks.Request) *answer) func(*script) {
	return func(s *script) {
		s.ask = func(cv *conv, r *socks.Request) answer {
			if a := f(cv, r); a != nil {
				return *a
			}
			return cv.serveRequest(r)
		}
	}
}

// failIf fails requests.
func failIf(when func(*socks.Request) bool) func(*script) {
	return asking(func(_ *conv, r *socks.Request) *answer {
		if when(r) {
			return &answer{status: socks.HostUnreachable}
		}
		return nil
	})
}

// answerIf answers a lookup.
func answerIf(when func(*socks.Request) bool, bound socks.Addr) func(*script) {
	return asking(func(_ *conv, r *socks.Request) *answer {
		if when(r) {
			return &answer{bound: bound}
		}
		return nil
	})
}

func is(c socks.Command, v socks.Version) func(*socks.Request) bool {
	return func(r *socks.Request) bool { return r.Command == c && r.Version == v }
}

func named(r *socks.Request) bool { return r.Addr.Name != "" }

func and(a, b func(*socks.Request) bool) func(*socks.Request) bool {
	return func(r *socks.Request) bool { return a(r) && b(r) }
}

// literal reports whether an address came as a name.
func (cv *conv) literal() bool {
	i := bytes.Index(cv.in, []byte{5, byte(cv.req.Command), 0, 3})
	return i >= 0 && cv.req.Addr.IP.IsValid()
}

var errMutant = errors.New("refused by a mutant")

// refusing judges what a client says, against what is right.
func refusing(when func(socks.Auth) bool) func(*script) {
	return func(s *script) {
		s.verify = func(a socks.Auth) error {
			if a.Method == socks.UserPass && when(a) {
				return errMutant
			}
			return nil
		}
	}
}

// later reads a request that comes although the conversation is over.
func later(cv *conv, _ error) *socks.Request {
	for n := 1; ; n = cv.br.Buffered() + 1 {
		if _, err := cv.br.Peek(n); err != nil {
			return nil
		}
		b, _ := cv.br.Peek(cv.br.Buffered())
		r, m, err := socks.ParseRequest5(b)
		if err == nil {
			cv.br.Discard(m)
			return &r
		}
		if !errors.Is(err, socks.ErrShort) {
			return nil
		}
	}
}

// parsed finds a request at an offset of all that came.
func parsed(at int, parse func([]byte) (socks.Request, int, error)) func(*conv, error) *socks.Request {
	return func(cv *conv, _ error) *socks.Request {
		if len(cv.in) < at {
			return nil
		}
		r, _, err := parse(cv.in[at:])
		if err != nil {
			return nil
		}
		return &r
	}
}

// question asks the DNS server about a name, whatever comes of it.
func (s *script) question(name string, kind dnsmessage.Type) {
	n, err := dnsmessage.NewName(name + ".")
	if err != nil {
		return
	}
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: 7, RecursionDesired: true})
	b.StartQuestions()
	b.Question(dnsmessage.Question{Name: n, Type: kind, Class: dnsmessage.ClassINET})
	msg, err := b.Finish()
	if err != nil {
		return
	}
	c, err := new(net.Dialer).DialContext(context.Background(), "udp", s.dns)
	if err != nil {
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Second))
	c.Write(msg)
	c.Read(make([]byte, 512))
}

// asksFor asks for the name in a request of SOCKS5 before it does anything else, as far
// as the bytes show one.
func asksFor(when func(name string) bool, change func(string) string) func(*script) {
	return func(s *script) {
		s.say = func(e *saying) {
			name := nameIn(e.in)
			if e.stage != "reply" || name == "" || !when(name) {
				return
			}
			s.question(change(name), dnsmessage.TypeA)
		}
	}
}

// nameIn finds the name of a SOCKS5 request behind a greeting with one method.
func nameIn(in []byte) string {
	if len(in) < 9 || in[0] != 5 || in[6] != 3 || len(in) < 8+int(in[7]) {
		return ""
	}
	return string(in[8 : 8+int(in[7])])
}

func same(s string) string { return s }

func has(part string) func(string) bool {
	return func(s string) bool { return strings.Contains(s, part) }
}

func ip(s string) socks.Addr { return socks.Addr{IP: netip.MustParseAddr(s)} }
