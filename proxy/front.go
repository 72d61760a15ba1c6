package proxy

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"time"

	"hosier/internal/relay"
	"hosier/socks"
)

// front is one conversation up to its request.
type front struct {
	*Policy
	ses      *Session
	conn     net.Conn
	prepared bool
	refusal  error // the request will be refused with it, whoever asks

	deadline time.Time // of the whole request
}

// refusalTimeout is how long a client that is refused whatever it says may take to say it.
const refusalTimeout = 2 * time.Second

// negotiate reads one request in whatever dialect its first byte begins, with the bytes
// that came after it, and returns the connection that the client speaks on. If both the
// request and the error are non-nil the client still awaits a reply; if the request is
// nil nothing more is owed.
func (p *Policy) negotiate(ctx context.Context, t *tracked, ses *Session) (c net.Conn, r *socks.Request, early []byte, err error) {
	f := front{Policy: p, ses: ses, conn: t.talk.conn, deadline: ses.Start.Add(p.handshakeTimeout())}
	f.conn.SetDeadline(f.deadline)
	if err := f.prepare(ctx, t); err != nil {
		t.talk.conn.Close()
		return t.talk.conn, nil, nil, err
	}
	t.replace(f.conn)
	br := t.server.reader(f.conn)
	defer t.server.giveBack(br)
	r, early, err = f.accept(br)
	if r == nil {
		return f.conn, nil, nil, err
	}
	r.Client, r.Listener, r.User = ses.Client, ses.Listener, ses.User
	if err == nil {
		if err = f.refusal; err == nil {
			if err = t.server.share(&t.talk.place, ses); err != nil { // of the user, who is known by now
				t.server.refuse(&t.talk.place, ses, true)
			}
		}
	}
	rest, _ := br.Peek(br.Buffered())
	return f.conn, r, append(early, rest...), err
}

// prepare comes to the connection that the client speaks on, or to an error. Nothing is
// computed for a client before it is admitted, and one that is not keeps no place.
func (f *front) prepare(ctx context.Context, t *tracked) error {
	s, place := t.server, &t.talk.place
	if err := f.identify(ctx, t); err != nil {
		return err
	}
	if err := f.admit(s, place); err != nil || f.Prepare == nil {
		return f.refuse(s, place, err)
	}
	c, err := f.Prepare(ctx, f.ses, f.conn)
	if err != nil {
		return err
	}
	if c != f.conn {
		relay.Leave(f.conn) // c may use it from anywhere
	}
	f.conn, f.prepared = c, true
	return f.refuse(s, place, s.share(place, f.ses)) // of a user whom a certificate shows
}

// refuse has the client be refused with err, if there is one, in its own dialect: it returns
// nil if that may be, and err if the connection is to be closed.
func (f *front) refuse(s *Server, p *place, err error) error {
	if err == nil {
		return nil
	}
	if !s.refuse(p, f.ses, f.Prepare == nil || f.prepared) {
		return err
	}
	f.refusal = err
	if soon := time.Now().Add(refusalTimeout); soon.Before(f.deadline) {
		f.deadline = soon
	}
	f.conn.SetDeadline(f.deadline)
	return nil
}

// identify learns who the client is.
func (f *front) identify(ctx context.Context, t *tracked) error {
	if f.Identify == nil {
		return nil
	}
	if !t.server.awaitIdentity(&t.talk.place) {
		return fmt.Errorf("%w: too many have yet to say who they are", ErrFull)
	}
	err := f.Identify(ctx, f.ses, f.conn)
	t.server.identified(&t.talk.place)
	if err != nil {
		return err
	}
	t.show()
	return nil
}

// admit judges the client once it is known.
func (f *front) admit(s *Server, p *place) error {
	if f.Admit != nil {
		if err := f.Admit(f.ses); err != nil {
			return err
		}
	}
	return s.share(p, f.ses)
}

// accept is where the first byte decides.
func (f *front) accept(br *bufio.Reader) (r *socks.Request, early []byte, err error) {
	first, err := br.Peek(1)
	switch {
	case err != nil:
		return nil, nil, err
	case first[0] == tlsHandshake:
		return nil, nil, ErrTLS
	case isLetter(first[0]):
		relay.Leave(f.conn)
		return f.acceptHTTP(br)
	}
	dialect := SOCKS5
	if socks.Version(first[0]) == socks.V4 {
		dialect = SOCKS4
	}
	r, err = socks.Accept(br, f.conn, f.verifier(dialect))
	return r, nil, err
}

// verifier is what judges the credentials of a client of this dialect; nil believes all.
func (f *front) verifier(one Dialects) func(socks.Auth) error {
	switch {
	case !f.Dialects.has(one):
		return func(socks.Auth) error { return fmt.Errorf("%w", ErrDialect) }
	case f.Verify == nil || f.refusal != nil:
		return nil
	}
	return func(a socks.Auth) error {
		relay.Leave(f.conn)
		user, err := f.Verify(f.ses, a)
		if err == nil && user != "" {
			f.ses.User = user
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
