package proxy

import (
	"encoding"
	"encoding/binary"
	"time"

	"hosier/socks"
)

// packedSession is the session of a relay that stands, which may be for days and beside a
// million others: a [Session] with its [socks.Request] takes half a kilobyte, its bytes
// one after the other about 70.
//
// What isolated the request, user name and password among it, is not in it: nobody needs
// that any more, and a client may make it several kilobytes long. Session.User stays.
type packedSession struct {
	start time.Time
	done  func(*Session) // of its Route
	bytes string         // as pack has written them
}

// pack returns the packed form of a session that was answered with success. Replied is when
// that was, from its start.
func pack(ses *Session, done func(*Session), replied time.Duration) packedSession {
	r := ses.Request
	b := make([]byte, 0, 256)
	for _, n := range [...]uint64{
		ses.ID, uint64(ses.Handshake), uint64(ses.Connect), uint64(replied),
		uint64(r.Version), uint64(r.Command), uint64(r.Auth.Method), uint64(r.Addr.Port), bit(r.Literal),
	} {
		b = binary.AppendUvarint(b, n)
	}
	var room [64]byte
	client, _ := ses.Client.AppendBinary(room[:0]) // never fails
	b = appendText(b, client)
	ip, _ := r.Addr.IP.AppendBinary(room[:0]) // likewise
	b = appendText(b, ip)
	for _, s := range [...]string{ses.User, ses.Listener, ses.Rule, ses.Egress, r.Addr.Name, r.Member} {
		b = appendText(b, s)
	}
	return packedSession{start: ses.Start, done: done, bytes: string(b)}
}

// session returns what pack was given, without what isolated it, and when the reply was sent.
func (ps *packedSession) session() (_ *Session, replied time.Duration) {
	p := packed(ps.bytes)
	var both struct { // in one allocation
		ses     Session
		request socks.Request
	}
	ses, r := &both.ses, &both.request
	*ses = Session{Start: ps.start, Request: r, Status: socks.Succeeded}
	ses.ID = p.number()
	ses.Handshake, ses.Connect, replied = time.Duration(p.number()), time.Duration(p.number()), time.Duration(p.number())
	r.Version, r.Command, r.Auth.Method = socks.Version(p.number()), socks.Command(p.number()), socks.Method(p.number())
	r.Addr.Port, r.Literal = uint16(p.number()), p.number() == 1
	p.binary(&ses.Client)
	p.binary(&r.Addr.IP)
	ses.User, ses.Listener, ses.Rule, ses.Egress = p.text(), p.text(), p.text(), p.text()
	r.Addr.Name, r.Member = p.text(), p.text()
	r.Client, r.User, r.Listener = ses.Client, ses.User, ses.Listener // as a Pending has them
	return ses, replied
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func appendText[T string | []byte](b []byte, text T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// packed is what is left of the bytes of a packedSession.
type packed string

func (p *packed) number() (n uint64) {
	for shift := 0; ; shift += 7 {
		c := (*p)[0]
		*p = (*p)[1:]
		n |= uint64(c&0x7F) << shift
		if c < 0x80 {
			return n
		}
	}
}

func (p *packed) text() string {
	n := p.number()
	s := (*p)[:n]
	*p = (*p)[n:]
	return string(s)
}

func (p *packed) binary(v encoding.BinaryUnmarshaler) {
	if err := v.UnmarshalBinary([]byte(p.text())); err != nil {
		panic("proxy: " + err.Error()) // we wrote it
	}
}
