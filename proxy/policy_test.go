package proxy_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"hosier/egress"
	"hosier/internal/sockstest"
	"hosier/proxy"
	"hosier/socks"
)

// A connection keeps the policy that it began with; the next one gets another.
func TestPolicyFor(t *testing.T) {
	w := sockstest.NewWorld(t)
	out := w.Direct()
	open := &proxy.Policy{Route: func(context.Context, *proxy.Session) (proxy.Route, error) { return proxy.Route{Egress: out}, nil }}
	policies := make(chan *proxy.Policy, 1)
	s := &proxy.Server{PolicyFor: func(ses *proxy.Session) *proxy.Policy {
		if ses.ID == 0 || !ses.Client.IsValid() || ses.Listener == "" {
			t.Errorf("session is %+v", ses)
		}
		return <-policies
	}}
	address := sockstest.Serve(t, s, nil)
	request := join([]byte{5, 1, 0}, connect5("echo.test", w.Echo))
	first := connect(t, address)
	policies <- open
	first.send([]byte{5, 1, 0})
	first.expect([]byte{5, 0})
	second := connect(t, address)
	policies <- &proxy.Policy{}
	second.send(request)
	second.expect([]byte{5, 0, 5, 2})
	first.send(request[3:])
	first.expect([]byte{5, 0})
	none := connect(t, address)
	policies <- nil
	none.expectEnd()
}

// A connection over its limit hears so in its own words, and its password is not judged.
func TestPolicyRefuses(t *testing.T) {
	for _, c := range []struct {
		err            error
		socks5, socks4 byte
		http           string
	}{
		{fmt.Errorf("%w: more than 5", proxy.ErrLimit), 2, 0x5B, "HTTP/1.1 429 "},
		{fmt.Errorf("%w: more than 9", proxy.ErrFull), 1, 0x5B, "HTTP/1.1 503 "},
		{fmt.Errorf("outsider: %w", socks.NotAllowed), 2, 0x5B, "HTTP/1.1 403 "},
	} {
		policy := proxy.Policy{
			Admit: func(*proxy.Session) error { return c.err },
			Verify: func(*proxy.Session, socks.Auth) (string, error) {
				t.Error("the password was judged")
				return "", nil
			},
			Route: func(context.Context, *proxy.Session) (proxy.Route, error) {
				t.Error("the rules were asked")
				return proxy.Route{}, nil
			},
			Page: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the page was asked") }),
		}
		s := &proxy.Server{Policy: policy}
		address := sockstest.Serve(t, s, nil)
		for dialect, talk := range map[string]struct{ send, want []byte }{
			"SOCKS5":  {join([]byte{5, 1, 0}, connect5("a.test", 80)), []byte{5, 0, 5, c.socks5}},
			"SOCKS4":  {connect4("a.test", 80), []byte{0, c.socks4}},
			"login":   {join([]byte{5, 1, 2}, []byte("\x01\x01a\x01b"), connect5("a.test", 80)), []byte{5, 2, 1, 0, 5, c.socks5}},
			"HTTP":    {[]byte("CONNECT a.test:80 HTTP/1.1\r\n\r\n"), []byte(c.http)},
			"page":    {[]byte("GET / HTTP/1.1\r\n\r\n"), []byte(c.http)},
			"probe":   {[]byte("GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n"), nil},
			"options": {[]byte("OPTIONS * HTTP/1.1\r\n\r\n"), []byte(c.http)},
			"long":    {[]byte("GET / HTTP/1.1\r\nCookie: " + strings.Repeat("x", 9000) + "\r\n\r\n"), []byte(c.http)},
		} {
			t.Run(dialect+" "+c.err.Error(), func(t *testing.T) {
				conn := connect(t, address)
				conn.send(talk.send)
				conn.expect(talk.want)
				conn.CloseWrite()
				if rest, err := io.ReadAll(conn); err != nil || talk.want == nil && len(rest) > 0 {
					t.Errorf("%q, %v", rest, err)
				}
			})
		}
	}
}

