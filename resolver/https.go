package resolver

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync/atomic"
	"time"
)

const dnsMessage = "application/dns-message"

// httpsTransport asks over HTTPS (RFC 8484), HTTP/2 where the server has it. It goes to the
// server's address whatever its name is.
type httpsTransport struct {
	server Server
	client *http.Client
	open   atomic.Int64

	ctx    context.Context // until close
	cancel context.CancelFunc
}

// handshakeLimit bounds how long an HTTPS server may take to accept a connection, and then for
// the TLS handshake. A request that is given up leaves its connection to be opened all the same,
// and holds one of few places with it.
const handshakeLimit = 4 * time.Second

func newHTTPS(s Server, dial dialFunc, config *tls.Config) *httpsTransport {
	t := &httpsTransport{server: s}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.client = &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return t.dial(ctx, dial)
			},
			TLSClientConfig:     config,
			TLSHandshakeTimeout: handshakeLimit,
			ForceAttemptHTTP2:   true,
			MaxIdleConnsPerHost: 1,
			MaxConnsPerHost:     maxStreams,
			IdleConnTimeout:     streamIdle,
			// A path that drops everything shows in nothing else: the connection would be
			// used for as long as there are questions.
			HTTP2: &http.HTTP2Config{SendPingTimeout: 2 * time.Second, PingTimeout: 2 * time.Second},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return t
}

// dial opens a connection, which close ends.
func (t *httpsTransport) dial(ctx context.Context, dial dialFunc) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeLimit)
	defer cancel()
	defer context.AfterFunc(t.ctx, cancel)()
	c, err := dial(ctx, "tcp", t.server.Addr.String())
	if err != nil {
		return nil, err
	}
	return &httpsConn{c, context.AfterFunc(t.ctx, func() { c.Close() })}, nil
}

type httpsConn struct {
	net.Conn
	forget func() bool
}

func (c *httpsConn) Close() error {
	c.forget()
	return c.Conn.Close()
}

func (t *httpsTransport) ask(q *query, done func(records, error)) (cancel func()) {
	if t.open.Add(1) > maxOnStream {
		t.open.Add(-1)
		done(records{}, ErrBusy)
		return func() {}
	}
	ctx, cancel := context.WithCancel(t.ctx)
	go func() {
		defer t.open.Add(-1)
		defer cancel()
		found, err := t.exchange(ctx, q)
		done(found, err)
	}()
	return cancel
}

func (t *httpsTransport) exchange(ctx context.Context, q *query) (records, error) {
	msg, err := q.message(0, true) // RFC 8484 section 4.1: ID 0
	if err != nil {
		return records{}, err
	}
	answer, reused, err := t.post(ctx, msg)
	if err != nil && reused && ctx.Err() == nil {
		// The connection had worked before: servers end idle ones when they like, and paths die.
		answer, _, err = t.post(ctx, msg)
	}
	if err != nil {
		return records{}, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != dnsMessage {
		return records{}, fmt.Errorf("HTTP status %d with content of type %q", answer.StatusCode, answer.Header.Get("Content-Type"))
	}
	msg, err = io.ReadAll(io.LimitReader(answer.Body, 1<<16))
	if err != nil {
		return records{}, err
	}
	found, truncated, err := q.parse(msg)
	if truncated || errors.Is(err, errNotAnswer) {
		err = errMalformed
	}
	old := age(answer.Header)
	found.ttl = max(0, found.ttl-old)
	eachTTL(found.wire, func(ttl uint32) uint32 { return less(ttl, uint32(old/time.Second)) })
	return found, err
}

// post sends a message, and reports whether that was on a connection that others had used.
func (t *httpsTransport) post(ctx context.Context, msg []byte) (answer *http.Response, reused bool, err error) {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused },
	})
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, t.server.url(), bytes.NewReader(msg))
	if err != nil {
		return nil, false, err
	}
	r.Header.Set("Content-Type", dnsMessage)
	r.Header.Set("Accept", dnsMessage)
	r.Header.Set("User-Agent", "")
	answer, err = t.client.Do(r)
	return answer, reused, err
}

// age is how long an HTTP cache has kept an answer, which counts towards its TTL: RFC 8484
// section 5.1.
func age(h http.Header) time.Duration {
	seconds, err := strconv.ParseUint(h.Get("Age"), 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

func (t *httpsTransport) close() {
	t.cancel()
	t.client.CloseIdleConnections()
}
