package proxy_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hosier/egress"
	"hosier/internal/sockstest"
	"hosier/proxy"
	"hosier/socks"
)

// All tests run in event loops and on goroutines.
func TestMain(m *testing.M) {
	for _, on := range []string{"", "1"} {
		os.Setenv(sockstest.OnGoroutines, on)
		code := m.Run()
		if err := goleak.Find(); code == 0 && err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		if code != 0 {
			fmt.Fprintf(os.Stderr, "this was with %s=%s\n", sockstest.OnGoroutines, on)
			os.Exit(code)
		}
	}
}

// client is a raw connection to a server under test.
type client struct {
	t *testing.T
	*net.TCPConn
}

func connect(t *testing.T, address string) client {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return client{t, c.(*net.TCPConn)}
}

func (c client) send(b []byte) {
	c.t.Helper()
	if _, err := c.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

func (c client) expect(want []byte) {
	c.t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
		c.t.Fatalf("got % x, %v; want % x", got[:n], err, want)
	}
}

// expectEnd wants the orderly end of what the server sends.
func (c client) expectEnd() {
	c.t.Helper()
	if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
		c.t.Fatalf("got % x, %v; want the end", rest, err)
	}
}

// Requests as bytes. The port is the last two of connect5.
func connect5(name string, port uint16) []byte {
	b, _ := socks.AppendRequest5(nil, &socks.Request{Command: socks.Connect, Addr: socks.Addr{Name: name, Port: port}})
	return b
}

func connect4(name string, port uint16) []byte {
	b, _ := socks.AppendRequest4(nil, &socks.Request{Command: socks.Connect, Addr: socks.Addr{Name: name, Port: port}})
	return b
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestZeroServerRefuses(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &proxy.Server{}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	c := connect(t, l.Addr().String())
	c.send(join([]byte{5, 1, 0}, connect5("echo.test", 80)))
	c.expect([]byte{5, 0, 5, 2, 0, 1, 0, 0, 0, 0, 0, 0})
	c.expectEnd()
	s.Close()
	if err := <-done; !errors.Is(err, proxy.ErrServerClosed) {
		t.Errorf("Serve returned %v", err)
	}
}

// Everything in one write: no reply is lost, nor any of the early data.
func TestOneWrite(t *testing.T) {
	w := sockstest.NewWorld(t)
	address := sockstest.Serve(t, &proxy.Server{}, w.Direct())
	early := bytes.Repeat([]byte("early data "), 256<<10/11)
	password, _ := socks.AppendUserPass(nil, socks.Auth{User: "u", Password: "p"})
	head := fmt.Sprintf("CONNECT echo.test:%d HTTP/1.1\r\nHost: echo.test\r\n\r\n", w.Echo)
	for name, c := range map[string]struct{ send, answer []byte }{
		"SOCKS5":          {join([]byte{5, 1, 0}, connect5("echo.test", w.Echo)), []byte{5, 0, 5, 0, 0, 1, 127, 0, 0, 1}},
		"SOCKS5 password": {join([]byte{5, 2, 0, 2}, password, connect5("echo.test", w.Echo)), []byte{5, 2, 1, 0, 5, 0, 0, 1, 127, 0, 0, 1}},
		"SOCKS4A":         {connect4("echo.test", w.Echo), []byte{0, 0x5A}},
		"HTTP":            {[]byte(head), []byte("HTTP/1.1 200 OK\r\nVia: 1.1 hosier\r\n\r\n")},
	} {
		t.Run(name, func(t *testing.T) {
			conn := connect(t, address)
			go func() {
				conn.Write(join(c.send, early))
				conn.CloseWrite()
			}()
			conn.expect(c.answer)
			switch name {
			case "SOCKS4A":
				io.ReadFull(conn, make([]byte, 6))
			case "HTTP":
			default:
				io.ReadFull(conn, make([]byte, 2)) // the bound port
			}
			if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, early) {
				t.Errorf("%d bytes came back, %v; want %d", len(got), err, len(early))
			}
		})
	}
}

