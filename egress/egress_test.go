package egress_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hosier/egress"
	"hosier/internal/sockstest"
	"hosier/proxy"
	"hosier/socks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDirect(t *testing.T) {
	sockstest.TestEgress(t, func(_ *testing.T, w *sockstest.World) egress.Egress {
		return w.Direct()
	})
}

// upstream runs a hosier that is the far side of another one.
func upstream(t *testing.T, w *sockstest.World) string {
	return sockstest.Serve(t, &proxy.Server{}, w.Direct())
}

func TestSOCKS5(t *testing.T) {
	sockstest.TestEgress(t, func(t *testing.T, w *sockstest.World) egress.Egress {
		return &egress.SOCKS{Dialer: socks.Dialer{Proxy: upstream(t, w), Version: socks.V5}}
	})
}

func TestHTTP(t *testing.T) {
	sockstest.TestEgress(t, func(t *testing.T, w *sockstest.World) egress.Egress {
		return &egress.HTTP{Proxy: upstream(t, w)}
	})
}

// SOCKS4A can say neither IPv6 nor why something failed, so the suite is not for it.
func TestSOCKS4A(t *testing.T) {
	w := sockstest.NewWorld(t)
	out := &egress.SOCKS{Dialer: socks.Dialer{Proxy: upstream(t, w), Version: socks.V4}}
	client := socks.Dialer{Proxy: sockstest.Serve(t, &proxy.Server{}, out)}
	c, err := client.Dial("tcp", socks.Addr{Name: "echo.test", Port: w.Echo}.String())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if !w.DNS.Asked("echo.test") {
		t.Error("the name was not looked up on the far side")
	}
	if ip, err := client.Resolve(t.Context(), "both.test"); err != nil || ip != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("Resolve = %v, %v", ip, err)
	}
	for name, err := range map[string]error{
		"refused port": dialErr(&client, socks.Addr{Name: "echo.test", Port: w.Refused}.String()),
		"unknown name": dialErr(&client, "missing.test:80"),
	} {
		if !errors.Is(err, socks.GeneralFailure) {
			t.Errorf("%s: %v, want status 01: SOCKS4 says no more", name, err)
		}
	}
	if err := dialErr(&client, "[::1]:80"); !errors.Is(err, socks.AddressTypeNotSupported) {
		t.Errorf("IPv6 over SOCKS4: %v", err)
	}
	if _, err := client.ResolvePTR(t.Context(), netip.MustParseAddr("192.0.2.7")); !errors.Is(err, socks.CommandNotSupported) {
		t.Errorf("RESOLVE_PTR over SOCKS4: %v", err)
	}
}

func dialErr(d *socks.Dialer, target string) error {
	c, err := d.Dial("tcp", target)
	if err == nil {
		c.Close()
	}
	return err
}

