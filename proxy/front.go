package proxy

import (
	"bufio"
	"context"
	"fmt"
	"net"

	"hosier/internal/relay"
	"hosier/socks"
)

// front is one conversation up to its request.
type front struct {
	*Policy
	ses     *Session
	conn    net.Conn
	refusal error // the request will be refused with it, whoever asks
}

// negotiate reads one request in whatever dialect its first byte begins, with the bytes
// that came after it, and returns the connection that the client speaks on. If both the
// request and the error are non-nil the client still awaits a reply; if the request is
// nil nothing more is owed.
func (p *Policy) negotiate(ctx context.Context, t *tracked, ses *Session) (c net.Conn, r *socks.Request, early []byte, err error) {
	f := front{Policy: p, ses: ses, conn: t.talk.conn}
	deadline := ses.Start.Add(p.handshakeTimeout())
	f.conn.SetDeadline(deadline)
	if err := f.prepare(ctx); err != nil {
		t.talk.conn.Close()
		return t.talk.conn, nil, nil, err
	}
	t.replace(f.conn)
	if t.talk.surplus && f.refusal == nil {
		f.refusal = fmt.Errorf("%w: more than %d", ErrFull, t.server.MaxConns)
	}
	br := t.server.reader(f.conn)
	defer t.server.giveBack(br)
	r, early, err = f.accept(br)
	if r == nil {
		return f.conn, nil, nil, err
	}
	r.Client, r.Listener, r.User = ses.Client, ses.Listener, ses.User
	if err == nil {
		err = f.refusal
	}
	rest, _ := br.Peek(br.Buffered())
	return f.conn, r, append(early, rest...), err
}

// prepare comes to the connection that the client speaks on, or to an error.
func (f *front) prepare(ctx context.Context) error {
	if f.Prepare == nil {
		return nil
	}
	c, err := f.Prepare(ctx, f.ses, f.conn)
	if c == nil {
		return err
	}
	if c != f.conn {
		relay.Leave(f.conn) // c may use it from anywhere
	}
	f.conn, f.refusal = c, err
	return nil
}

// accept is where the first byte decides.
func (f *front) accept(br *bufio.Reader) (r *socks.Request, early []byte, err error) {
	first, err := br.Peek(1)
	switch {
	case err != nil:
		return nil, nil, err
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
