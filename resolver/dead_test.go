package resolver

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// A question over TCP, for an answer that was cut, ends with the one that it stands for.
func TestFallbackCancelled(t *testing.T) {
	s := newServer(t, func(_ dnsmessage.Question, network string, _ int) reply {
		return reply{cut: network == "udp", silent: network == "tcp"}
	})
	r := s.resolver(UDP)
	r.mu.Lock()
	u := r.upstream(r.Servers[0]).transport.(*udpTransport)
	r.mu.Unlock()
	tcp := u.tcp.(*streamTransport)
	waiting := func() (n int) {
		tcp.mu.Lock()
		defer tcp.mu.Unlock()
		for _, c := range tcp.conns {
			n += len(c.pending)
		}
		return n
	}
	cancel := u.ask(&query{question: question{name: "x.test", typ: A}}, func(records, error) {})
	eventually(t, "no question over TCP", func() bool { return waiting() == 1 })
	cancel()
	if n := waiting(); n != 0 {
		t.Errorf("%d questions left", n)
	}
}

// A connection that has gone dead without a word is found out while the question is repeated.
func TestStreamGoesDead(t *testing.T) {
	s := newServer(t, func(_ dnsmessage.Question, network string, n int) reply {
		return reply{addrs: []string{"192.0.2.1"}, ttl: 60}
	})
	var conns atomic.Int32
	deaf := make(chan struct{})
	r := s.resolver(TCP)
	r.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		if err == nil && conns.Add(1) == 1 {
			return &deafConn{c, deaf}, nil
		}
		return c, err
	}
	if _, err := r.Lookup(within(t), "a.test", A); err != nil {
		t.Fatal(err)
	}
	close(deaf)
	if _, err := r.Lookup(within(t), "b.test", A); err != nil {
		t.Error(err)
	}
	if n := conns.Load(); n < 2 || n > maxStreams+1 {
		t.Errorf("%d connections", n)
	}
}

// deafConn hears nothing once the channel is closed.
type deafConn struct {
	net.Conn
	deaf chan struct{}
}

func (c *deafConn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		select {
		case <-c.deaf:
			if err == nil {
				continue
			}
		default:
		}
		return n, err
	}
}

// The time for an answer runs from the question, not from the last one.
func TestStreamReadDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer server.Close()
		go io.Copy(io.Discard, server)
		tr := &streamTransport{dial: func(context.Context, string, string) (net.Conn, error) { return client, nil }}
		defer tr.close()
		begun, failed := time.Now(), time.Time{}
		tr.ask(&query{question: question{name: "x.test", typ: A}}, func(records, error) { failed = time.Now() })
		for range 12 {
			time.Sleep(time.Second)
			tr.mu.Lock()
			if len(tr.conns) > 0 { // on the same connection, whatever else is preferred
				tr.conns[0].add(&streamQuestion{query: &query{question: question{name: "y.test", typ: A}}, done: func(records, error) {}})
			}
			tr.mu.Unlock()
		}
		synctest.Wait()
		if took := failed.Sub(begun); failed.IsZero() || took != streamIdle {
			t.Errorf("given up after %v, want %v", took, streamIdle)
		}
	})
}

// An HTTPS server that accepts connections and says nothing: what is asked ends, no goroutine
// stays, and when it speaks again it is heard.
func TestSilentHTTPS(t *testing.T) {
	answer := reply{addrs: []string{"192.0.2.1"}, ttl: 60}
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		serveDNS(t, w, r, answer, "")
	}))
	web.EnableHTTP2 = true
	web.StartTLS()
	defer web.Close()
	roots := web.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	var dials, deadOnes atomic.Int32
	r := &Resolver{
		NoHosts: true, RootCAs: roots,
		Servers: []Server{{Transport: HTTPS, Addr: netip.MustParseAddrPort(web.Listener.Addr().String())}},
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if dials.Add(1) <= maxStreams {
				deadOnes.Add(1)
				address = mute.Addr().String()
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}
	defer r.Close()
	v := r.For("")
	for i := range maxStreams { // takes every connection that may be opened
		got := make(chan error, 1)
		v.Ask(fmt.Sprintf("x%d.test", i), A, func(_ Answer, err error) { got <- err })
		defer func() { <-got }()
	}
	eventually(t, "too few connections", func() bool { return deadOnes.Load() == maxStreams })
	if a, err := r.Lookup(within(t), "y.test", A); err != nil || len(a.Addrs) != 1 {
		t.Errorf("%+v, %v", a, err)
	}
}

// The connection to an HTTPS server, too, may go dead under questions.
func TestHTTPSGoesDead(t *testing.T) {
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		serveDNS(t, w, r, reply{addrs: []string{"192.0.2.1"}, ttl: 60}, "")
	}))
	web.EnableHTTP2 = true
	web.StartTLS()
	defer web.Close()
	var conns atomic.Int32
	deaf := make(chan struct{})
	r := &Resolver{
		NoHosts: true, RootCAs: web.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs,
		Servers: []Server{{Transport: HTTPS, Addr: netip.MustParseAddrPort(web.Listener.Addr().String())}},
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, address)
			if err == nil && conns.Add(1) == 1 {
				return &deafConn{c, deaf}, nil
			}
			return c, err
		},
	}
	defer r.Close()
	if _, err := r.Lookup(within(t), "a.test", A); err != nil {
		t.Fatal(err)
	}
	close(deaf)
	if _, err := r.Lookup(within(t), "b.test", A); err != nil {
		t.Error(err)
	}
}

// RFC 8484 section 5.1: the age of an answer in an HTTP cache counts towards its TTL.
func TestAge(t *testing.T) {
	for age, want := range map[string]time.Duration{"": 60, "20": 40, "60": 0, "90": 0, "x": 60, "-5": 60} {
		web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			serveDNS(t, w, r, reply{addrs: []string{"192.0.2.1"}, ttl: 60}, age)
		}))
		r := &Resolver{
			NoHosts: true, RootCAs: web.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs,
			Servers: []Server{{Transport: HTTPS, Addr: netip.MustParseAddrPort(web.Listener.Addr().String())}},
		}
		a, err := r.Lookup(within(t), "x.test", A)
		// Some of it may have passed on the way here.
		if err != nil || a.TTL > want*time.Second || want > 0 && a.TTL < want*time.Second-15*time.Second {
			t.Errorf("Age %q: TTL %v, %v; want %d s", age, a.TTL, err, want)
		}
		r.Close()
		web.Close()
	}
}

// serveDNS answers a question over HTTPS.
func serveDNS(t *testing.T, w http.ResponseWriter, r *http.Request, answer reply, age string) {
	msg, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var p dnsmessage.Parser
	if _, err := p.Start(msg); err != nil {
		t.Error(err)
		return
	}
	q, err := p.Question()
	if err != nil {
		t.Error(err)
		return
	}
	w.Header().Set("Content-Type", dnsMessage)
	if age != "" {
		w.Header().Set("Age", age)
	}
	w.Write(answer.message(0, q))
}