// What another proxy does wrong must not be told as a fault of the target.
func TestProxyFailure(t *testing.T) {
	refused := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), sockstest.RefusedPort(t)).String()
	for name, out := range map[string]egress.Egress{
		"SOCKS5, nobody there":   &egress.SOCKS{Dialer: socks.Dialer{Proxy: refused}},
		"HTTP, nobody there":     &egress.HTTP{Proxy: refused},
		"SOCKS5, hangs up":       &egress.SOCKS{Dialer: socks.Dialer{Proxy: scripted(t, "")}},
		"SOCKS5, wrong protocol": &egress.SOCKS{Dialer: socks.Dialer{Proxy: scripted(t, "HTTP/1.1 400 no\r\n\r\n")}},
		"SOCKS5, bad reply":      &egress.SOCKS{Dialer: socks.Dialer{Proxy: scripted(t, "\x05\x00\x05\x00\x00\x09\x00\x00\x00\x00\x00\x00")}},
		"HTTP, hangs up":         &egress.HTTP{Proxy: scripted(t, "")},
		"HTTP, wrong protocol":   &egress.HTTP{Proxy: scripted(t, "\x05\xff")},
		"HTTP, endless head":     &egress.HTTP{Proxy: scripted(t, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 20<<10))},
		"HTTP, wrong password":   &egress.HTTP{Proxy: scripted(t, "HTTP/1.1 407 no\r\n\r\n")},
		"HTTP, 401 likewise":     &egress.HTTP{Proxy: scripted(t, "HTTP/1.0 401 no\r\n\r\n")},
		"HTTP, endless 1xx":      &egress.HTTP{Proxy: scripted(t, strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 100))},
		"HTTP, no code":          &egress.HTTP{Proxy: scripted(t, "HTTP/1.1 2000 OK\r\n\r\n")},
	} {
		t.Run(name, func(t *testing.T) {
			r := &socks.Request{Version: socks.V5, Command: socks.Connect, Addr: socks.Addr{Name: "echo.test", Port: 80}}
			c, _, err := out.Dial(t.Context(), r)
			if err == nil {
				c.Close()
			}
			if proxy := (*socks.ProxyError)(nil); !errors.As(err, &proxy) {
				t.Errorf("got %v, want a *socks.ProxyError", err)
			}
			client := socks.Dialer{Proxy: sockstest.Serve(t, &proxy.Server{}, out)}
			if err := dialErr(&client, "echo.test:80"); !errors.Is(err, socks.GeneralFailure) {
				t.Errorf("the client was told %v, want status 01", err)
			}
		})
	}
}

// scripted is a server that says one thing to whoever writes first, whatever that was.
func scripted(t *testing.T, answer string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Read(make([]byte, 512))
			io.WriteString(c, answer)
			c.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr().String()
}

// A name is text in a CONNECT, and must not be able to add a line to it.
func TestHTTPInjection(t *testing.T) {
	out := &egress.HTTP{Proxy: "127.0.0.1:9"}
	r := &socks.Request{Command: socks.Connect, Addr: socks.Addr{Name: "a.test\r\nX: y", Port: 80}}
	format := (*socks.FormatError)(nil)
	if _, _, err := out.Dial(t.Context(), r); !errors.As(err, &format) {
		t.Errorf("got %v, want a *socks.FormatError", err)
	}
}

func TestHTTPCredentials(t *testing.T) {
	got := make(chan string, 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			got <- err.Error()
			return
		}
		r.Header["Authorization"] = r.Header["Proxy-Authorization"]
		user, password, _ := r.BasicAuth()
		got <- r.Method + " " + r.RequestURI + " " + user + " " + password
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nearly")
	}()
	out := &egress.HTTP{Proxy: l.Addr().String(), Auth: socks.Auth{User: "ann", Password: "p:w"}} // the Method need not be named
	r := &socks.Request{Command: socks.Connect, Addr: socks.Addr{Name: "echo.test", Port: 80}, Auth: socks.Auth{Method: socks.UserPass, User: "client", Password: "secret"}}
	c, _, err := out.Dial(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if line := <-got; line != "CONNECT echo.test:80 ann p:w" {
		t.Errorf("proxy saw %q", line)
	}
	if b, err := io.ReadAll(c); err != nil || string(b) != "early" {
		t.Errorf("after the answer came %q, %v", b, err)
	}
}

// Over a proxy that does not know RESOLVE: by its reply, or by hanging up as Dante does.
func TestResolveUnsupported(t *testing.T) {
	for name, answer := range map[string]string{
		"07":       "\x05\x00\x05\x07\x00\x01\x00\x00\x00\x00\x00\x00",
		"hangs up": "\x05\x00",
	} {
		t.Run(name, func(t *testing.T) {
			out := &egress.SOCKS{Dialer: socks.Dialer{Proxy: twoStep(t, answer)}}
			r := &socks.Request{Command: socks.Resolve, Addr: socks.Addr{Name: "echo.test"}}
			if _, err := out.Resolve(t.Context(), r); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("Resolve: %v", err)
			}
			r = &socks.Request{Command: socks.ResolvePTR, Addr: socks.Addr{IP: netip.MustParseAddr("192.0.2.7")}}
			if _, err := out.ResolvePTR(t.Context(), r); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("ResolvePTR: %v", err)
			}
			client := socks.Dialer{Proxy: sockstest.Serve(t, &proxy.Server{}, out)}
			if _, err := client.Resolve(t.Context(), "echo.test"); !errors.Is(err, socks.CommandNotSupported) {
				t.Errorf("the client was told %v, want 07", err)
			}
		})
	}
}

