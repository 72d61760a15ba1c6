package proxy

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"hosier/internal/relay"
	"hosier/socks"
)

const (
	maxHead = 8 << 10 // bytes of an HTTP request head
	// A lost client that does not end its head is answered all the same after pageWait.
	pageWait = 2 * time.Second
)

// The ends of a conversation that came to no request.
var (
	// ErrPage is a lost HTTP client, which got the page that explains.
	ErrPage = errors.New("proxy: HTTP client got the page")
	// ErrOptions is a client that asked with OPTIONS what there is, and no more.
	ErrOptions = errors.New("proxy: HTTP client asked for options")
	// ErrProbe is a client that must not learn that this port is here, and got no answer: a
	// web page that made somebody's browser ask, or one that came by a name of its own.
	ErrProbe = errors.New("proxy: web page probed the port")
)

// acceptHTTP is the HTTP side of the port: a CONNECT is a request, OPTIONS is answered
// (Tor's proposal 365), and everything else gets the page.
func (m *mixed) acceptHTTP(br *bufio.Reader) (r *socks.Request, early []byte, err error) {
	c, s := m.conn, m.c.server
	hr := s.headReader(br)
	defer s.giveBackHead(hr)
	var told error
	for {
		req, err := readHead(hr, c, m.deadline)
		switch {
		case told != nil && err != nil: // it was told its options, and that was all
			return nil, nil, told
		case err != nil || req.Method != http.MethodConnect && req.Method != http.MethodOptions:
			return nil, nil, m.refuseHTTP(req, err)
		case req.Method == http.MethodConnect:
			if r, err = m.acceptConnect(req); r != nil && hr.Buffered() > 0 {
				b, _ := hr.Peek(hr.Buffered())
				early = bytes.Clone(b)
			}
			return r, early, err
		case !visitOf(req).mayKnow(c, m.Names):
			return nil, nil, ErrProbe
		case m.refusal != nil:
			m.writeHTTPError(m.answerRefused())
			return nil, nil, m.refusal
		}
		// A body is never read: what follows it would be taken for a request, or the body itself.
		last := req.Close || req.ContentLength != 0 || len(req.TransferEncoding) > 0
		if told = ErrOptions; m.writeOptions(last) != nil || last {
			return nil, nil, told
		}
	}
}

func (s *Server) headReader(r io.Reader) *bufio.Reader {
	if hr, ok := s.heads.Get().(*bufio.Reader); ok {
		hr.Reset(r)
		return hr
	}
	return bufio.NewReaderSize(r, maxHead)
}

func (s *Server) giveBackHead(hr *bufio.Reader) {
	hr.Reset(nil)
	s.heads.Put(hr)
}

// headError is a head that could not be had whole, or not be read.
type headError struct {
	cause error
	line  bool   // its first line is one of an HTTP request
	cut   bool   // what would show who sent it may be in the part that is missing
	head  []byte // as far as it came, or what of it shows who sent it; not empty
	code  int    // what HTTP says to it
}

func (e *headError) Error() string { return "http: request head: " + e.cause.Error() }
func (e *headError) Unwrap() error { return e.cause }

// readHead reads a request head until the deadline, and one that is not a CONNECT for no
// longer than pageWait.
func readHead(hr *bufio.Reader, c net.Conn, deadline time.Time) (*http.Request, error) {
	c.SetReadDeadline(deadline)
	first, err := hr.Peek(1)
	if err != nil {
		return nil, err
	}
	if wait := time.Now().Add(pageWait); first[0] != 'C' && wait.Before(deadline) {
		c.SetReadDeadline(wait)
	}
	for least := 1; ; least = hr.Buffered() + 1 {
		_, err := hr.Peek(least)
		b, _ := hr.Peek(hr.Buffered())
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			e := &headError{cause: err, line: isRequestLine(b), code: http.StatusRequestTimeout}
			if errors.Is(err, bufio.ErrBufferFull) {
				e.code = http.StatusRequestHeaderFieldsTooLarge
			}
			if first[0] != 'C' && e.code == http.StatusRequestHeaderFieldsTooLarge {
				return nil, skim(hr, e)
			}
			e.head = bytes.Clone(b)
			return nil, e
		}
		if bytes.Contains(b, []byte("\n\r\n")) || bytes.Contains(b, []byte("\n\n")) {
			head := bytes.Clone(b) // for when it is read, but means nothing
			req, err := http.ReadRequest(hr)
			if err != nil {
				return nil, &headError{cause: err, line: isRequestLine(head), head: head, code: http.StatusBadRequest}
			}
			return req, nil
		}
	}
}

const (
	maxSkim = 64 << 10 // bytes of a head that is too long
	maxLine = 1 << 10  // of a line of it that is kept
)

