package egress

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"hosier/socks"
)

// maxHead is the longest answer head, in bytes, that is taken from an HTTP proxy.
const maxHead = 8 << 10

// HTTP is the way out through an HTTP proxy with CONNECT (RFC 9110 section 9.3.6). Names
// travel there as they are; RESOLVE and RESOLVE_PTR it does not have. An HTTP may be
// used by many goroutines at once, and must not change meanwhile.
type HTTP struct {
	Unsupported

	Proxy string     // host:port, or unix:/path
	Auth  socks.Auth // for Proxy-Authorization: Basic, if the Method is UserPass
}

// Dial connects to the target through the proxy. There is no bound address to tell.
// A proxy that cannot be reached or does not speak HTTP is a *socks.ProxyError; the
// refusal of a good proxy wraps the socks.Status that its answer comes to.
func (h *HTTP) Dial(ctx context.Context, r *socks.Request) (net.Conn, socks.Addr, error) {
	if err := refuseOnion(r.Addr); err != nil {
		return nil, socks.Addr{}, err
	}
	if r.Addr.Name != "" { // it will stand in a line of text
		if _, err := socks.ParseHost(r.Addr.Name); err != nil {
			return nil, socks.Addr{}, err
		}
	}
	network, address := "tcp", h.Proxy
	if path, ok := strings.CutPrefix(h.Proxy, "unix:"); ok {
		network, address = "unix", path
	}
	c, err := (&net.Dialer{Timeout: proxyTimeout}).DialContext(ctx, network, address)
	if err != nil {
		return nil, socks.Addr{}, &socks.ProxyError{Proxy: h.Proxy, Err: err}
	}
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	tunnel, err := h.connect(c, r)
	if !stop() {
		err = fmt.Errorf("%v %v through proxy %s: %w", r.Command, r.Addr, h.Proxy, context.Cause(ctx))
	}
	if err != nil {
		c.Close()
		return nil, socks.Addr{}, err
	}
	return tunnel, socks.Addr{}, nil
}

func (h *HTTP) String() string { return "http " + h.Proxy }

func (h *HTTP) connect(c net.Conn, r *socks.Request) (net.Conn, error) {
	target := r.Addr.String()
	head := "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n"
	if h.Auth.Method == socks.UserPass {
		pair := h.Auth.User + ":" + h.Auth.Password
		head += "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(pair)) + "\r\n"
	}
	if _, err := io.WriteString(c, head+"\r\n"); err != nil {
		return nil, &socks.ProxyError{Proxy: h.Proxy, Err: err}
	}
	br := bufio.NewReader(io.LimitReader(c, maxHead))
	resp, err := http.ReadResponse(br, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return nil, &socks.ProxyError{Proxy: h.Proxy, Err: fmt.Errorf("answer to CONNECT: %w", unexpected(err))}
	}
	if resp.StatusCode/100 != 2 {
		return nil, h.refusal(r, resp)
	}
	// The far side may have spoken already.
	if n := br.Buffered(); n > 0 {
		early, _ := br.Peek(n)
		return &prefixed{Conn: c, prefix: early}, nil
	}
	return c, nil
}

// refusal says what an answer other than 2xx comes to. The proxy's own words are not
// repeated.
func (h *HTTP) refusal(r *socks.Request, resp *http.Response) error {
	if resp.StatusCode == http.StatusProxyAuthRequired {
		return &socks.ProxyError{Proxy: h.Proxy, Err: fmt.Errorf("%w: the proxy wants other credentials (407)", socks.ErrAuth)}
	}
	status, ok := torReasons[resp.Header.Get("Tor-Request-Failed")]
	if !ok {
		status = statusOfHTTP(resp.StatusCode)
	}
	return fmt.Errorf("%v %v through proxy %s: HTTP status %d: %w", r.Command, r.Addr, h.Proxy, resp.StatusCode, status)
}

// torReasons are the words of Tor's proposal 365 that say more than the HTTP status.
var torReasons = map[string]socks.Status{
	"end/RESOLVEFAILED":  socks.HostUnreachable,
	"end/NOROUTE":        socks.HostUnreachable,
	"end/CONNECTREFUSED": socks.ConnectionRefused,
	"end/CONNRESET":      socks.ConnectionRefused,
	"end/EXITPOLICY":     socks.NotAllowed,
	"end/ENTRYPOLICY":    socks.NotAllowed,
	"end/TIMEOUT":        socks.TTLExpired,
}

func statusOfHTTP(code int) socks.Status {
	switch code {
	case http.StatusForbidden, http.StatusMethodNotAllowed:
		return socks.NotAllowed
	case http.StatusNotFound, http.StatusServiceUnavailable:
		return socks.HostUnreachable
	case http.StatusGatewayTimeout, http.StatusRequestTimeout:
		return socks.TTLExpired
	}
	return socks.GeneralFailure
}

// prefixed is a connection from which something was read already.
type prefixed struct {
	net.Conn
	prefix []byte
}

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

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