func TestByteByByte(t *testing.T) {
	w := sockstest.NewWorld(t)
	address := sockstest.Serve(t, &proxy.Server{}, w.Direct())
	head := fmt.Sprintf("CONNECT echo.test:%d HTTP/1.0\r\n\r\n", w.Echo)
	for name, c := range map[string]struct{ send, answer []byte }{
		"SOCKS5":  {join([]byte{5, 1, 0}, connect5("echo.test", w.Echo)), []byte{5, 0, 5, 0, 0, 1}},
		"SOCKS4A": {connect4("echo.test", w.Echo), []byte{0, 0x5A}},
		"HTTP":    {[]byte(head), []byte("HTTP/1.1 200")},
	} {
		t.Run(name, func(t *testing.T) {
			conn := connect(t, address)
			conn.SetNoDelay(true)
			for i := range c.send {
				conn.send(c.send[i : i+1])
			}
			conn.expect(c.answer)
		})
	}
}

// A client that ends its side right after the request still gets what the target sends.
func TestHalfCloseAfterRequest(t *testing.T) {
	w := sockstest.NewWorld(t)
	address := sockstest.Serve(t, &proxy.Server{}, w.Direct())
	c := connect(t, address)
	c.send(connect4("echo.test", w.Greeter))
	c.CloseWrite()
	got, err := io.ReadAll(c)
	if err != nil || len(got) < 8 || string(got[8:]) != "hello\n" {
		t.Errorf("got %q, %v", got, err)
	}
}

// What cannot be served is refused in the dialect's own words, and the refusal arrives
// although more bytes than anyone reads are on their way.
func TestRefusalArrives(t *testing.T) {
	w := sockstest.NewWorld(t)
	address := sockstest.Serve(t, &proxy.Server{}, w.Direct())
	more := bytes.Repeat([]byte("x"), 100<<10)
	no5 := func(code byte) []byte { return []byte{5, 0, 5, code, 0, 1, 0, 0, 0, 0, 0, 0} }
	no4 := []byte{0, 0x5B, 0, 0, 0, 0, 0, 0}
	for name, c := range map[string]struct{ send, want []byte }{
		"BIND":                  {[]byte{5, 1, 0, 5, 2, 0, 1, 127, 0, 0, 1, 0, 80}, no5(7)},
		"UDP ASSOCIATE":         {[]byte{5, 1, 0, 5, 3, 0, 1, 0, 0, 0, 0, 0, 0}, no5(7)},
		"unknown command":       {[]byte{5, 1, 0, 5, 9, 0, 1, 127, 0, 0, 1, 0, 80}, no5(7)},
		"unknown address type":  {[]byte{5, 1, 0, 5, 1, 0, 2, 127, 0, 0, 1, 0, 80}, no5(8)},
		"reserved byte":         {[]byte{5, 1, 0, 5, 1, 1, 1, 127, 0, 0, 1, 0, 80}, no5(1)},
		"PTR of a name":         {[]byte{5, 1, 0, 5, 0xF1, 0, 3, 1, 'a', 0, 0}, no5(8)},
		"port 0":                {join([]byte{5, 1, 0}, connect5("echo.test", 0)), no5(1)},
		"exit":                  {join([]byte{5, 1, 0}, connect5("a.exit", 80)), no5(1)},
		"onion":                 {join([]byte{5, 1, 0}, connect5("a.onion", 80)), no5(1)},
		"SOCKS4 in SOCKS5":      {join([]byte{5, 1, 0}, connect4("echo.test", 80)), no5(1)},
		"HTTP in SOCKS5":        {join([]byte{5, 1, 0}, []byte("GET / HTTP/1.1\r\n\r\n")), no5(1)},
		"no method":             {[]byte{5, 0}, []byte{5, 0xFF}},
		"unknown method":        {[]byte{5, 1, 0x97}, []byte{5, 0xFF}},
		"SOCKS4 BIND":           {[]byte{4, 2, 0, 80, 127, 0, 0, 1, 0}, no4},
		"SOCKS4 F1":             {[]byte{4, 0xF1, 0, 80, 127, 0, 0, 1, 0}, no4},
		"SOCKS4A IPv6 literal":  {connect4("::1", 80), no4},
		"SOCKS4A, name is IPv6": {connect4("six.test", w.Echo), no4},
		"refused port":          {join([]byte{5, 1, 0}, connect5("echo.test", w.Refused)), no5(5)},
		"unknown name":          {join([]byte{5, 1, 0}, connect5("missing.test", 80)), no5(4)},
	} {
		t.Run(name, func(t *testing.T) {
			conn := connect(t, address)
			conn.send(c.send)
			go conn.Write(more)
			conn.expect(c.want)
			conn.expectEnd()
		})
	}
}