// skim fills in what the head of e shows of its sender, which is longer than may be: the
// cookies of localhost go to each of its ports, so any head of a browser's can be. Of what
// comes it keeps the lines that a visit is judged by, and drops the rest.
func skim(hr *bufio.Reader, e *headError) *headError {
	e.cut = true
	for begins, read := true, 0; read < maxSkim; {
		part, err := hr.ReadSlice('\n')
		read += len(part)
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			break
		}
		first, judged := len(e.head) == 0, begins && showsSender(part)
		switch {
		case first:
			part = bytes.TrimSuffix(part[:min(len(part), maxLine)], []byte("\n"))
			e.head = append(append(e.head, part...), '\n')
		case begins && err == nil && len(bytes.TrimSpace(part)) == 0:
			e.cut = false
			return e
		case judged && len(part)+len(e.head) > maxHead, judged && len(part) > maxLine:
			return e
		case judged:
			e.head = append(e.head, part...)
		}
		begins = err == nil
	}
	return e
}

// isRequestLine reports whether b begins with a line of the form
// method SP target SP HTTP/version.
func isRequestLine(b []byte) bool {
	line, _, whole := bytes.Cut(b, []byte("\n"))
	part := bytes.Fields(line)
	return whole && len(part) == 3 && bytes.HasPrefix(part[2], []byte("HTTP/"))
}

// refuseHTTP answers a client that cannot be served with the page, or a failed CONNECT
// with its code. It is silent towards web pages that probe, and towards what begins like
// HTTP but is not (an SSH banner).
func (m *mixed) refuseHTTP(req *http.Request, err error) error {
	c, head := m.conn, (*headError)(nil)
	switch {
	case req != nil:
		if !visitOf(req).mayKnow(c, m.Names) {
			return ErrProbe
		}
	case !errors.As(err, &head):
		return err
	case head.head[0] == 'C':
		if !head.line {
			return fmt.Errorf("%w: %w", socks.ErrNotSOCKS, err)
		}
		m.writeHTTPError(httpAnswer{code: head.code})
		return err
	case !head.line && !strings.ContainsRune("GHP", rune(head.head[0])):
		return fmt.Errorf("%w: %w", socks.ErrNotSOCKS, err)
	default:
		switch v := visitOfHead(head); {
		case v.mayKnow(c, m.Names):
		case v.cut && v.site == "" && v.origin == "": // no reason to accuse a web page
			return err
		default:
			return ErrProbe
		}
	}
	if m.refusal != nil {
		m.writeHTTPError(m.answerRefused())
		return m.refusal
	}
	relay.Leave(c) // Page may wait
	page := m.appendPage(nil, req, head)
	c.SetWriteDeadline(time.Now().Add(replyTimeout))
	if _, werr := c.Write(page); werr != nil {
		return werr
	}
	return ErrPage
}

// acceptConnect makes a request of a CONNECT. A client that cannot go on has been
// answered when the request is nil.
func (m *mixed) acceptConnect(req *http.Request) (*socks.Request, error) {
	if !m.Dialects.has(CONNECT) {
		m.writeHTTPError(answerNoCONNECT)
		return nil, ErrDialect
	}
	r := &socks.Request{Version: socks.HTTP, Command: socks.Connect, Auth: httpAuth(req.Header)}
	if req.Header.Get("Tor-RPC-Target") != "" {
		m.writeHTTPError(answerNoRPC)
		return nil, errors.New("http: CONNECT to a Tor RPC object, which is not supported")
	}
	if verify := m.verifier(CONNECT); verify != nil {
		if err := verify(r.Auth); err != nil {
			m.writeHTTPError(answerLoginOf(err))
			return nil, fmt.Errorf("%w: %w", socks.ErrAuth, err)
		}
	}
	var err error
	if r.Addr, err = socks.ParseAddr(req.RequestURI); err == nil {
		err = r.Validate()
	}
	if err != nil {
		m.writeHTTPError(answerBadTarget)
		return nil, err
	}
	return r, nil
}

// isolationHeaders keep streams apart in Tor (proposal 365); each value in each of them.
var isolationHeaders = []string{"Tor-Stream-Isolation", "X-Tor-Stream-Isolation"}

func httpAuth(h http.Header) socks.Auth {
	var a socks.Auth
	var isolation []string
	if proof := h.Get("Proxy-Authorization"); proof != "" {
		if user, password, ok := parseBasic(proof); ok {
			a = socks.Auth{Method: socks.UserPass, User: user, Password: password}
		} else {
			isolation = append(isolation, "Proxy-Authorization="+proof)
		}
	}
	for _, name := range isolationHeaders {
		if v := h.Get(name); v != "" {
			isolation = append(isolation, name+"="+v)
		}
	}
	a.Isolation = strings.Join(isolation, "\n")
	return a
}

func parseBasic(proof string) (user, password string, ok bool) {
	scheme, text, _ := strings.Cut(proof, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	pair, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil {
		return "", "", false
	}
	return strings.Cut(string(pair), ":")
}

// writeOptions answers an OPTIONS; last says that the connection ends after it.
func (m *mixed) writeOptions(last bool) error {
	end := "\r\n"
	if last {
		end = "Connection: close\r\n\r\n"
	}
	_, err := m.conn.Write([]byte("HTTP/1.1 200 OK\r\nServer: hosier\r\nAllow: CONNECT, OPTIONS\r\n" + m.capabilities() + "Content-Length: 0\r\n" + end))
	return err
}