// Each dialect is refused where it is not served, in its own words.
func TestPolicyDialects(t *testing.T) {
	w := sockstest.NewWorld(t)
	talks := map[proxy.Dialects]struct{ send, good, refused []byte }{
		proxy.SOCKS5:  {join([]byte{5, 1, 0}, connect5("echo.test", w.Echo)), []byte{5, 0, 5, 0}, []byte{5, 0xFF}},
		proxy.SOCKS4:  {connect4("echo.test", w.Echo), []byte{0, 0x5A}, []byte{0, 0x5B}},
		proxy.CONNECT: {fmt.Appendf(nil, "CONNECT echo.test:%d HTTP/1.1\r\n\r\n", w.Echo), []byte("HTTP/1.1 200"), []byte("HTTP/1.1 405")},
	}
	for served := proxy.Dialects(0); served < 8; served++ {
		s := &proxy.Server{Policy: proxy.Policy{Dialects: served}}
		address := sockstest.Serve(t, s, w.Direct())
		for dialect, talk := range talks {
			conn := connect(t, address)
			conn.send(talk.send)
			if served == 0 || served&dialect != 0 {
				conn.expect(talk.good)
			} else {
				conn.expect(talk.refused)
			}
		}
		page := connect(t, address)
		page.send([]byte("GET / HTTP/1.1\r\n\r\n"))
		page.expect([]byte("HTTP/1.1 501"))
	}
}

// What Prepare finds out is what policy and egress know, and the client speaks on the
// connection that it returns.
func TestPrepare(t *testing.T) {
	w := sockstest.NewWorld(t)
	direct := w.Direct()
	out := &sockstest.Egress{DialFunc: direct.Dial}
	client := netip.MustParseAddrPort("192.0.2.7:4321")
	closed := make(chan *proxy.Session, 4)
	s := &proxy.Server{Closed: func(ses *proxy.Session) { closed <- ses }}
	s.PolicyFor = func(ses *proxy.Session) *proxy.Policy {
		p := s.Policy
		if ses.ID == 3 { // who says nothing; the others may need their time
			p.HandshakeTimeout = 50 * time.Millisecond
		}
		return &p
	}
	s.Policy.Identify = func(_ context.Context, ses *proxy.Session, _ net.Conn) error {
		ses.Client = client
		return nil
	}
	s.Policy.Admit = func(ses *proxy.Session) error {
		if ses.Client != client || ses.User != "" {
			return errors.New("Admit comes too early, or too late")
		}
		return nil
	}
	s.Policy.Prepare = func(ctx context.Context, ses *proxy.Session, c net.Conn) (net.Conn, error) {
		ses.User = "ann"
		secure := tls.Server(c, serverTLS(t))
		return secure, secure.HandshakeContext(ctx)
	}
	s.Policy.Route = func(_ context.Context, ses *proxy.Session) (proxy.Route, error) {
		return proxy.Route{Egress: out, Name: "world", Rule: "rule of " + ses.User}, nil
	}
	address := sockstest.Serve(t, s, nil)
	raw := connect(t, address)
	c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
	c.Write(join([]byte{5, 1, 0}, connect5("echo.test", w.Echo), []byte("ping")))
	got := make([]byte, 12)
	if _, err := io.ReadFull(c, got); err != nil || got[1] != 0 || got[3] != 0 {
		t.Fatalf("% x, %v", got, err)
	}
	live := s.Sessions()
	if len(live) != 1 || live[0].Client != client || live[0].Request == nil {
		t.Errorf("sessions: %+v", live)
	}
	c.CloseWrite()
	if rest, err := io.ReadAll(c); string(rest) != "ping" || err != nil {
		t.Errorf("echoed %q, %v", rest, err)
	}
	ses := <-closed
	if r := out.Requests()[0]; r.Client != client || r.User != "ann" {
		t.Errorf("the egress got client %v, user %q", r.Client, r.User)
	}
	if ses.Rule != "rule of ann" || ses.User != "ann" || ses.Handshake <= 0 || ses.Connect <= 0 || ses.FirstByte <= 0 {
		t.Errorf("session: %+v", ses)
	}

	connect(t, address).send([]byte("no TLS at all\n")) // an alert comes, and the end
	if ses := <-closed; ses.Request != nil || ses.Err == nil {
		t.Errorf("without TLS: %+v", ses)
	}
	connect(t, address) // silent
	if ses := <-closed; ses.Err == nil {
		t.Error("a client that says nothing has no error")
	}
}

