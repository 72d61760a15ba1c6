package resolver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"pgregory.net/rapid"
)

// wired is a transport whose server answers at once, with a message.
type wired struct {
	asked  map[question]int
	answer func(q question) []byte
}

func (w *wired) ask(q *query, done func(records, error)) func() {
	w.asked[q.question]++
	found, _, err := q.parse(w.answer(q.question))
	done(found, err)
	return func() {}
}

func (w *wired) close() {}

func wiredResolver(answer func(q question) []byte) (*Resolver, *wired) {
	r, _ := fakeResolver(nil)
	w := &wired{map[question]int{}, answer}
	r.upstreams[r.Servers[0]].transport = w
	return r, w
}

// packed is a message that answers q, as a careless server has it.
func packed(t interface{ Fatal(...any) }, q dnsmessage.Question, rcode dnsmessage.RCode, answers, authorities []dnsmessage.Resource) []byte {
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 77, Response: true, Authoritative: true, AuthenticData: true, RCode: rcode},
		Questions: []dnsmessage.Question{q}, Answers: answers, Authorities: authorities,
		Additionals: []dnsmessage.Resource{record1(q, 5, &dnsmessage.AResource{A: [4]byte{203, 0, 113, 66}})},
	}
	msg, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

func record1(q dnsmessage.Question, ttl uint32, body dnsmessage.ResourceBody) dnsmessage.Resource {
	return dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: ttl}, Body: body}
}

func soa(q dnsmessage.Question, ttl, least uint32) []dnsmessage.Resource {
	return []dnsmessage.Resource{record1(q, ttl, &dnsmessage.SOAResource{NS: q.Name, MBox: q.Name, MinTTL: least})}
}

func ask1(name string, typ Type) dnsmessage.Question {
	return dnsmessage.Question{Name: dnsmessage.MustNewName(name), Type: typ, Class: dnsmessage.ClassINET}
}

const typeHTTPS = Type(65)

