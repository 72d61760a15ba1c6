package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"hosier/internal/debiantest"
	"hosier/internal/sockstest"
	"hosier/internal/tcptest"
	"hosier/proxy"
	"hosier/socks"
)

// TestNcat sends a line to an echo server and ends its input, so that it works only if
// both directions end one after the other.
func TestNcat(t *testing.T) {
	ncat := debiantest.Program(t, "ncat", "ncat")
	s := newSite(t)
	_, port, _ := net.SplitHostPort(tcptest.Listen(t, tcptest.Echo))
	for _, tt := range []struct {
		name, args, log string
		asked           []string
	}{
		{"socks4", "--proxy-type socks4", "dialect=SOCKS4A", askedV4},
		{"socks4/user", "--proxy-type socks4 --proxy-auth me", "dialect=SOCKS4A", askedV4},
		{"socks5", "--proxy-type socks5", "dialect=SOCKS5", askedBoth},
		{"socks5/user", "--proxy-type socks5 --proxy-auth me:hunter2", "dialect=SOCKS5", askedBoth},
		{"http", "--proxy-type http", "dialect=HTTP", askedBoth},
		{"http/user", "--proxy-type http --proxy-auth me:hunter2", "dialect=HTTP", askedBoth},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := s.start(t)
			w := newWatch(t)
			words := append(append(w.wrapper, ncat, "--proxy", h.addr(), "--proxy-dns", "remote"), strings.Fields(tt.args)...)
			runProgram(t, "ping\n", append(words, webName, port)...).want(t, "ping\n")
			h.awaitLog(t, tt.log+" command=CONNECT target="+webName+":"+port+` .*status="00 succeeded" up=5 down=5 `)
			w.traffic(t).onlyTo(t, h.addr())
			s.asked(t, tt.asked...)
		})
	}
	t.Run("no-such-name", func(t *testing.T) {
		h := s.start(t)
		runProgram(t, "", ncat, "--proxy", h.addr(), "--proxy-type", "socks5", nowhereName, port).wantFailure(t, "")
		s.asked(t, "A "+nowhereName, "AAAA "+nowhereName)
	})
}

// TestProxychains runs curl under proxychains4, which makes up addresses for names, and
// gives the names to the proxy.
func TestProxychains(t *testing.T) {
	proxychains, curl := debiantest.Program(t, "proxychains4", "proxychains4"), debiantest.Program(t, "curl", "curl")
	s := newSite(t)
	for _, tt := range []struct {
		kind, log string
		asked     []string
	}{
		{"socks4", "dialect=SOCKS4A", askedV4},
		{"socks5", "dialect=SOCKS5", askedBoth},
		{"http", "dialect=HTTP", askedBoth},
	} {
		t.Run(tt.kind, func(t *testing.T) {
			h := s.start(t)
			host, port, _ := net.SplitHostPort(h.addr())
			config := filepath.Join(t.TempDir(), "proxychains.conf")
			text := fmt.Sprintf("strict_chain\nproxy_dns\n[ProxyList]\n%s %s %s\n", tt.kind, host, port)
			if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			w := newWatch(t)
			words := append(w.wrapper, proxychains, "-q", "-f", config, curl, "-qsS", "http://"+s.host()+"/")
			runProgram(t, "", words...).want(t, greeting(s.host()))
			h.awaitLog(t, tt.log+" command=CONNECT target="+s.host()+` .*status="00 succeeded"`)
			w.traffic(t).onlyTo(t, h.addr())
			s.asked(t, tt.asked...)
		})
	}
}

// TestTorResolve runs Debian's tor-resolve against hosier.
func TestTorResolve(t *testing.T) {
	torResolve := debiantest.Program(t, "tor-resolve", "tor")
	s := newSite(t)
	s.dns.Set("ptr.hosier.test", "192.0.2.80")
	s.dns.Set("six.hosier.test", "2001:db8::6")
	h := s.start(t)
	_, port, _ := net.SplitHostPort(h.addr())
	for _, tt := range []struct {
		name, args, want, log string
		asked                 []string
	}{
		{"socks4a", "-4 " + webName + " " + h.addr(), "127.0.0.1\n", "dialect=SOCKS4A command=RESOLVE target=" + webName, askedV4},
		{"socks5", "-5 " + webName + " " + h.addr(), "127.0.0.1\n", "dialect=SOCKS5 command=RESOLVE target=" + webName, askedBoth},
		{"port", "-5 -p " + port + " " + webName, "127.0.0.1\n", "dialect=SOCKS5 command=RESOLVE target=" + webName, askedBoth},
		{"reverse", "-x 192.0.2.80 " + h.addr(), "ptr.hosier.test\n", "dialect=SOCKS5 command=RESOLVE_PTR target=192.0.2.80", []string{"PTR 80.2.0.192.in-addr.arpa"}},
		{"reverse/socks5", "-5 -x 192.0.2.80 " + h.addr(), "ptr.hosier.test\n", "dialect=SOCKS5 command=RESOLVE_PTR target=192.0.2.80", []string{"PTR 80.2.0.192.in-addr.arpa"}},
		{"ipv6-only", "-5 six.hosier.test " + h.addr(), "2001:db8::6\n", "command=RESOLVE target=six.hosier.test", []string{"A six.hosier.test", "AAAA six.hosier.test"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWatch(t)
			words := append(append(w.wrapper, torResolve), strings.Fields(tt.args)...)
			runProgram(t, "", words...).want(t, tt.want)
			h.awaitLog(t, tt.log+` .*status="00 succeeded"`)
			w.traffic(t).onlyTo(t, h.addr())
			s.asked(t, tt.asked...)
		})
	}
	t.Run("no-such-name", func(t *testing.T) {
		for _, tt := range []struct{ version, words string }{{"-4", "'91'"}, {"-5", "'4'"}} {
			runProgram(t, "", torResolve, tt.version, nowhereName, h.addr()).wantFailure(t, tt.words)
		}
		runProgram(t, "", torResolve, "-x", "192.0.2.99", h.addr()).wantFailure(t, "'4'")
	})
}