// What is no dialect at all gets nothing, and at once.
func TestNotADialect(t *testing.T) {
	address := sockstest.Serve(t, &proxy.Server{}, &sockstest.Egress{})
	for name, b := range map[string][]byte{
		"TLS":     {0x16, 3, 1, 2, 0},
		"zero":    {0},
		"version": {6, 1, 0},
		"SSH":     []byte("SSH-2.0-OpenSSH_9.2\r\n\r\n"),
		"CONNECT": []byte("CONNECTED to nothing\r\n\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			c := connect(t, address)
			c.send(b)
			c.expectEnd()
		})
	}
}

// A client that says nothing, or never ends, is dropped at the handshake's deadline.
func TestHandshakeTimeout(t *testing.T) {
	closed := make(chan *proxy.Session, 5)
	s := &proxy.Server{Policy: proxy.Policy{HandshakeTimeout: 50 * time.Millisecond}, Closed: func(ses *proxy.Session) { closed <- ses }}
	address := sockstest.Serve(t, s, &sockstest.Egress{})
	for _, b := range [][]byte{nil, {5, 1}, {5, 1, 0, 5}, []byte("CONNECT a.test"), []byte("DELETE /")} {
		c := connect(t, address)
		c.send(b)
		io.ReadAll(c)
		c.Close()
		ses := <-closed
		if timeout := net.Error(nil); !errors.As(ses.Err, &timeout) || !timeout.Timeout() || ses.Request != nil {
			t.Errorf("after % x the session ended with %v", b, ses.Err)
		}
	}
}

// Success is not claimed before the egress has succeeded.
func TestNoEarlySuccess(t *testing.T) {
	release := make(chan struct{})
	asked := make(chan struct{})
	out := &sockstest.Egress{DialFunc: func(context.Context, *socks.Request) (net.Conn, socks.Addr, error) {
		close(asked)
		<-release
		return nil, socks.Addr{}, socks.ConnectionRefused
	}}
	c := connect(t, sockstest.Serve(t, &proxy.Server{}, out))
	c.send([]byte{5, 1, 0})
	c.expect([]byte{5, 0})
	c.send(connect5("echo.test", 80))
	<-asked
	c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Fatalf("%d bytes came before the dial was over", n)
	}
	c.SetReadDeadline(time.Now().Add(time.Minute))
	close(release)
	c.expect([]byte{5, 5, 0, 1, 0, 0, 0, 0, 0, 0})
}

// The request reaches the egress as the client made it.
func TestRequest(t *testing.T) {
	out := &sockstest.Egress{}
	address := sockstest.Serve(t, &proxy.Server{}, out)
	d := socks.Dialer{Proxy: address, Auth: socks.Auth{Method: socks.UserPass, User: "ann", Password: "pw"}}
	d.Dial("tcp", "WWW.Example.TEST.:80")
	all := out.Requests()
	if len(all) != 1 {
		t.Fatalf("%d requests", len(all))
	}
	r := all[0]
	if r.Addr != (socks.Addr{Name: "WWW.Example.TEST.", Port: 80}) || r.Auth.User != "ann" || r.Auth.Password != "pw" || r.Listener != address || !r.Client.Addr().IsLoopback() {
		t.Errorf("request is %+v", r)
	}
}