// What one message or another comes to: at once, and 10 s later from the cache.
func TestExchange(t *testing.T) {
	unknown := func(q dnsmessage.Question) []dnsmessage.Resource {
		return []dnsmessage.Resource{record1(q, 60, &dnsmessage.UnknownResource{Type: typeHTTPS, Data: []byte("\x00\x01\x00")})}
	}
	for name, test := range map[string]struct {
		q                    dnsmessage.Question
		answers, authorities func(dnsmessage.Question) []dnsmessage.Resource
		rcode                dnsmessage.RCode
		ttls                 []uint32 // of all records, 10 s later
		ttl                  time.Duration
	}{
		"RFC3597/a type that nobody knows": {q: ask1("x.test.", typeHTTPS), answers: unknown, ttls: []uint32{50}, ttl: 60 * time.Second},
		"RFC4343/letters' case":            {q: ask1("WwW.x.TEST.", typeHTTPS), answers: unknown, ttls: []uint32{50}, ttl: 60 * time.Second},
		"RFC1035/the root": {q: ask1(".", dnsmessage.TypeNS), answers: func(q dnsmessage.Question) []dnsmessage.Resource {
			return []dnsmessage.Resource{record1(q, 100, &dnsmessage.NSResource{NS: dnsmessage.MustNewName("a.test.")})}
		}, ttls: []uint32{90}, ttl: 100 * time.Second},
		"RFC2181-s5.2/different TTLs": {q: ask1("x.test.", dnsmessage.TypeMX), answers: func(q dnsmessage.Question) []dnsmessage.Resource {
			return []dnsmessage.Resource{
				record1(q, 40, &dnsmessage.MXResource{Pref: 1, MX: q.Name}),
				record1(q, 5, &dnsmessage.TXTResource{TXT: []string{"beside"}}), record1(q, 1<<31, &dnsmessage.TXTResource{TXT: []string{"beside"}}),
			}
		}, ttl: 0},
		"RFC2308-s2.1/no such name":                      {q: ask1("x.test.", dnsmessage.TypeMX), rcode: dnsmessage.RCodeNameError, authorities: func(q dnsmessage.Question) []dnsmessage.Resource { return soa(q, 600, 20) }, ttls: []uint32{10}, ttl: 20 * time.Second},
		"RFC2308-s2.2/no such record, for at most 5 min": {q: ask1("x.test.", dnsmessage.TypeMX), authorities: func(q dnsmessage.Question) []dnsmessage.Resource { return soa(q, 4000, 4000) }, ttls: []uint32{290}, ttl: 300 * time.Second},
		"RFC2308-s2.1/an alias of nothing": {q: ask1("x.test.", dnsmessage.TypeMX), rcode: dnsmessage.RCodeNameError, answers: func(q dnsmessage.Question) []dnsmessage.Resource {
			return []dnsmessage.Resource{record1(q, 15, &dnsmessage.CNAMEResource{CNAME: q.Name})}
		}, authorities: func(q dnsmessage.Question) []dnsmessage.Resource { return soa(q, 600, 600) }, ttls: []uint32{5, 5}, ttl: 15 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, w := wiredResolver(func(q question) []byte {
					sent := test.q
					sent.Name = dnsmessage.MustNewName(q.name + ".")
					var answers, authorities []dnsmessage.Resource
					if test.answers != nil {
						answers = test.answers(sent)
					}
					if test.authorities != nil {
						authorities = test.authorities(sent)
					}
					return packed(t, sent, test.rcode, answers, authorities)
				})
				first := exchanged(t, r, test.q)
				if first.TTL != test.ttl || first.Cached || first.RCode != test.rcode || first.Server != r.Servers[0].String() {
					t.Errorf("%+v", first)
				}
				time.Sleep(10*time.Second + 1)
				later := exchanged(t, r, test.q)
				wantCached, asked := test.ttl > 0, w.asked[question{strings.ToLower(strings.TrimSuffix(test.q.Name.String(), ".")), test.q.Type, true}]
				if later.Cached != wantCached || asked != map[bool]int{true: 1, false: 2}[wantCached] {
					t.Errorf("cached: %v; asked %d times", later.Cached, asked)
				}
				if wantCached {
					// A TTL says no more seconds than are left.
					if ttls := ttlsOf(t, later.Wire); fmt.Sprint(ttls) != fmt.Sprint(test.ttls) {
						t.Errorf("TTLs %v, want %v", ttls, test.ttls)
					}
				}
			})
		})
	}
}