// The user that Verify returns is that of the session and of the request.
func TestVerifiedUser(t *testing.T) {
	closed := make(chan *proxy.Session, 2)
	s := &proxy.Server{Closed: func(ses *proxy.Session) { closed <- ses }}
	s.Policy.Verify = func(ses *proxy.Session, a socks.Auth) (string, error) {
		if ses.Listener == "" || a.Password != "right" {
			return "", errors.New("wrong")
		}
		return strings.ToLower(a.User), nil
	}
	out := &sockstest.Egress{}
	address := sockstest.Serve(t, s, out)
	for password, want := range map[string]string{"right": "ann", "wrong": ""} {
		d := socks.Dialer{Proxy: address, Auth: socks.Auth{Method: socks.UserPass, User: "Ann", Password: password}}
		if _, err := d.Dial("tcp", "a.test:80"); err == nil {
			t.Error("an egress without CONNECT served it")
		}
		ses := <-closed
		if ses.User != want || ses.Request != nil && ses.Request.User != want {
			t.Errorf("with the %s password the user is %q", password, ses.User)
		}
	}
}

// The total time ends a connection in which bytes still move, and a dial with its code.
func TestTotalTimeout(t *testing.T) {
	w := sockstest.NewWorld(t)
	closed := make(chan *proxy.Session, 2)
	s := &proxy.Server{Closed: func(ses *proxy.Session) { closed <- ses }}
	s.PolicyFor = func(ses *proxy.Session) *proxy.Policy {
		p := s.Policy
		if p.TotalTimeout = 2 * time.Second; ses.ID > 1 { // the first has to come as far as its relay
			p.TotalTimeout = 100 * time.Millisecond
		}
		return &p
	}
	out := w.Direct()
	s.Policy.Route = func(context.Context, *proxy.Session) (proxy.Route, error) { return proxy.Route{Egress: out}, nil }
	address := sockstest.Serve(t, s, nil)
	c := connect(t, address)
	c.send(join([]byte{5, 1, 0}, connect5("echo.test", w.Echo)))
	c.expect([]byte{5, 0, 5, 0, 0, 1, 127, 0, 0, 1})
	go func() {
		for {
			if _, err := c.Write([]byte("ping")); err != nil {
				return
			}
		}
	}()
	io.Copy(io.Discard, c)
	if ses := <-closed; !errors.Is(ses.Err, proxy.ErrTotal) || ses.Down == 0 {
		t.Errorf("ended with %v after %d bytes", ses.Err, ses.Down)
	}
	slow := connect(t, address)
	slow.send(join([]byte{5, 1, 0}, connect5("silent.test", 80)))
	slow.expect([]byte{5, 0, 5, 6})
}

