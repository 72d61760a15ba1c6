package resolver

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Message is a DNS message that answers a question of any type.
type Message struct {
	// Wire is the message (RFC 1035 section 4) up to its authority records, with the ID 0 and
	// TTLs less their age. A server of its own has to set the ID, and to cut what does not fit.
	// It is the caller's.
	Wire []byte

	RCode  dnsmessage.RCode // RCodeSuccess, or RCodeNameError if the name does not exist
	TTL    time.Duration    // for which the answer, or the absence of one, holds
	Server string           // that answered, or "hosts file" and the like
	Cached bool
}

// Exchange returns the answer to a question of any type of class IN, cached for its TTL, or if
// it says that there is nothing, as RFC 2308 has it. Names are asked for as they are, without a
// search list. The hosts file and names for special use are known; the hosts file's names have
// addresses and nothing else. A name that does not exist is no error; others are those of
// [View.Lookup], which wrap an [RCodeError] where a server answered so. Questions about zone
// transfers and the like match errors.ErrUnsupported.
func (v View) Exchange(ctx context.Context, q dnsmessage.Question) (Message, error) {
	return wait(ctx, q.Name.String(), func(done func(Message, error)) func() { return v.AskMessage(q, done) })
}

// AskMessage is [View.Exchange] without waiting, as [View.Ask] is [View.Lookup].
func (v View) AskMessage(q dnsmessage.Question, done func(Message, error)) (cancel func()) {
	none := func() {}
	if q.Class != dnsmessage.ClassINET || isMeta(q.Type) {
		done(Message{}, fmt.Errorf("lookup %v: records of type %v and class %v: %w", q.Name, q.Type, q.Class, errors.ErrUnsupported))
		return none
	}
	name, ok := canonical(q.Name.String())
	if q.Name.String() == "." {
		name, ok = "", true
	}
	if !ok {
		done(Message{}, notFound(q.Name.String(), "", "not a name that DNS can hold"))
		return none
	}
	if m, err, known := v.localMessage(q, name); known {
		done(m, err)
		return none
	}
	return v.ask(question{name, q.Type, true}, func(e *entry, cached bool) {
		done(e.message(q, cached))
	})
}

// isMeta reports whether questions of the type are no lookups: RFC 6895 section 3.1.
func isMeta(t Type) bool {
	const opt, tkey, maila = 41, 249, 254
	return t == 0 || t == opt || tkey <= t && t <= maila
}

// localMessage answers what is known without a server.
func (v View) localMessage(q dnsmessage.Question, name string) (m Message, err error, known bool) {
	if maybeAddr(name) {
		return m, nil, false
	}
	family := q.Type
	if family != AAAA {
		family = A
	}
	a, _, known := v.local(name, family)
	if !known {
		return m, nil, false
	}
	m = Message{Server: a.Server}
	if a.NoName {
		m.RCode = dnsmessage.RCodeNameError
	}
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{Response: true, RecursionDesired: true, RecursionAvailable: true, RCode: m.RCode})
	b.EnableCompression()
	err = errors.Join(b.StartQuestions(), b.Question(q), b.StartAnswers())
	h := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET}
	if q.Type == A || q.Type == AAAA {
		for _, ip := range a.Addrs {
			switch {
			case ip.Is4() && q.Type == A:
				err = errors.Join(err, b.AResource(h, dnsmessage.AResource{A: ip.As4()}))
			case ip.Is6() && q.Type == AAAA:
				err = errors.Join(err, b.AAAAResource(h, dnsmessage.AAAAResource{AAAA: ip.As16()}))
			}
		}
	}
	if err == nil {
		m.Wire, err = b.Finish()
	}
	return m, err, true
}