// exchanged is a message, which has passed what is true of all of them.
func exchanged(t *testing.T, r *Resolver, q dnsmessage.Question) Message {
	t.Helper()
	m, err := r.Exchange(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	var read dnsmessage.Message
	if err := read.Unpack(m.Wire); err != nil {
		t.Fatal(err)
	}
	want := dnsmessage.Header{Response: true, RecursionDesired: true, RecursionAvailable: true, RCode: m.RCode}
	if read.Header != want || len(read.Additionals) != 0 || len(read.Questions) != 1 || read.Questions[0] != q {
		t.Errorf("%+v: %+v", q, read)
	}
	return m
}

func ttlsOf(t *testing.T, wire []byte) (ttls []uint32) {
	t.Helper()
	var read dnsmessage.Message
	if err := read.Unpack(wire); err != nil {
		t.Fatal(err)
	}
	for _, one := range append(read.Answers, read.Authorities...) {
		ttls = append(ttls, one.Header.TTL)
	}
	return ttls
}

// What is known without a server, and what is no question.
func TestExchangeLocal(t *testing.T) {
	hostsFile := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(hostsFile, []byte("192.0.2.7 host.test\n2001:db8::7 host.test\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, w := wiredResolver(nil)
	r.NoHosts, r.hostsPath = false, hostsFile
	for _, test := range []struct {
		q       dnsmessage.Question
		rcode   dnsmessage.RCode
		answers int
	}{
		{ask1("Host.test.", A), 0, 1},
		{ask1("host.test.", AAAA), 0, 1},
		{ask1("host.test.", typeHTTPS), 0, 0},
		{ask1("localhost.", A), 0, 1},
		{ask1("a.localhost.", dnsmessage.TypeMX), 0, 0},
		{ask1("x.onion.", A), dnsmessage.RCodeNameError, 0},
		{ask1("x.invalid.", typeHTTPS), dnsmessage.RCodeNameError, 0},
	} {
		m := exchanged(t, r, test.q)
		if n := len(ttlsOf(t, m.Wire)); n != test.answers || m.RCode != test.rcode {
			t.Errorf("%v: %d answers, %v", test.q, n, m.RCode)
		}
	}
	for _, q := range []dnsmessage.Question{
		{Name: dnsmessage.MustNewName("x.test."), Type: A, Class: dnsmessage.ClassCHAOS},
		ask1("x.test.", 0), ask1("x.test.", 41), ask1("x.test.", 251), ask1("x.test.", dnsmessage.TypeAXFR),
	} {
		if _, err := r.Exchange(t.Context(), q); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%v: %v", q, err)
		}
	}
	if len(w.asked) != 0 {
		t.Errorf("asked for %v", w.asked)
	}
}

// A server's failure is an error that has its code.
func TestExchangeFailure(t *testing.T) {
	q := ask1("x.test.", dnsmessage.TypeMX)
	r, _ := wiredResolver(func(question) []byte { return packed(t, q, dnsmessage.RCodeRefused, nil, nil) })
	_, err := r.Exchange(t.Context(), q)
	var code RCodeError
	var dns *net.DNSError
	if !errors.As(err, &code) || code != RCodeError(dnsmessage.RCodeRefused) || !errors.As(err, &dns) || dns.Server != r.Servers[0].String() {
		t.Errorf("%v", err)
	}
}

// Any message is refused, or is one that can be given to others.
func FuzzWhole(f *testing.F) {
	q := ask1("x.test.", dnsmessage.TypeMX)
	f.Add(packed(f, q, 0, []dnsmessage.Resource{record1(q, 9, &dnsmessage.MXResource{MX: q.Name})}, nil))
	f.Add(packed(f, q, 3, nil, soa(q, 7, 9)))
	f.Add([]byte("\x00\x00\x80\x00\x00\x01\x00\x01\x00\x00\x00\x00\xc0\x0c\x00\x0f\x00\x01"))
	f.Add([]byte("\x00\x00\x80\x00\x00\x01\x00\x01\x00\x00\x00\x00\x01x\x04test\x00\x00\x0f\x00\x01\xc0\x0c\x00\x0f\x00\x01\x00\x00\x00\x09\xff\xff"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		before := string(msg)
		r, truncated, err := parseAnswer(msg, question{"x.test", q.Type, true})
		if string(msg) != before {
			t.Error("the message was changed")
		}
		if err != nil || truncated {
			if len(r.wire) > 0 || r.found {
				t.Errorf("%+v beside %v, %v", r, truncated, err)
			}
			return
		}
		now := time.Now()
		e := &entry{key: key{question: question{"x.test", q.Type, true}}, records: r, fresh: now.Add(r.ttl), expires: now.Add(r.ttl)}
		m, err := e.message(q, false)
		if err != nil || len(m.Wire) > len(msg) || m.TTL < 0 || m.TTL > maxTTL || m.Wire[0]|m.Wire[1]|m.Wire[10]|m.Wire[11] != 0 {
			t.Fatalf("%+v, %v", m, err)
		}
		end := headerSize + len("x.test") + 6
		for range int(binary.BigEndian.Uint16(m.Wire[6:])) + int(binary.BigEndian.Uint16(m.Wire[8:])) {
			head, next, err := skipRecord(m.Wire, end)
			if err != nil || binary.BigEndian.Uint32(m.Wire[head+4:]) > uint32(maxTTL/time.Second) {
				t.Fatalf("record at %d: %v", end, err)
			}
			end = next
		}
		if end != len(m.Wire) {
			t.Errorf("%d bytes, of which %d are records", len(m.Wire), end)
		}
	})
}

// What is asked, and what is known without, against a list of all answers and when they end: of
// lookups and whole messages, several names, groups, Flush, and failures, over hours.
func TestKeptAgreesWithReference(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(struct{ rapid.TB }{t}, func(t *rapid.T) { // whose deadline no bubble can be asked for
			var next func(q question) []byte
			r, w := wiredResolver(func(q question) []byte { return next(q) })
			known := map[key]time.Time{}
			for range rapid.IntRange(1, 100).Draw(t, "steps") {
				time.Sleep(time.Duration(rapid.SampledFrom([]int{0, 1, 4, 5, 29, 30, 59, 60, 300, 4000}).Draw(t, "sleep")) * time.Second)
				if rapid.IntRange(0, 30).Draw(t, "flush") == 0 {
					r.Flush()
					clear(known)
				}
				name := rapid.SampledFrom([]string{"a.test", "b.test", "c.test"}).Draw(t, "name")
				typ := rapid.SampledFrom([]Type{A, AAAA, dnsmessage.TypeMX}).Draw(t, "type")
				whole := typ == dnsmessage.TypeMX || rapid.Bool().Draw(t, "whole")
				group := rapid.SampledFrom([]string{"", "g"}).Draw(t, "group")
				ttl := rapid.SampledFrom([]uint32{0, 1, 5, 30, 60, 600, 100_000, 1 << 31}).Draw(t, "ttl")
				kind := rapid.SampledFrom([]string{"yes", "no", "no name", "bare", "failure"}).Draw(t, "kind")
				var holds time.Duration
				next, holds = answerOf(t, kind, ttl)

				k := key{question{name, typ, whole}, group}
				wantCached := time.Now().Before(known[k])
				before := w.asked[k.question]
				cached := lookUp(t, r.For(group), k.question)
				if asked := w.asked[k.question] - before; cached != wantCached || asked != map[bool]int{true: 0, false: 1}[wantCached] {
					t.Fatalf("%+v: cached %v, asked %d times; want %v", k, cached, asked, wantCached)
				}
				if !wantCached {
					known[k] = time.Now().Add(holds)
				}
			}
		})
	})
}