func TestVerify(t *testing.T) {
	s := &proxy.Server{Policy: proxy.Policy{Verify: func(_ *proxy.Session, a socks.Auth) (string, error) {
		if a.Method == socks.UserPass && a.User == "ann" && a.Password == "right" {
			return a.User, nil
		}
		return "", errors.New("wrong")
	}}}
	w := sockstest.NewWorld(t)
	address := sockstest.Serve(t, s, w.Direct())
	good, _ := socks.AppendUserPass(nil, socks.Auth{User: "ann", Password: "right"})
	bad, _ := socks.AppendUserPass(nil, socks.Auth{User: "ann", Password: "wrong"})
	basic := "CONNECT echo.test:%d HTTP/1.1\r\nProxy-Authorization: Basic %s\r\n\r\n"
	for name, c := range map[string]struct{ send, want []byte }{
		"right":            {join([]byte{5, 1, 2}, good, connect5("echo.test", w.Echo)), []byte{5, 2, 1, 0, 5, 0}},
		"wrong":            {join([]byte{5, 1, 2}, bad), []byte{5, 2, 1, 1}},
		"none":             {[]byte{5, 1, 0}, []byte{5, 0xFF}},
		"SOCKS4":           {connect4("echo.test", w.Echo), []byte{0, 0x5B}},
		"HTTP right":       {fmt.Appendf(nil, basic, w.Echo, "YW5uOnJpZ2h0"), []byte("HTTP/1.1 200")},
		"HTTP wrong":       {fmt.Appendf(nil, basic, w.Echo, "YW5uOndyb25n"), []byte("HTTP/1.1 407 Proxy Authentication Required")},
		"HTTP none":        {[]byte("CONNECT echo.test:80 HTTP/1.1\r\n\r\n"), []byte("HTTP/1.1 407 Proxy Authentication Required")},
		"HTTP page, as is": {[]byte("GET / HTTP/1.1\r\n\r\n"), []byte("HTTP/1.1 501")},
	} {
		t.Run(name, func(t *testing.T) {
			conn := connect(t, address)
			conn.send(c.send)
			conn.expect(c.want)
		})
	}
}

func TestMaxConns(t *testing.T) {
	w := sockstest.NewWorld(t)
	closed := make(chan *proxy.Session, 10)
	s := &proxy.Server{MaxConns: 2, Closed: func(ses *proxy.Session) { closed <- ses }}
	address := sockstest.Serve(t, s, w.Direct())
	request := join([]byte{5, 1, 0}, connect5("echo.test", w.Echo))
	var held []client
	for range 2 {
		c := connect(t, address)
		c.send(request)
		c.expect([]byte{5, 0, 5, 0})
		held = append(held, c)
	}
	c := connect(t, address)
	c.send(request)
	c.expect([]byte{5, 0, 5, 1, 0, 1, 0, 0, 0, 0, 0, 0})
	c.expectEnd()
	c.Close()
	<-closed
	held[0].Close()
	<-closed
	c = connect(t, address)
	c.send(request)
	c.expect([]byte{5, 0, 5, 0})
}

// Sessions are told once each, with what moved.
func TestSession(t *testing.T) {
	w := sockstest.NewWorld(t)
	closed := make(chan *proxy.Session, 1)
	s := &proxy.Server{Closed: func(ses *proxy.Session) { closed <- ses }}
	out := w.Direct()
	address := sockstest.Serve(t, s, out)
	c := connect(t, address)
	c.send(join([]byte{5, 1, 0}, connect5("echo.test", w.Echo), []byte("12345")))
	c.CloseWrite()
	io.ReadAll(c)
	ses := <-closed // both sides have ended
	if ses.ID != 1 || ses.Up != 5 || ses.Down != 5 || ses.Err != nil || ses.Status != socks.Succeeded || ses.Egress != "unnamed" || ses.Listener != address || ses.End.Before(ses.Start) {
		t.Errorf("session is %+v", ses)
	}
	c = connect(t, address)
	c.send(join([]byte{5, 1, 0}, connect5("missing.test", 80)))
	io.ReadAll(c)
	c.Close()
	if ses = <-closed; ses.ID != 2 || ses.Status != socks.HostUnreachable || ses.Err == nil || ses.Request.Addr.Name != "missing.test" {
		t.Errorf("session is %+v", ses)
	}
}