// twoStep answers the greeting with the first two bytes and the request with the rest.
func twoStep(t *testing.T, answer string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Read(make([]byte, 512))
			io.WriteString(c, answer[:2])
			c.Read(make([]byte, 512))
			io.WriteString(c, answer[2:])
			c.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr().String()
}

// The proxy gets the credentials of the Dialer, never those of the client.
func TestCredentialsStayApart(t *testing.T) {
	seen := make(chan socks.Auth, 1)
	w := sockstest.NewWorld(t)
	far := &proxy.Server{Policy: proxy.Policy{Verify: func(_ *proxy.Session, a socks.Auth) (string, error) {
		seen <- a
		return "", nil
	}}}
	out := &egress.SOCKS{Dialer: socks.Dialer{
		Proxy: sockstest.Serve(t, far, w.Direct()),
		Auth:  socks.Auth{Method: socks.UserPass, User: "upstream", Password: "key"},
	}}
	client := socks.Dialer{
		Proxy: sockstest.Serve(t, &proxy.Server{}, out),
		Auth:  socks.Auth{Method: socks.UserPass, User: "client", Password: "secret"},
	}
	if err := dialErr(&client, socks.Addr{Name: "echo.test", Port: w.Echo}.String()); err != nil {
		t.Fatal(err)
	}
	if a := <-seen; a.User != "upstream" || a.Password != "key" {
		t.Errorf("the proxy was shown %v", a.User)
	}
}

// The address judged is the one dialled, whatever name led to it; lookups are judged too.
func TestDirectAllow(t *testing.T) {
	w := sockstest.NewWorld(t)
	var judged []netip.Addr
	out := &egress.Direct{Resolver: sockstest.Resolver(t, w.DNS.Addr), Allow: func(_ *socks.Request, ip netip.Addr) error {
		judged = append(judged, ip)
		return socks.NotAllowed
	}}
	ask := func(addr socks.Addr) error {
		c, _, err := out.Dial(t.Context(), &socks.Request{Version: socks.V5, Command: socks.Connect, Addr: addr})
		if err == nil {
			c.Close()
		}
		return err
	}
	for _, addr := range []socks.Addr{
		{Name: "echo.test", Port: w.Echo},
		{IP: netip.MustParseAddr("127.0.0.1"), Port: w.Echo},
		{IP: netip.MustParseAddr("::ffff:127.0.0.1"), Port: w.Echo},
	} {
		judged = nil
		if err := ask(addr); !errors.Is(err, socks.NotAllowed) {
			t.Errorf("%v: %v", addr, err)
		}
		if len(judged) != 1 || judged[0] != netip.MustParseAddr("127.0.0.1") {
			t.Errorf("%v: judged %v", addr, judged)
		}
	}
	if _, err := out.Resolve(t.Context(), &socks.Request{Addr: socks.Addr{Name: "echo.test"}}); !errors.Is(err, socks.NotAllowed) {
		t.Errorf("Resolve: %v", err)
	}
	before := len(w.DNS.Queries())
	if _, err := out.ResolvePTR(t.Context(), &socks.Request{Addr: socks.Addr{IP: netip.MustParseAddr("192.0.2.7")}}); !errors.Is(err, socks.NotAllowed) {
		t.Errorf("ResolvePTR: %v", err)
	}
	if after := len(w.DNS.Queries()); after != before {
		t.Error("RESOLVE_PTR of a refused address asked the DNS server")
	}
}

