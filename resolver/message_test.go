package resolver

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

func FuzzParseAnswer(f *testing.F) {
	q := dnsmessage.Question{Name: dnsmessage.MustNewName("x.test."), Type: A, Class: dnsmessage.ClassINET}
	for _, r := range []reply{
		{addrs: []string{"192.0.2.1"}, ttl: 9},
		{cname: "y.test", addrs: []string{"192.0.2.1", "192.0.2.2"}, ttl: 1 << 31},
		{cname: "x.test"},
		{cut: true},
		{rcode: dnsmessage.RCodeNameError, soa: 9},
		{rcode: dnsmessage.RCodeFormatError},
	} {
		f.Add(r.message(1, q))
	}
	f.Add([]byte("\x00\x00\x80\x00\x00\x01\x00\x01\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		r, truncated, err := parseAnswer(msg, question{name: "x.test", typ: A})
		switch {
		case err != nil && !r.empty():
			t.Error("records beside an error")
		case truncated && (err != nil || !r.empty()):
			t.Error("records of a truncated answer")
		case len(r.addrs) > maxRecords || len(r.names) > 0 || r.ttl > maxTTL || r.ttl < 0:
			t.Errorf("%+v", r)
		}
		for _, ip := range r.addrs {
			if !ip.Is4() {
				t.Errorf("%v of an A question", ip)
			}
		}
		if len(msg) > headerSize && err == nil && !truncated {
			if _, _, err := parseAnswer(msg, question{name: "another.test", typ: A}); !errors.Is(err, errNotAnswer) {
				t.Errorf("it answers another question, too: %v", err)
			}
		}
	})
}

// Every piece of an answer is refused.
func TestTruncations(t *testing.T) {
	q := dnsmessage.Question{Name: dnsmessage.MustNewName("x.test."), Type: AAAA, Class: dnsmessage.ClassINET}
	msg := reply{cname: "y.test", addrs: []string{"2001:db8::1"}, ttl: 9}.message(1, q)
	if r, _, err := parseAnswer(msg, question{name: "x.test", typ: AAAA}); err != nil || len(r.addrs) != 1 {
		t.Fatal(r, err)
	}
	for n := range msg {
		if _, _, err := parseAnswer(msg[:n], question{name: "x.test", typ: AAAA}); err == nil {
			t.Errorf("%d of %d bytes are taken", n, len(msg))
		}
	}
}

// Records that the question's name does not own are not believed: RFC 2181 section 5.4.1.
func TestOtherOwners(t *testing.T) {
	q := question{name: "x.test", typ: A}
	name := dnsmessage.MustNewName("x.test.")
	other := dnsmessage.MustNewName("bank.test.")
	h := func(n dnsmessage.Name, ttl uint32) dnsmessage.ResourceHeader {
		return dnsmessage.ResourceHeader{Name: n, Type: A, Class: dnsmessage.ClassINET, TTL: ttl}
	}
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{Response: true},
		Questions: []dnsmessage.Question{{Name: name, Type: A, Class: dnsmessage.ClassINET}},
		Answers: []dnsmessage.Resource{
			{Header: h(other, 5), Body: &dnsmessage.AResource{A: [4]byte{203, 0, 113, 66}}},
			{Header: h(name, 7), Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}}},
		},
		Additionals: []dnsmessage.Resource{{Header: h(name, 1), Body: &dnsmessage.AResource{A: [4]byte{203, 0, 113, 67}}}},
	}
	msg, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	r, _, err := parseAnswer(msg, q)
	if err != nil || len(r.addrs) != 1 || r.addrs[0] != netip.MustParseAddr("192.0.2.1") || r.ttl != 7*time.Second {
		t.Errorf("%+v, %v", r, err)
	}
}

// The query has the size that padding wants: RFC 8467 section 4.1.
func TestPadding(t *testing.T) {
	for _, name := range []string{"x", "x.test", "a-long-name-of-more-than-a-hundred-bytes.a-long-name-of-more-than-a-hundred-bytes.a-long-name-of-more-than-a-hundred.test"} {
		msg, err := appendQuery(question{name: name, typ: A}, true, true)
		if err != nil || len(msg)%paddingUnit != 0 {
			t.Errorf("%s: %d bytes, %v", name, len(msg), err)
		}
		var m dnsmessage.Message
		if err := m.Unpack(msg); err != nil || len(m.Additionals) != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
