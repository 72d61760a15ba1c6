package egress

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"hosier/socks"
)

// HTTP is the [Egress] through an HTTP proxy with CONNECT (RFC 9110 section 9.3.6). Names
// travel there as they are; RESOLVE and RESOLVE_PTR it does not have. An HTTP may be
// used by many goroutines at once, and must not change meanwhile.
type HTTP struct {
	Unsupported

	Proxy string     // host:port, or unix:/path
	Auth  socks.Auth // for Proxy-Authorization: Basic, if it has a User or a Password or the Method UserPass

	// Connected judges the connection to the proxy before anything is sent on it: its error
	// is a *socks.ProxyError. It may not keep the connection. Nil takes all.
	Connected func(net.Conn) error

	silence silence
}

// Dial connects to the target through the proxy. There is no bound address to tell.
// A proxy that cannot be reached, does not speak HTTP, wants other credentials or leaves
// several requests in a row without an answer is a *socks.ProxyError; the refusal of a
// good proxy wraps the socks.Status that its answer comes to.
func (h *HTTP) Dial(ctx context.Context, r *socks.Request) (net.Conn, socks.Addr, error) {
	return h.DialInLoop(ctx, nil, r)
}

// DialInLoop implements the interface [InLoop].
func (h *HTTP) DialInLoop(ctx context.Context, l Loop, r *socks.Request) (net.Conn, socks.Addr, error) {
	if err := refuseOnion(r.Addr); err != nil {
		return nil, socks.Addr{}, err
	}
	if r.Addr.Name != "" { // it will stand in a line of text
		if _, err := socks.ParseHost(r.Addr.Name); err != nil {
			return nil, socks.Addr{}, err
		}
	}
	var tunnel net.Conn
	err := h.silence.watch(ctx, h.Proxy, r, false, func(ctx context.Context) (err error) {
		tunnel, err = h.dial(ctx, l, r)
		return err
	})
	return tunnel, socks.Addr{}, err
}

func (h *HTTP) String() string { return "http " + h.Proxy }

func (h *HTTP) dial(ctx context.Context, l Loop, r *socks.Request) (net.Conn, error) {
	network, address := "tcp", h.Proxy
	if path, ok := strings.CutPrefix(h.Proxy, "unix:"); ok {
		network, address = "unix", path
	}
	c, err := dialProxy(ctx, l, network, address, h.Connected)
	if err != nil {
		return nil, &socks.ProxyError{Proxy: h.Proxy, Err: err}
	}
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	tunnel, err := h.connect(c, r)
	if !stop() && !isAnswer(err) {
		err = fmt.Errorf("%v %v through proxy %s: %w", r.Command, r.Addr, h.Proxy, context.Cause(ctx))
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return tunnel, nil
}

func (h *HTTP) connect(c net.Conn, r *socks.Request) (net.Conn, error) {
	target := r.Addr.String()
	head := "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n"
	if a := h.Auth; a.Method == socks.UserPass || a.User != "" || a.Password != "" {
		pair := h.Auth.User + ":" + h.Auth.Password
		head += "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(pair)) + "\r\n"
	}
	if _, err := io.WriteString(c, head+"\r\n"); err != nil {
		return nil, h.failed(err)
	}
	br := bufio.NewReader(io.LimitReader(c, maxHead))
	answer, err := readAnswer(br)
	if err != nil {
		return nil, h.failed(fmt.Errorf("answer to CONNECT: %w", err))
	}
	if answer.code/100 != 2 {
		return nil, h.refusal(r, &answer, c, br)
	}
	// The far side may have spoken already.
	if n := br.Buffered(); n > 0 {
		early, _ := br.Peek(n)
		return &prefixed{Conn: c, prefix: early}, nil
	}
	return c, nil
}

func (h *HTTP) failed(err error) error {
	return &socks.ProxyError{Proxy: h.Proxy, Err: err, Asked: true}
}

// wordsTimeout is how long the body of a refusal may take.
const wordsTimeout = time.Second

// refusal returns what an answer other than 2xx comes to. The proxy's own words are not
// repeated. 401 is what tinyproxy says in place of 407.
func (h *HTTP) refusal(r *socks.Request, answer *answerHead, c net.Conn, br *bufio.Reader) error {
	if code := answer.code; code == http.StatusProxyAuthRequired || code == http.StatusUnauthorized {
		return h.failed(fmt.Errorf("%w: the proxy wants other credentials (%d)", socks.ErrAuth, code))
	}
	status := answer.status(func() string {
		limit := time.AfterFunc(wordsTimeout, func() { c.SetDeadline(time.Unix(1, 0)) })
		defer limit.Stop()
		n := int64(maxWords)
		if length, err := strconv.ParseInt(answer.header.Get("Content-Length"), 10, 64); err == nil && length >= 0 {
			n = min(n, length)
		}
		b, _ := io.ReadAll(io.LimitReader(br, n)) // as much as there is
		return string(b)
	})
	return fmt.Errorf("%v %v through proxy %s: HTTP status %d: %w", r.Command, r.Addr, h.Proxy, answer.code, status)
}

// prefixed is a connection from which something was read already.
type prefixed struct {
	net.Conn
	prefix []byte
}

// NetConn returns the connection, without what was read: a relay that is cut off resets it.
func (p *prefixed) NetConn() net.Conn { return p.Conn }

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.prefix) == 0 {
		return p.Conn.Read(b)
	}
	n := copy(b, p.prefix)
	p.prefix = p.prefix[n:]
	return n, nil
}

// CloseWrite ends the way to the far side.
func (p *prefixed) CloseWrite() error {
	return p.Conn.(interface{ CloseWrite() error }).CloseWrite()
}