func TestPublicOnly(t *testing.T) {
	refused := []string{
		"0.0.0.0", "127.0.0.1", "127.255.0.1", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.0.1",
		"169.254.169.254", "100.100.100.200", "192.0.0.192", "224.0.0.1", "255.255.255.255",
		"::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1",
		"64:ff9b:1::1", "2002:7f00:1::", "2001:0:1::", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1",
		"168.63.129.16", "::ffff:168.63.129.16", "64:ff9b::a83f:8110", "169.254.170.23", "169.254.0.23", // clouds
		"fd00:ec2::23", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:42::42", // clouds, IPv6
		"192.88.99.1", "5f00::1", "::ffff:0:127.0.0.1", "::ffff:0:1.1.1.1", "::1.1.1.1", "100::1", "100:0:0:1::1",
		"2001:db8::1", "3fff::1", "200::1", "4000::1", "fe80::1%lo",
	}
	for _, text := range refused {
		if err := egress.PublicOnly(nil, netip.MustParseAddr(text)); !errors.Is(err, socks.NotAllowed) {
			t.Errorf("%s: %v, want a refusal", text, err)
		}
	}
	for _, text := range []string{"1.1.1.1", "172.32.0.1", "192.169.0.1", "100.128.0.1", "2606:4700::1", "2a00::1", "3ffe::1", "64:ff9b::101:101", "::ffff:1.1.1.1", "168.63.129.17"} {
		if err := egress.PublicOnly(nil, netip.MustParseAddr(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// An address of this host reaches what a packet filter keeps from others.
func TestPublicOnlyOwnAddress(t *testing.T) {
	own, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range own {
		ip, _ := netip.AddrFromSlice(a.(*net.IPNet).IP)
		if err := egress.PublicOnly(nil, ip); !errors.Is(err, socks.NotAllowed) {
			t.Errorf("%v is an address of this host: %v", ip, err)
		}
	}
}

func TestUnsupported(t *testing.T) {
	var out struct{ egress.Unsupported }
	r := &socks.Request{Command: socks.Connect}
	if _, _, err := out.Dial(t.Context(), r); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Dial: %v", err)
	}
	if _, err := out.Resolve(t.Context(), r); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Resolve: %v", err)
	}
	if _, err := out.ResolvePTR(t.Context(), r); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("ResolvePTR: %v", err)
	}
}

// A deadline while the name is looked up is a time-out, towards lookups a failure.
func TestLookupTimeout(t *testing.T) {
	w := sockstest.NewWorld(t)
	s := &proxy.Server{Policy: proxy.Policy{ConnectTimeout: 100 * time.Millisecond}}
	client := socks.Dialer{Proxy: sockstest.Serve(t, s, w.Direct())}
	if err := dialErr(&client, "silent.test:80"); !errors.Is(err, socks.TTLExpired) {
		t.Errorf("CONNECT: %v, want status 06", err)
	}
	if _, err := client.Resolve(context.Background(), "silent.test"); !errors.Is(err, socks.HostUnreachable) {
		t.Errorf("RESOLVE: %v, want status 04", err)
	}
}

// What judges the connection to a proxy does so before a byte is sent, and its error is the
// proxy's, not the target's.
func TestConnected(t *testing.T) {
	refusal := errors.New("not this one")
	judge := func(net.Conn) error { return refusal }
	for name, make := range map[string]func(proxy string) egress.Egress{
		"SOCKS": func(p string) egress.Egress {
			return &egress.SOCKS{Dialer: socks.Dialer{Proxy: p}, Connected: judge}
		},
		"HTTP": func(p string) egress.Egress { return &egress.HTTP{Proxy: p, Connected: judge} },
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			r := &socks.Request{Version: socks.V5, Command: socks.Connect, Addr: socks.Addr{Name: "a.test", Port: 80}}
			_, _, err = make(l.Addr().String()).Dial(t.Context(), r)
			if proxy := (*socks.ProxyError)(nil); !errors.As(err, &proxy) || !errors.Is(err, refusal) {
				t.Errorf("%v, want a *socks.ProxyError that wraps %v", err, refusal)
			}
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if b, err := io.ReadAll(c); len(b) != 0 || err != nil {
				t.Errorf("the proxy got %q, %v", b, err)
			}
		})
	}
}
