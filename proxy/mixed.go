package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"hosier/internal/relay"
	"hosier/socks"
)

// mixed is a client of the inbound for SOCKS and HTTP on one port, up to the answer to its
// request. It is the [Pending] of that.
type mixed struct {
	*Policy
	c   *conn
	ses *Session // of c

	conn     net.Conn // as accepted, and once it is prepared the one that the client speaks on
	prepared bool
	deadline time.Time // of the whole request
	refusal  error     // the request will be refused with it, whoever asks

	req   *socks.Request
	early []byte   // what came after the request
	reply [32]byte // most have room in it
}

const (
	replyTimeout  = 10 * time.Second
	hangUpTimeout = time.Second
	hangUpBytes   = 256 << 10

	// refusalTimeout is how long a client that is refused whatever it says may take to say it.
	refusalTimeout = 2 * time.Second
)

// serveMixed serves a client that has just been accepted.
func (s *Server) serveMixed(ctx context.Context, c *conn) {
	m := &c.x.mixed
	m.c, m.ses, m.conn = c, &c.x.session, c.x.client
	if m.Policy = s.policy(m.ses); m.Policy == nil {
		m.conn.Close()
		c.finish(m.ses, errNoPolicy)
		return
	}
	err := m.negotiate(ctx) // sniff, handshake
	if m.req == nil {
		m.hangUp()
		c.finish(m.ses, err)
		return
	}
	c.x.pending = m
	s.answer(ctx, c, m.Policy, m, err)
}

// negotiate reads one request, of whatever dialect its first byte begins, with the bytes that
// come after it. With a request the client still awaits a reply, also where there is an error;
// without one nothing more is owed.
func (m *mixed) negotiate(ctx context.Context) error {
	accepted := m.conn
	m.deadline = m.ses.Start.Add(m.handshakeTimeout())
	m.conn.SetDeadline(m.deadline)
	if err := m.prepare(ctx); err != nil {
		accepted.Close()
		return err
	}
	m.c.setClient(m.conn)
	s := m.c.server
	br := s.reader(m.conn)
	defer s.giveBack(br)
	r, early, err := m.accept(br)
	if r == nil {
		return err
	}
	m.req = r
	r.Client, r.Listener, r.User = m.ses.Client, m.ses.Listener, m.ses.User
	if err == nil {
		if err = m.refusal; err == nil {
			if err = s.share(&m.c.x.place, m.ses); err != nil { // of the user, who is known by now
				s.refuse(&m.c.x.place, m.ses, true)
			}
		}
	}
	rest, _ := br.Peek(br.Buffered())
	m.early = append(early, rest...)
	return err
}

// Request returns what the client asked for.
func (m *mixed) Request() *socks.Request { return m.req }

// Grant writes the reply. The connection that it returns is the bare one of the event loop, if
// that serves it.
func (m *mixed) Grant(bound socks.Addr) (net.Conn, []byte, error) {
	err := m.write(socks.Succeeded, bound, nil)
	if err == nil && m.req.Command == socks.Connect {
		return m.conn, m.early, nil
	}
	m.hangUp()
	return nil, nil, err
}

// Refuse writes the reply, and hangs up.
func (m *mixed) Refuse(s socks.Status, cause error) {
	m.write(s, socks.Addr{}, cause)
	m.hangUp()
}

// write writes the reply, in one go.
func (m *mixed) write(s socks.Status, bound socks.Addr, cause error) error {
	m.conn.SetDeadline(time.Now().Add(replyTimeout))
	_, err := m.conn.Write(m.appendReply(m.reply[:0], m.req, s, bound, cause))
	return err
}

func (p *Policy) appendReply(b []byte, r *socks.Request, s socks.Status, bound socks.Addr, cause error) []byte {
	if r.Version == socks.HTTP {
		return p.appendHTTPReply(b, r, s, cause)
	}
	return r.AppendReply(b, s, bound)
}