// message is what e says to somebody who asked q.
func (e *entry) message(q dnsmessage.Question, cached bool) (Message, error) {
	if e.err != nil {
		_, err := e.answer(q.Name.String(), cached)
		return Message{}, err
	}
	now := time.Now()
	m := Message{
		Wire: bytes.Clone(e.wire), RCode: dnsmessage.RCode(e.wire[3] & 15), TTL: max(0, e.expires.Sub(now)), Server: e.server, Cached: cached,
	}
	left := uint32((m.TTL + time.Second - 1) / time.Second)
	age := uint32(max(0, now.Sub(e.fresh.Add(-e.ttl))) / time.Second)
	eachTTL(m.Wire, func(ttl uint32) uint32 {
		switch {
		case now.After(e.fresh): // stale: RFC 8767 section 4
			return left
		case !e.found: // RFC 2308 section 5
			return min(less(ttl, age), left)
		}
		return less(ttl, age)
	})
	name := q.Name.String()
	for i := range e.name { // as it was asked for, in its letters' case too; of equal length
		if e.name[i] != '.' {
			m.Wire[headerSize+1+i] = name[i]
		}
	}
	return m, nil
}

func less(ttl, age uint32) uint32 { return max(ttl, age) - age }

// keepWhole keeps a message up to its authority records, which is where compressed names may
// point to.
func (r *records) keepWhole(msg []byte, q question) error {
	end := headerSize + len(q.name) + 6 // type, class and the lengths at both ends of the name
	if q.name == "" {
		end--
	}
	if n, err := skipName(msg, headerSize); err != nil || n+4 != end {
		return errors.New("compressed question")
	}
	ttl := maxTTL
	section := int(binary.BigEndian.Uint16(msg[6:]))
	for i := range section + int(binary.BigEndian.Uint16(msg[8:])) {
		head, next, err := skipRecord(msg, end)
		if err != nil {
			return err
		}
		if i < section {
			ttl = min(ttl, duration(binary.BigEndian.Uint32(msg[head+4:])))
			t := Type(binary.BigEndian.Uint16(msg[head:]))
			r.found = r.found || t == q.typ || q.typ == dnsmessage.TypeALL
		}
		end = next
	}
	r.ttl = ttl
	r.wire = slices.Clone(msg[:end])
	copy(r.wire, []byte{0, 0, 0x81, 0x80 | msg[3]&15}) // ID 0; QR, RD and RA alone: the server is no authority here
	copy(r.wire[10:], []byte{0, 0})
	eachTTL(r.wire, func(ttl uint32) uint32 { return uint32(duration(ttl) / time.Second) })
	return nil
}

// eachTTL replaces the TTL of each record of a message that keepWhole has kept.
func eachTTL(wire []byte, with func(uint32) uint32) {
	at, _ := skipName(wire, headerSize)
	at += 4
	for at < len(wire) {
		head, next, err := skipRecord(wire, at)
		if err != nil {
			return
		}
		binary.BigEndian.PutUint32(wire[head+4:], with(binary.BigEndian.Uint32(wire[head+4:])))
		at = next
	}
}

var errShort = errors.New("it ends too early")

// skipRecord returns where the type of the record at an offset is, and where the next begins.
func skipRecord(msg []byte, at int) (head, next int, err error) {
	if head, err = skipName(msg, at); err != nil {
		return 0, 0, err
	}
	if head+10 > len(msg) {
		return 0, 0, errShort
	}
	next = head + 10 + int(binary.BigEndian.Uint16(msg[head+8:]))
	if next > len(msg) {
		return 0, 0, errShort
	}
	return head, next, nil
}

// skipName returns the end of the name at an offset: RFC 1035 section 4.1.4.
func skipName(msg []byte, at int) (int, error) {
	for at < len(msg) {
		switch n := int(msg[at]); {
		case n == 0:
			return at + 1, nil
		case n >= 0xC0:
			if at+2 > len(msg) {
				return 0, errShort
			}
			return at + 2, nil
		case n >= 0x40:
			return 0, errors.New("label of an unknown kind")
		default:
			at += 1 + n
		}
	}
	return 0, errShort
}

// Exchange is [View.Exchange] of the group "".
func (r *Resolver) Exchange(ctx context.Context, q dnsmessage.Question) (Message, error) {
	return r.For("").Exchange(ctx, q)
}
