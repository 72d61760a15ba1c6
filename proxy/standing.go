package proxy

import (
	"encoding/binary"
	"net/netip"
	"time"

	"hosier/egress"
	"hosier/socks"
)

// standing is the session of a relay that stands, which may be for days and beside a
// million others: a [Session] with its [socks.Request] takes half a kilobyte, its bytes
// one after the other about 60.
//
// What isolated the request, user name and password among it, is not in it: nobody needs
// that any more, and a client may make it several kilobytes long. Session.User stays.
type standing struct {
	start  time.Time
	egress egress.Egress
	bytes  string // as stand has written them
}

// stand makes a standing of a session that was answered with success. Replied is when that
// was, from its start.
func stand(ses *Session, replied time.Duration) standing {
	r := ses.Request
	b := make([]byte, 0, 256)
	for _, n := range [...]uint64{
		ses.ID, uint64(ses.Handshake), uint64(ses.Connect), uint64(replied),
		uint64(r.Version), uint64(r.Command), uint64(r.Auth.Method), uint64(r.Addr.Port), bit(r.Literal),
	} {
		b = binary.AppendUvarint(b, n)
	}
	for _, ap := range [...]netip.AddrPort{ses.Client, netip.AddrPortFrom(r.Addr.IP, 0)} {
		var room [64]byte
		a, _ := ap.AppendBinary(room[:0]) // never fails
		b = appendText(b, a)
	}
	for _, s := range [...]string{ses.User, ses.Listener, ses.Rule, r.Addr.Name, r.Member} {
		b = appendText(b, s)
	}
	return standing{start: ses.Start, egress: ses.Egress, bytes: string(b)}
}

// session is what stand was given, without what isolated it, and when the reply was sent.
func (st *standing) session() (_ *Session, replied time.Duration) {
	p := packed(st.bytes)
	var both struct { // in one allocation
		ses     Session
		request socks.Request
	}
	ses, r := &both.ses, &both.request
	*ses = Session{Start: st.start, Egress: st.egress, Request: r, Status: socks.Succeeded}
	ses.ID = p.number()
	ses.Handshake, ses.Connect, replied = time.Duration(p.number()), time.Duration(p.number()), time.Duration(p.number())
	r.Version, r.Command, r.Auth.Method = socks.Version(p.number()), socks.Command(p.number()), socks.Method(p.number())
	r.Addr.Port, r.Literal = uint16(p.number()), p.number() == 1
	ses.Client, r.Addr.IP = p.addrPort(), p.addrPort().Addr()
	ses.User, ses.Listener, ses.Rule = p.text(), p.text(), p.text()
	r.Addr.Name, r.Member = p.text(), p.text()
	r.Client, r.User, r.Listener = ses.Client, ses.User, ses.Listener // as negotiate has it
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

// packed is what is left of the bytes of a standing.
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

func (p *packed) addrPort() (ap netip.AddrPort) {
	if err := ap.UnmarshalBinary([]byte(p.text())); err != nil {
		panic("proxy: " + err.Error()) // we wrote it
	}
	return ap
}