// End ends those that are meant, at whatever step they are, and no others.
func TestEnd(t *testing.T) {
	w := sockstest.NewWorld(t)
	closed := make(chan *proxy.Session, 4)
	s := &proxy.Server{Closed: func(ses *proxy.Session) { closed <- ses }}
	address := sockstest.Serve(t, s, w.Direct())
	var all []client
	for range 3 {
		c := connect(t, address)
		c.send(join([]byte{5, 1, 0}, connect5("echo.test", w.Echo), []byte("ping")))
		c.expect([]byte{5, 0, 5, 0, 0, 1, 127, 0, 0, 1})
		io.ReadFull(c, make([]byte, 2+4))
		all = append(all, c)
	}
	victim := netip.MustParseAddrPort(all[1].LocalAddr().String())
	isVictim := func(ses *proxy.Session) bool { return ses.Client == victim && ses.Up == 4 && ses.Down == 4 }
	// The client may have its bytes before they are counted.
	for end := time.Now().Add(time.Minute); !slices.ContainsFunc(s.Sessions(), func(ses proxy.Session) bool { return isVictim(&ses) }); {
		if time.Now().After(end) {
			t.Fatalf("the sessions are %+v", s.Sessions())
		}
		time.Sleep(time.Millisecond)
	}
	cause := errors.New("ended on purpose")
	if n := s.End(cause, isVictim); n != 1 {
		t.Fatalf("%d sessions match", n)
	}
	if ses := <-closed; ses.Client != victim || ses.Err != cause {
		t.Errorf("ended: %+v", ses)
	}
	for end := time.Now().Add(time.Minute); s.Open() != 2; time.Sleep(time.Millisecond) { // it counts until Closed has returned
		if time.Now().After(end) {
			t.Fatalf("%d sessions are left", s.Open())
		}
	}
	if n := len(s.Sessions()); n != 2 {
		t.Errorf("%d sessions are left", n)
	}
	all[0].send([]byte("pong"))
	all[0].expect([]byte("pong"))
}

// End does not wait for an egress that is asked, nor does the connection.
func TestEndWhileAsked(t *testing.T) {
	closed := make(chan *proxy.Session, 1)
	out := askedEgress{asked: make(chan struct{})}
	s := &proxy.Server{Closed: func(ses *proxy.Session) { closed <- ses }}
	address := sockstest.Serve(t, s, out)
	c := connect(t, address)
	c.send(join([]byte{5, 1, 0}, connect5("silent.test", 80)))
	<-out.asked
	cause := errors.New("ended on purpose")
	if n := s.End(cause, func(*proxy.Session) bool { return true }); n != 1 {
		t.Fatalf("%d sessions match", n)
	}
	select {
	case ses := <-closed:
		if ses.Err != cause {
			t.Errorf("ended: %+v", ses)
		}
	case <-time.After(time.Minute):
		t.Error("the egress is still asked")
	}
}

// askedEgress answers when nobody wants to know any more.
type askedEgress struct {
	egress.Unsupported
	asked chan struct{}
}

func (e askedEgress) Dial(ctx context.Context, _ *socks.Request) (net.Conn, socks.Addr, error) {
	close(e.asked)
	<-ctx.Done()
	return nil, socks.Addr{}, ctx.Err()
}

// serverTLS has a certificate that nobody needs to believe.
func serverTLS(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// several is an Egress that may ask several others.
type several struct {
	egress.Egress
	n int
}

func (s several) Attempts() int { return s.n }

// An egress has the connect timeout for each of those that it may ask, and never more than
// the connection has in all.
func TestConnectTimeout(t *testing.T) {
	const each = time.Hour
	for name, c := range map[string]struct {
		attempts int // 0: it has no such method
		total    time.Duration
		want     time.Duration
	}{
		"one":                   {0, 0, each},
		"a list of three":       {3, 0, 3 * each},
		"a list of none":        {-1, 0, each},
		"within the total time": {3, 2 * each, 2 * each},
	} {
		t.Run(name, func(t *testing.T) {
			left := make(chan time.Duration, 1)
			out := egress.Egress(&sockstest.Egress{DialFunc: func(ctx context.Context, _ *socks.Request) (net.Conn, socks.Addr, error) {
				end, _ := ctx.Deadline()
				left <- time.Until(end)
				return nil, socks.Addr{}, socks.ConnectionRefused
			}})
			if c.attempts != 0 {
				out = several{out, c.attempts}
			}
			address := sockstest.Serve(t, &proxy.Server{Policy: proxy.Policy{ConnectTimeout: each, TotalTimeout: c.total}}, out)
			client := connect(t, address)
			client.send(join([]byte{5, 1, 0}, connect5("a.test", 80)))
			client.expect([]byte{5, 0, 5, 5})
			if got := <-left; got > c.want || got < c.want-10*time.Minute {
				t.Errorf("it has %v, want %v", got, c.want)
			}
		})
	}
}