// hangUp closes the connection so that what was written arrives: closing at once while bytes
// of the client are unread would reset the connection, and the reset overtakes the reply.
func (m *mixed) hangUp() {
	if half, ok := m.conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		m.conn.SetReadDeadline(time.Now().Add(hangUpTimeout))
		io.CopyN(io.Discard, m.conn, hangUpBytes)
	}
	m.conn.Close()
}

// prepare makes conn the one that the client speaks on, or returns an error. Nothing is
// computed for a client before it is admitted, and one that is not keeps no place.
func (m *mixed) prepare(ctx context.Context) error {
	if err := m.identify(ctx); err != nil {
		return err
	}
	s, place := m.c.server, &m.c.x.place
	if err := s.admit(m.Policy, place, m.ses); err != nil || m.Prepare == nil {
		return m.refuse(err)
	}
	c, err := m.Prepare(ctx, m.ses, relay.Leave(m.conn)) // which has much to compute
	if err != nil {
		return err
	}
	m.conn, m.prepared = c, true
	return m.refuse(s.share(place, m.ses)) // of a user whom a certificate shows
}

// refuse has the client be refused with err, if there is one, in its own dialect: it returns
// nil if that may be, and err if the connection is to be closed.
func (m *mixed) refuse(err error) error {
	if err == nil {
		return nil
	}
	if !m.c.server.refuse(&m.c.x.place, m.ses, m.Prepare == nil || m.prepared) {
		return err
	}
	m.refusal = err
	if soon := time.Now().Add(refusalTimeout); soon.Before(m.deadline) {
		m.deadline = soon
	}
	m.conn.SetDeadline(m.deadline)
	return nil
}

// identify learns who the client is.
func (m *mixed) identify(ctx context.Context) error {
	if m.Identify == nil {
		return nil
	}
	s, place := m.c.server, &m.c.x.place
	if !s.awaitIdentity(place) {
		return fmt.Errorf("%w: too many have yet to say who they are", ErrFull)
	}
	err := m.Identify(ctx, m.ses, m.conn)
	s.identified(place)
	if err != nil {
		return err
	}
	m.c.publish()
	return nil
}

// accept is where the first byte decides.
func (m *mixed) accept(br *bufio.Reader) (r *socks.Request, early []byte, err error) {
	first, err := br.Peek(1)
	switch {
	case err != nil:
		return nil, nil, err
	case first[0] == tlsHandshake:
		return nil, nil, ErrTLS
	case isLetter(first[0]):
		return m.acceptHTTP(br)
	}
	dialect := SOCKS5
	if socks.Version(first[0]) == socks.V4 {
		dialect = SOCKS4
	}
	r, err = socks.Accept(br, m.conn, m.verifier(dialect))
	return r, nil, err
}

// verifier is what judges the credentials of a client of this dialect; nil believes all.
func (m *mixed) verifier(one Dialects) func(socks.Auth) error {
	switch {
	case !m.Dialects.has(one):
		return func(socks.Auth) error { return fmt.Errorf("%w", ErrDialect) }
	case m.Verify == nil || m.refusal != nil:
		return nil
	}
	return func(a socks.Auth) error {
		user, known := "", false
		if m.Known != nil {
			user, known = m.Known(m.ses, a)
		}
		var err error
		if !known {
			relay.Leave(m.conn)
			user, err = m.Verify(m.ses, a)
		}
		if err == nil && user != "" {
			m.ses.User = user
		}
		return err
	}
}

// tlsHandshake is the first byte of a TLS client: the type of its first record, RFC 8446
// section 5.1. No dialect begins with it.
const tlsHandshake = 0x16

func isLetter(b byte) bool { return 'A' <= b && b <= 'Z' || 'a' <= b && b <= 'z' }

func (s *Server) reader(c net.Conn) *bufio.Reader {
	if br, ok := s.readers.Get().(*bufio.Reader); ok {
		br.Reset(c)
		return br
	}
	return bufio.NewReaderSize(c, socks.MaxMessage)
}

func (s *Server) giveBack(br *bufio.Reader) {
	br.Reset(nil)
	s.readers.Put(br)
}
