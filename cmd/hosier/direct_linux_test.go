package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"hosier/internal/debiantest"
	"hosier/internal/sockstest"
	"hosier/internal/tcptest"
	"hosier/socks"
)

// Rules that keep clients from loopback hold, however the way there is written. What DNS
// filters answer for a name that they block is no way there either.
func TestNoWayToLoopback(t *testing.T) {
	var reached atomic.Int32
	_, port, _ := net.SplitHostPort(tcptest.Listen(t, func(net.Conn) { reached.Add(1) }))
	dns := sockstest.NewDNS(t)
	dns.Set("blocked.hosier.test", "0.0.0.0", "::")
	file := filepath.Join(t.TempDir(), "hosier.toml")
	text := fmt.Sprintf("via = \"direct\"\ndns = %q\n[[rule]]\nto = [\"127.0.0.0/8\", \"::1\"]\nrefuse = true\n", dns.Addr)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	h := start(t, "--config", file)
	for _, host := range []string{
		"0.0.0.0", "0.0.0.1", "127.0.0.1", "::", "::1", "::ffff:0.0.0.0", "::ffff:127.0.0.1", "[::]", "[::ffff:0.0.0.0]",
		"localhost", "LOCALHOST.", "a.localhost", "blocked.hosier.test",
	} {
		for dialect, ask := range dialects(host, port) {
			if ask == "" {
				continue
			}
			answer := say(t, h.addr(), ask)
			granted := map[string]string{"SOCKS4A": "\x00\x5a", "HTTP": "HTTP/1.1 200"}[dialect]
			if granted == "" {
				granted = "\x05\x00\x05\x00"
			}
			if answer == "" || strings.HasPrefix(answer, granted) {
				t.Errorf("%s, %s: answer %q", dialect, host, answer)
			}
		}
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("%d connections reached loopback", n)
	}
	// The answer itself is no secret.
	if ip, err := (&socks.Dialer{Proxy: h.addr()}).Resolve(t.Context(), "blocked.hosier.test"); err != nil || ip != netip.MustParseAddr("0.0.0.0") {
		t.Errorf("RESOLVE: %v, %v", ip, err)
	}
}

// dialects are the requests for a host in the forms that it can be put into.
func dialects(host, port string) map[string]string {
	var n int
	fmt.Sscan(port, &n)
	at := string([]byte{byte(n >> 8), byte(n)})
	bare := strings.Trim(host, "[]")
	all := map[string]string{
		"SOCKS4A":     "\x04\x01" + at + "\x00\x00\x00\x01\x00" + host + "\x00",
		"SOCKS5 name": "\x05\x01\x00" + "\x05\x01\x00\x03" + string(byte(len(host))) + host + at,
		"HTTP":        "CONNECT " + net.JoinHostPort(bare, port) + " HTTP/1.1\r\nHost: x\r\n\r\n",
	}
	if ip, err := netip.ParseAddr(bare); err == nil {
		kind := "\x04"
		if ip.Is4() {
			kind = "\x01"
		}
		all["SOCKS5 address"] = "\x05\x01\x00" + "\x05\x01\x00" + kind + string(ip.AsSlice()) + at
	}
	return all
}

// say sends what and returns all that is answered.
func say(tb testing.TB, proxy, what string) string {
	tb.Helper()
	c, err := dial(proxy)
	if err != nil {
		tb.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, what); err != nil {
		tb.Fatal(err)
	}
	c.(*net.TCPConn).CloseWrite()
	answer, err := io.ReadAll(c)
	if err != nil {
		tb.Fatal(err)
	}
	return string(answer)
}

// A DNS server that never answers has every request answered, with what is true: it timed out
// (06), or there was no room to ask (01); nothing is known of the host. And it takes nothing of
// what max-conns has promised to others.
func TestSilentDNS(t *testing.T) {
	t.Parallel()
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	echo := tcptest.Listen(t, tcptest.Echo)
	for _, c := range []struct {
		name            string
		files, maxConns string
		clients         int
		promised        bool // there is room for all, and for others
	}{
		{"as many as files allow", "200", "0", 40, true},
		{"more than files allow", "100", "1000", 90, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := startUnder(t, []string{"sh", "-c", `ulimit -n "$0"; exec "$@"`, c.files},
				"--dns", silent.LocalAddr().String(), "--max-conns", c.maxConns, "--connect-timeout", "3s")
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			var asking sync.WaitGroup
			for i := range c.clients {
				asking.Go(func() {
					r := &socks.Request{Command: socks.Connect, Addr: socks.Addr{Name: fmt.Sprintf("n%d.hosier.test", i), Port: 80}}
					_, _, err := (&socks.Dialer{Proxy: h.addr()}).Do(ctx, r)
					if !errors.Is(err, socks.TTLExpired) && !errors.Is(err, socks.GeneralFailure) {
						t.Errorf("%v, want %v or %v", err, socks.TTLExpired, socks.GeneralFailure)
					}
				})
			}
			if c.promised {
				exchange(t, connectThrough(t, h.addr(), echo), "meanwhile")
			}
			asking.Wait()
			exchange(t, connectThrough(t, h.addr(), echo), "afterwards")
		})
	}
}

