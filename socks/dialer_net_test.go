package socks

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"hosier/internal/tcptest"
)

// tunnel is a small proxy: whatever the name, it leads to target.
func tunnel(t *testing.T, target string, asked chan<- Addr) func(net.Conn) {
	return func(c net.Conn) {
		br := bufio.NewReaderSize(c, MaxMessage)
		r, err := Accept(br, c, nil)
		if err != nil {
			t.Error(err)
			return
		}
		asked <- r.Addr
		remote, err := net.Dial("tcp", target)
		if err != nil {
			t.Error(err)
			return
		}
		defer remote.Close()
		c.Write(r.AppendReply(nil, Succeeded, Addr{}))
		var up sync.WaitGroup
		up.Go(func() {
			io.Copy(remote, br)
			remote.(*net.TCPConn).CloseWrite()
		})
		io.Copy(c, remote)
		c.Close()
		up.Wait()
	}
}

func TestDialerHTTPTransport(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "hello "+r.Host)
	}))
	defer web.Close()
	for _, d := range []Dialer{
		{},
		{Version: V4},
		{Version: V5},
		{Auth: Auth{Method: UserPass, User: "foo", Password: "bar"}},
	} {
		asked := make(chan Addr, 1)
		d.Proxy = tcptest.Listen(t, tunnel(t, web.Listener.Addr().String(), asked))
		transport := &http.Transport{DialContext: d.DialContext}
		res, err := (&http.Client{Transport: transport}).Get("http://www.example.test/")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if string(body) != "hello www.example.test" || err != nil {
			t.Errorf("got %q, %v", body, err)
		}
		res.Body.Close()
		transport.CloseIdleConnections()
		if got, want := <-asked, (Addr{Name: "www.example.test", Port: 80}); got != want {
			t.Errorf("proxy was asked for %v, want %v", got, want)
		}
	}
}

// TestDialerReadsNoMore has a proxy on TCP that says the reply and more in one write.
func TestDialerReadsNoMore(t *testing.T) {
	proxy := tcptest.Listen(t, func(c net.Conn) {
		r, err := Accept(bufio.NewReader(c), c, nil)
		if err != nil {
			t.Error(err)
			return
		}
		c.Write(append(r.AppendReply(nil, Succeeded, Addr{IP: ip6, Port: 7}), "220 hello\r\n"...))
	})
	for _, v := range []Version{V4, V5} {
		d := Dialer{Proxy: proxy, Version: v}
		c, err := d.Dial("tcp", "www.example:25")
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := c.(*net.TCPConn); !ok {
			t.Errorf("connection is a %T", c)
		}
		if got, err := io.ReadAll(c); string(got) != "220 hello\r\n" || err != nil {
			t.Errorf("%v: got %q, %v", v, got, err)
		}
		c.Close()
	}
}

func TestDialerUnix(t *testing.T) {
	dir, err := os.MkdirTemp("", "socks") // t.TempDir is too long for a socket of some systems
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	tcptest.Serve(t, l, func(c net.Conn) {
		r, err := Accept(bufio.NewReader(c), c, nil)
		if err != nil {
			t.Error(err)
			return
		}
		c.Write(r.AppendReply(nil, Succeeded, Addr{IP: ip4}))
	})
	got, err := (&Dialer{Proxy: "unix:" + path}).Resolve(t.Context(), "www.example")
	if got != ip4 || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestDialerForward tells it where the proxy is.
func TestDialerForward(t *testing.T) {
	for proxy, want := range map[string][2]string{
		"proxy.example:1080": {"tcp", "proxy.example:1080"},
		"[::1]:1080":         {"tcp", "[::1]:1080"},
		"unix:/run/proxy":    {"unix", "/run/proxy"},
		"unix:relative":      {"unix", "relative"},
	} {
		broken := errors.New("no network here")
		d := Dialer{Proxy: proxy, Forward: func(_ context.Context, network, address string) (net.Conn, error) {
			if network != want[0] || address != want[1] {
				t.Errorf("%s: got %s %s", proxy, network, address)
			}
			return nil, broken
		}}
		c, err := d.Dial("tcp6", "www.example:80")
		failure := (*ProxyError)(nil)
		if c != nil || !errors.Is(err, broken) || !errors.As(err, &failure) || failure.Proxy != proxy {
			t.Errorf("%s: got %v, %v", proxy, c, err)
		}
	}
}

// TestDialerNoProxy finds nobody there.
func TestDialerNoProxy(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := Dialer{Proxy: l.Addr().String()}
	l.Close()
	_, err = d.Dial("tcp4", "www.example:80")
	if failure, op := (*ProxyError)(nil), (*net.OpError)(nil); !errors.As(err, &failure) || !errors.As(err, &op) {
		t.Errorf("got %v", err)
	}
}

// TestDialerCancelTCP cancels while a real connection waits.
func TestDialerCancelTCP(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	closed := make(chan error, 1)
	proxy := tcptest.Listen(t, func(c net.Conn) {
		io.ReadFull(c, make([]byte, 3))
		cancel()
		_, err := io.Copy(io.Discard, c)
		closed <- err
	})
	c, err := (&Dialer{Proxy: proxy}).DialContext(ctx, "tcp", "www.example:80")
	if c != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, %v", c, err)
	}
	if err := <-closed; err != nil {
		t.Errorf("proxy sees %v, want the end", err)
	}
}

// TestDialerTogether has many goroutines use one Dialer.
func TestDialerTogether(t *testing.T) {
	proxy := tcptest.Listen(t, func(c net.Conn) {
		if r, err := Accept(bufio.NewReader(c), c, nil); err != nil {
			t.Error(err)
		} else {
			c.Write(r.AppendReply(nil, Succeeded, Addr{Name: "name-of-" + r.Addr.Host()}))
		}
	})
	d := &Dialer{Proxy: proxy, Auth: Auth{Method: UserPass, User: "foo", Password: "bar"}}
	var all sync.WaitGroup
	for ip, end := ip4, 0; end < 20; ip, end = ip.Next(), end+1 {
		all.Go(func() {
			name, err := d.ResolvePTR(t.Context(), ip)
			if name != "name-of-"+ip.String() || err != nil {
				t.Errorf("got %s, %v", name, err)
			}
		})
	}
	all.Wait()
}