func TestShutdown(t *testing.T) {
	w := sockstest.NewWorld(t)
	s := &proxy.Server{}
	address := sockstest.Serve(t, s, w.Direct())
	c := connect(t, address)
	c.send(join([]byte{5, 1, 0}, connect5("echo.test", w.Echo)))
	c.expect([]byte{5, 0, 5, 0, 0, 1, 127, 0, 0, 1})
	io.ReadFull(c, make([]byte, 2))

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Shutdown with a connection open: %v", err)
	}
	if _, err := net.Dial("tcp", address); err == nil {
		t.Error("a new connection was accepted during shutdown")
	}
	c.send([]byte("still there"))
	c.expect([]byte("still there"))
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(t.Context()) }()
	c.Close()
	if err := <-ended; err != nil {
		t.Errorf("Shutdown after the last connection: %v", err)
	}
}

// Close ends connections in every phase, and tells of each.
func TestClose(t *testing.T) {
	w := sockstest.NewWorld(t)
	var told atomic.Int32
	s := &proxy.Server{Closed: func(*proxy.Session) { told.Add(1) }}
	out := w.Direct()
	address := sockstest.Serve(t, s, out)
	handshake := connect(t, address)
	handshake.send([]byte{5, 1, 0})
	handshake.expect([]byte{5, 0})
	dialling := connect(t, address)
	dialling.send(join([]byte{5, 1, 0}, connect5("silent.test", 80)))
	dialling.expect([]byte{5, 0})
	relaying := connect(t, address)
	relaying.send(join([]byte{5, 1, 0}, connect5("echo.test", w.Echo)))
	relaying.expect([]byte{5, 0, 5, 0})
	for deadline := time.Now().Add(time.Minute); !w.DNS.Asked("silent.test") && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	s.Close()
	if n := told.Load(); n != 3 {
		t.Errorf("Close told %d sessions, want 3", n)
	}
	for _, c := range []client{handshake, dialling, relaying} {
		io.ReadAll(c)
	}
}

// Many at once, hashed both ways.
func TestConcurrent(t *testing.T) {
	w := sockstest.NewWorld(t)
	d := socks.Dialer{Proxy: sockstest.Serve(t, &proxy.Server{}, w.Direct())}
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			c, err := d.Dial("tcp", fmt.Sprintf("echo.test:%d", w.Echo))
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			payload := bytes.Repeat([]byte{byte(i)}, 100_000+i)
			go func() {
				c.Write(payload)
				c.(*net.TCPConn).CloseWrite()
			}()
			h := sha256.New()
			if _, err := io.Copy(h, c); err != nil || [32]byte(h.Sum(nil)) != sha256.Sum256(payload) {
				t.Errorf("connection %d: %v, or other bytes came back", i, err)
			}
		})
	}
	all.Wait()
}

// An address is answered at once; no egress needs to look it up.
func TestResolveLiteral(t *testing.T) {
	w := sockstest.NewWorld(t)
	d := socks.Dialer{Proxy: sockstest.Serve(t, &proxy.Server{}, w.Direct())}
	for _, text := range []string{"192.0.2.1", "2001:db8::1"} {
		if ip, err := d.Resolve(t.Context(), text); err != nil || ip != netip.MustParseAddr(text) {
			t.Errorf("Resolve(%s) = %v, %v", text, ip, err)
		}
	}
	if q := w.DNS.Queries(); len(q) > 0 {
		t.Errorf("a DNS server was asked %v", q)
	}
}

// A listener is closed alone: its clients go on, and new ones are refused.
func TestCloseListener(t *testing.T) {
	s := &proxy.Server{
		NonBlocking: os.Getenv(sockstest.OnGoroutines) == "",
		Policy: proxy.Policy{Route: func(context.Context, *proxy.Session) (proxy.Route, error) {
			return proxy.Route{Egress: &egress.Direct{}}, nil
		}},
	}
	defer s.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	before := connect(t, l.Addr().String())
	before.send([]byte{5, 1, 0})
	before.expect([]byte{5, 0})
	if err := s.CloseListener(l); err != nil {
		t.Error(err)
	}
	if err := <-done; err == nil {
		t.Error("Serve returned no error")
	}
	if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
		c.Close()
		t.Error("the listener takes connections")
	}
	w := sockstest.NewWorld(t)
	before.send(append([]byte{5, 1, 0, 1, 127, 0, 0, 1}, byte(w.Echo>>8), byte(w.Echo)))
	before.expect([]byte{5, 0})
}
