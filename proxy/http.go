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
func (f *front) acceptHTTP(br *bufio.Reader) (r *socks.Request, early []byte, err error) {
	c, deadline := f.conn, f.ses.Start.Add(f.handshakeTimeout())
	hr := bufio.NewReaderSize(br, maxHead)
	var told error
	for {
		req, err := readHead(hr, c, deadline)
		switch {
		case told != nil && err != nil: // it was told its options, and that was all
			return nil, nil, told
		case err != nil || req.Method != http.MethodConnect && req.Method != http.MethodOptions:
			return nil, nil, f.refuseHTTP(req, err)
		case req.Method == http.MethodConnect:
			if r, err = f.acceptConnect(req); r != nil {
				early, _ = hr.Peek(hr.Buffered())
			}
			return r, early, err
		case !visitOf(req).mayKnow(c, f.Names):
			return nil, nil, ErrProbe
		}
		if told = ErrOptions; f.writeOptions() != nil || req.Close {
			return nil, nil, told
		}
	}
}

// headError is a head that could not be had whole, or not be read.
type headError struct {
	cause error
	line  bool   // its first line is one of an HTTP request
	head  []byte // as far as it came; not empty
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
			code := http.StatusRequestTimeout
			if errors.Is(err, bufio.ErrBufferFull) {
				code = http.StatusRequestHeaderFieldsTooLarge
			}
			return nil, &headError{err, isRequestLine(b), bytes.Clone(b), code}
		}
		if bytes.Contains(b, []byte("\n\r\n")) || bytes.Contains(b, []byte("\n\n")) {
			head := bytes.Clone(b) // for when it is read, but means nothing
			req, err := http.ReadRequest(hr)
			if err != nil {
				return nil, &headError{err, isRequestLine(head), head, http.StatusBadRequest}
			}
			return req, nil
		}
	}
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
func (f *front) refuseHTTP(req *http.Request, err error) error {
	c, head := f.conn, (*headError)(nil)
	switch {
	case req != nil:
		if !visitOf(req).mayKnow(c, f.Names) {
			return ErrProbe
		}
	case !errors.As(err, &head):
		return err
	case head.head[0] == 'C':
		if !head.line {
			return fmt.Errorf("%w: %w", socks.ErrNotSOCKS, err)
		}
		f.writeHTTPError(httpAnswer{code: head.code})
		return err
	case !head.line && !strings.ContainsRune("GHP", rune(head.head[0])):
		return fmt.Errorf("%w: %w", socks.ErrNotSOCKS, err)
	case !visitOfHead(head).mayKnow(c, f.Names):
		return ErrProbe
	}
	page := f.appendPage(nil, req)
	c.SetWriteDeadline(time.Now().Add(replyTimeout))
	if _, werr := c.Write(page); werr != nil {
		return werr
	}
	return ErrPage
}

// acceptConnect makes a request of a CONNECT. A client that cannot go on has been
// answered when the request is nil.
func (f *front) acceptConnect(req *http.Request) (*socks.Request, error) {
	if !f.Dialects.has(CONNECT) {
		f.writeHTTPError(answerNoCONNECT)
		return nil, ErrDialect
	}
	r := &socks.Request{Version: socks.HTTP, Command: socks.Connect, Auth: httpAuth(req.Header)}
	if req.Header.Get("Tor-RPC-Target") != "" {
		f.writeHTTPError(answerNoRPC)
		return nil, errors.New("http: CONNECT to a Tor RPC object, which is not supported")
	}
	if verify := f.verifier(CONNECT); verify != nil {
		if err := verify(r.Auth); err != nil {
			f.writeHTTPError(answerLogin)
			return nil, fmt.Errorf("%w: %w", socks.ErrAuth, err)
		}
	}
	var err error
	if r.Addr, err = socks.ParseAddr(req.RequestURI); err == nil {
		err = r.Validate()
	}
	if err != nil {
		f.writeHTTPError(answerBadTarget)
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

func (f *front) writeOptions() error {
	_, err := f.conn.Write([]byte("HTTP/1.1 200 OK\r\nServer: hosier\r\nAllow: CONNECT, OPTIONS\r\n" + f.capabilities() + "Content-Length: 0\r\n\r\n"))
	return err
}