// onion is a well-formed name of an onion service that does not exist.
const onion = "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion"

// farSide is a proxy with RESOLVE that stands for Tor: its names and addresses exist
// beyond it alone, and all lead to the site.
func farSide(tb testing.TB, s *site) (address string, far *sockstest.Egress) {
	tb.Helper()
	elsewhere := netip.MustParseAddr("198.51.100.80")
	far = &sockstest.Egress{
		ResolveFunc: func(_ context.Context, r *socks.Request) (netip.Addr, error) {
			if r.Addr.Name != webName {
				return netip.Addr{}, socks.HostUnreachable
			}
			return elsewhere, nil
		},
		DialFunc: func(ctx context.Context, r *socks.Request) (net.Conn, socks.Addr, error) {
			if r.Addr.IP != elsewhere && r.Addr.Name != onion {
				return nil, socks.Addr{}, errors.New("not a target of this test")
			}
			c, err := new(net.Dialer).DialContext(ctx, "tcp", s.addr)
			return c, socks.Addr{}, err
		},
	}
	return sockstest.Serve(tb, &proxy.Server{}, far), far
}

// TestTorsocks runs curl under torsocks, which asks for the address of a name by RESOLVE
// and connects to that. It takes no address of loopback, so the address is one that
// exists on the far side alone.
func TestTorsocks(t *testing.T) {
	torsocks, curl := debiantest.Program(t, "torsocks", "torsocks"), debiantest.Program(t, "curl", "curl")
	s := newSite(t)
	for _, tt := range []struct {
		name, args, host string
		want             []string // what the far side is asked
	}{
		{"name", "", webName, []string{"RESOLVE " + webName, "CONNECT 198.51.100.80"}},
		{"isolated", "-i", webName, []string{"RESOLVE " + webName, "CONNECT 198.51.100.80"}},
		{"onion", "", onion, []string{"CONNECT " + onion}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			address, far := farSide(t, s)
			h := start(t, "-v", "--via", "tor://"+address, "--unsafe", "refuse")
			host, port, _ := net.SplitHostPort(h.addr())
			w := newWatch(t)
			words := append(append(w.wrapper, torsocks, "-a", host, "-P", port), strings.Fields(tt.args)...)
			url := "http://" + tt.host + ":" + s.port + "/"
			runProgram(t, "", append(words, curl, "-qsS", url)...).want(t, greeting(tt.host+":"+s.port))
			w.traffic(t).onlyTo(t, h.addr())
			var got []string
			for _, r := range far.Requests() {
				got = append(got, r.Command.String()+" "+r.Addr.Host())
			}
			if strings.Join(got, ", ") != strings.Join(tt.want, ", ") {
				t.Errorf("the far side was asked %q, want %q", got, tt.want)
			}
			// The address was asked for here a moment ago, and so is no leak; besides, torsocks
			// writes it in the place of a name.
			h.awaitLog(t, `command=CONNECT .*unsafe=false .*status="00 succeeded"`)
			if strings.Contains(h.log.String(), "unsafe=true") || strings.Contains(h.log.String(), "sends addresses") {
				t.Errorf("torsocks is accused:\n%s", h.log.String())
			}
		})
	}
	t.Run("no-such-name", func(t *testing.T) {
		address, _ := farSide(t, s)
		h := start(t, "-v", "--via", "tor://"+address)
		host, port, _ := net.SplitHostPort(h.addr())
		runProgram(t, "", torsocks, "-a", host, "-P", port, curl, "-qsS", "http://"+nowhereName+"/").wantFailure(t, "resolve")
		h.awaitLog(t, regexp.QuoteMeta("command=RESOLVE target="+nowhereName)+` .*status="04 host unreachable"`)
	})
}
