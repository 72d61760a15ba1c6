package sockstest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"hosier/egress"
	"hosier/proxy"
	"hosier/socks"
)

// An egress is judged as clients meet it: behind a proxy.Server.
type suite struct {
	world  *World
	client socks.Dialer
}

// TestEgress runs the suite that every egress passes. Make returns an egress that leads
// to w, and looks names up with w.DNS on its far side; nothing else here asks a DNS server.
func TestEgress(t *testing.T, make func(t *testing.T, w *World) egress.Egress) {
	w := NewWorld(t)
	address := Serve(t, &proxy.Server{}, make(t, w))
	s := suite{world: w, client: socks.Dialer{Proxy: address}}
	t.Run("dial", s.dial)
	t.Run("half-close", s.halfClose)
	t.Run("server speaks first", s.greeter)
	t.Run("failures", s.failures)
	t.Run("resolve", s.resolve)
	t.Run("resolve ptr", s.resolvePTR)
	t.Run("onion", s.onion)
	t.Run("context", func(t *testing.T) { s.context(t, make(t, w)) })
}

func (s suite) dial(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "[::1]", "echo.test", "six.test", "both.test", "dead6.test"} {
		t.Run(host, func(t *testing.T) {
			c, err := s.client.Dial("tcp", fmt.Sprintf("%s:%d", host, s.world.Echo))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			exchange(t, c, "ping", "ping")
			if name := host[0] >= 'a'; name && !s.world.DNS.Asked(host) {
				t.Error("the far side's DNS server was not asked: who looked the name up?")
			}
		})
	}
}

func (s suite) halfClose(t *testing.T) {
	c, err := s.client.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.world.Echo))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "all there is")
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err != nil || string(got) != "all there is" {
		t.Fatalf("after the end of what was sent came %q, %v", got, err)
	}
}

func (s suite) greeter(t *testing.T) {
	c, err := s.client.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.world.Greeter))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	exchange(t, c, "", "hello\n")
	exchange(t, c, "ping", "ping")
}

func (s suite) failures(t *testing.T) {
	for _, c := range []struct {
		target string
		want   socks.Status
	}{
		{fmt.Sprintf("127.0.0.1:%d", s.world.Refused), socks.ConnectionRefused},
		{fmt.Sprintf("echo.test:%d", s.world.Refused), socks.ConnectionRefused},
		{"missing.test:80", socks.HostUnreachable},
		{"broken.test:80", socks.HostUnreachable},
	} {
		t.Run(c.target, func(t *testing.T) {
			conn, err := s.client.Dial("tcp", c.target)
			if err == nil {
				conn.Close()
			}
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want status %v", err, c.want)
			}
		})
	}
}

// refusedProperly reports whether the egress has no lookups, and says so with 07.
func refusedProperly(t *testing.T, err error) bool {
	t.Helper()
	if errors.Is(err, socks.CommandNotSupported) {
		t.Log("this egress has no lookups, and says so")
		return true
	}
	return false
}

func (s suite) resolve(t *testing.T) {
	for name, want := range map[string]string{"echo.test": "127.0.0.1", "six.test": "::1", "both.test": "127.0.0.1", "192.0.2.1": "192.0.2.1"} {
		got, err := s.client.Resolve(t.Context(), name)
		if refusedProperly(t, err) {
			return
		}
		if err != nil || got != netip.MustParseAddr(want) {
			t.Errorf("Resolve(%s) = %v, %v; want %s", name, got, err, want)
		}
	}
	for _, name := range []string{"missing.test", "broken.test"} {
		if got, err := s.client.Resolve(t.Context(), name); !errors.Is(err, socks.HostUnreachable) {
			t.Errorf("Resolve(%s) = %v, %v; want status %v", name, got, err, socks.HostUnreachable)
		}
	}
	four := s.client
	four.Version = socks.V4
	if got, err := four.Resolve(t.Context(), "both.test"); err != nil || got != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("SOCKS4A Resolve(both.test) = %v, %v", got, err)
	}
	if got, err := four.Resolve(t.Context(), "six.test"); err == nil {
		t.Errorf("SOCKS4A Resolve(six.test) = %v; SOCKS4 has no IPv6", got)
	}
}

func (s suite) resolvePTR(t *testing.T) {
	for ip, want := range map[string]string{"192.0.2.7": "ptr.test", "2001:db8::7": "ptr6.test"} {
		got, err := s.client.ResolvePTR(t.Context(), netip.MustParseAddr(ip))
		if refusedProperly(t, err) {
			return
		}
		if err != nil || got != want {
			t.Errorf("ResolvePTR(%s) = %q, %v; want %q", ip, got, err, want)
		}
	}
	if got, err := s.client.ResolvePTR(t.Context(), netip.MustParseAddr("192.0.2.8")); !errors.Is(err, socks.HostUnreachable) {
		t.Errorf("ResolvePTR of an address without a name = %q, %v", got, err)
	}
}

// onion holds for the egresses that are not Tor; the one that is has tests of its own.
func (s suite) onion(t *testing.T) {
	const good = "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion"
	for name, want := range map[string]socks.Status{good: socks.HostUnreachable, "www." + good: socks.HostUnreachable, "bad.onion": socks.GeneralFailure} {
		c, err := s.client.Dial("tcp", name+":80")
		if err == nil {
			c.Close()
		}
		if !errors.Is(err, want) {
			t.Errorf("CONNECT %s: %v, want status %v", name, err, want)
		}
		if _, err := s.client.Resolve(t.Context(), name); err == nil {
			t.Errorf("RESOLVE %s was answered", name)
		}
		if s.world.DNS.Asked(name) {
			t.Errorf("a DNS server was asked about %s", name)
		}
	}
}

// context sees that an egress gives up when its context ends.
func (s suite) context(t *testing.T, out egress.Egress) {
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		c, _, err := out.Dial(ctx, &socks.Request{Version: socks.V5, Command: socks.Connect, Addr: socks.Addr{Name: "silent.test", Port: 80}})
		if err == nil {
			c.Close()
		}
		failed <- err
	}()
	for deadline := time.Now().Add(time.Minute); !s.world.DNS.Asked("silent.test"); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the name was never looked up")
		}
	}
	cancel()
	select {
	case err := <-failed:
		if err == nil {
			t.Error("Dial succeeded")
		}
	case <-time.After(time.Minute):
		t.Error("Dial goes on after its context ended")
	}
}

// exchange sends one text and expects another.
func exchange(t *testing.T, c net.Conn, send, want string) {
	t.Helper()
	c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(c, send); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("got %q, %v; want %q", got, err, want)
	}
}