// lookUp asks by whichever method is that of the question, and reports whether it was cached.
func lookUp(t *rapid.T, v View, q question) (cached bool) {
	ctx := context.Background()
	if !q.whole {
		a, _ := v.Lookup(ctx, q.name, q.typ)
		return a.Cached
	}
	asked := v.r.Stats().Asked
	_, err := v.Exchange(ctx, ask1(q.name+".", q.typ))
	if err != nil && !errors.As(err, new(RCodeError)) {
		t.Fatal(err)
	}
	return v.r.Stats().Asked == asked
}

// answerOf is a kind of answer, and how long it holds.
func answerOf(t *rapid.T, kind string, ttl uint32) (answer func(question) []byte, holds time.Duration) {
	time1 := func(most time.Duration) time.Duration {
		if ttl >= 1<<31 {
			return 0 // RFC 2181 section 8
		}
		return min(time.Duration(ttl)*time.Second, most)
	}
	reply := func(rcode dnsmessage.RCode, answers, authorities func(dnsmessage.Question) []dnsmessage.Resource) func(question) []byte {
		return func(q question) []byte {
			sent := ask1(q.name+".", q.typ)
			return packed(t, sent, rcode, answers(sent), authorities(sent))
		}
	}
	none := func(dnsmessage.Question) []dnsmessage.Resource { return nil }
	start := func(q dnsmessage.Question) []dnsmessage.Resource { return soa(q, ttl, 3000) }
	switch kind {
	case "no":
		return reply(dnsmessage.RCodeSuccess, none, start), time1(maxNegative)
	case "no name":
		return reply(dnsmessage.RCodeNameError, none, start), time1(maxNegative)
	case "bare":
		return reply(dnsmessage.RCodeNameError, none, none), bareTTL
	case "failure":
		return reply(dnsmessage.RCodeServerFailure, none, none), failureTTL
	}
	return reply(dnsmessage.RCodeSuccess, func(q dnsmessage.Question) []dnsmessage.Resource {
		switch q.Type {
		case A:
			return []dnsmessage.Resource{record1(q, ttl, &dnsmessage.AResource{A: netip.MustParseAddr("192.0.2.1").As4()})}
		case AAAA:
			return []dnsmessage.Resource{record1(q, ttl, &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr("2001:db8::1").As16()})}
		}
		return []dnsmessage.Resource{record1(q, ttl, &dnsmessage.MXResource{MX: q.Name})}
	}, none), time1(maxTTL)
}