// With a DNS server of its own hosier knows the hosts file's names nevertheless, those of one
// label, too, and asks nobody for them.
func TestHostsFile(t *testing.T) {
	dns := sockstest.NewDNS(t)
	h := startUnder(t, withHosts(t, "192.0.2.10 one two.hosier.test\n"), "--dns", dns.Addr)
	d := &socks.Dialer{Proxy: h.addr()}
	for name, want := range map[string]string{
		"one": "192.0.2.10", "ONE": "192.0.2.10", "one.": "192.0.2.10", "two.hosier.test": "192.0.2.10", "localhost": "127.0.0.1",
	} {
		if ip, err := d.Resolve(t.Context(), name); err != nil || ip != netip.MustParseAddr(want) {
			t.Errorf("RESOLVE %s: %v, %v, want %s", name, ip, err, want)
		}
	}
	if asked := dns.Queries(); len(asked) != 0 {
		t.Errorf("the DNS server was asked for %v", asked)
	}
	if _, err := d.Resolve(t.Context(), "three"); !errors.Is(err, socks.HostUnreachable) || !dns.Asked("three") {
		t.Errorf("RESOLVE three: %v; the DNS server was asked for %v", err, dns.Queries())
	}
}

// withHosts is a wrapper under which programs have this hosts file.
func withHosts(t *testing.T, text string) []string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("this test must be root, to have a hosts file of its own")
	}
	file := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return []string{debiantest.Program(t, "unshare", "util-linux"), "-m", "sh", "-c", `mount --bind "$0" /etc/hosts && exec "$@"`, file}
}

// An upstream that turns out to be hosier itself is not used: not once, so that nothing fills up.
func TestUpstreamIsHosier(t *testing.T) {
	pid := os.Getpid()
	self := fmt.Sprintf("127.93.%d.%d", pid>>8&0xff, pid&0xff) // of this run of the tests alone
	for i, via := range []string{"socks5://self.hosier.test:%s", "socks4a://self.hosier.test:%s", "http://self.hosier.test:%s", "tor://self.hosier.test:%s"} {
		t.Run(via[:strings.Index(via, ":")], func(t *testing.T) {
			port := fmt.Sprint(19060 + i)
			address := net.JoinHostPort(self, port)
			h := startUnder(t, withHosts(t, self+" self.hosier.test\n"), "--listen", address, "--via", fmt.Sprintf(via, port), "-v", "--max-conns", "50")
			for range 3 {
				c, err := (&socks.Dialer{Proxy: address}).Dial("tcp", "a.hosier.test:80")
				if err == nil {
					c.Close()
				}
				if !errors.Is(err, socks.GeneralFailure) {
					t.Errorf("%v, want %v", err, socks.GeneralFailure)
				}
			}
			await(t, "the end of all connections", func() bool { return strings.Count(h.log.String(), "msg=connection") >= 6 })
			if got := strings.Count(h.log.String(), "msg=connection"); got != 6 {
				t.Errorf("%d connections, want one of each client and one of hosier's own each:\n%s", got, h.log.String())
			}
			if !strings.Contains(h.log.String(), "the upstream is a listener of this hosier") {
				t.Errorf("the log does not have the reason:\n%s", h.log.String())
			}
		})
	}
}

// An upstream's name that a DNS filter blocks does not lead to this host's own services.
func TestUpstreamIsBlocked(t *testing.T) {
	var reached atomic.Int32
	_, port, _ := net.SplitHostPort(tcptest.Listen(t, func(net.Conn) { reached.Add(1) }))
	for _, scheme := range []string{"socks5", "http", "tor"} {
		h := startUnder(t, withHosts(t, "0.0.0.0 blocked.hosier.test\n"), "--via", scheme+"://blocked.hosier.test:"+port)
		c, err := (&socks.Dialer{Proxy: h.addr()}).Dial("tcp", "a.hosier.test:80")
		if err == nil {
			c.Close()
		}
		if !errors.Is(err, socks.GeneralFailure) {
			t.Errorf("%s: %v, want %v", scheme, err, socks.GeneralFailure)
		}
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("%d connections reached this host", n)
	}
}
