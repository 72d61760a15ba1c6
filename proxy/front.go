package proxy

import (
	"bufio"
	"net"

	"hosier/socks"
)

// negotiate reads one request in whatever dialect its first byte begins, with the bytes
// that came after it. If both the request and the error are non-nil the client still
// awaits a reply; if the request is nil nothing more is owed.
func (s *Server) negotiate(c net.Conn, ses *Session) (r *socks.Request, early []byte, err error) {
	deadline := ses.Start.Add(s.handshakeTimeout())
	c.SetDeadline(deadline)
	br := s.reader(c)
	defer s.giveBack(br)
	first, err := br.Peek(1)
	if err != nil {
		return nil, nil, err
	}
	if isLetter(first[0]) {
		r, early, err = s.acceptHTTP(br, c, deadline)
	} else {
		r, err = socks.Accept(br, c, s.Verify)
	}
	if r == nil {
		return nil, nil, err
	}
	r.Client, r.Listener = ses.Client, ses.Listener
	rest, _ := br.Peek(br.Buffered())
	return r, append(early, rest...), err
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
