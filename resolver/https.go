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
	"sync/atomic"
)

const dnsMessage = "application/dns-message"

// httpsTransport asks over HTTPS (RFC 8484), HTTP/2 where the server has it. It goes to the
// server's address whatever its name is.
type httpsTransport struct {
	server Server
	client *http.Client
	open   atomic.Int64
}

func newHTTPS(s Server, dial dialFunc, config *tls.Config) *httpsTransport {
	return &httpsTransport{server: s, client: &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dial(ctx, "tcp", s.Addr.String())
			},
			TLSClientConfig:     config,
			ForceAttemptHTTP2:   true,
			MaxIdleConnsPerHost: 1,
			MaxConnsPerHost:     maxStreams,
			IdleConnTimeout:     streamIdle,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (t *httpsTransport) ask(q *query, done func(records, error)) (cancel func()) {
	if t.open.Add(1) > maxOnStream {
		t.open.Add(-1)
		done(records{}, ErrBusy)
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
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
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, t.server.url(), bytes.NewReader(msg))
	if err != nil {
		return records{}, err
	}
	r.Header.Set("Content-Type", dnsMessage)
	r.Header.Set("Accept", dnsMessage)
	r.Header.Set("User-Agent", "")
	answer, err := t.client.Do(r)
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
	return found, err
}

func (t *httpsTransport) close() { t.client.CloseIdleConnections() }
