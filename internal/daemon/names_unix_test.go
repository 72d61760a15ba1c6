//go:build unix

package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hosier/egress"
	"hosier/internal/sockstest"
	"hosier/internal/tcptest"
	"hosier/proxy"
	"hosier/resolver"
	"hosier/socks"
)

// A name is looked up here only for a request that leaves by direct: with any other egress, of
// each kind, and every dialect and command, the DNS server of the configuration is asked nothing.
func TestOnlyDirectAsks(t *testing.T) {
	t.Parallel()
	dns := sockstest.NewDNS(t)
	dns.Set("direct.test", "127.0.0.1")
	echo := tcptest.Listen(t, tcptest.Echo)
	_, port, _ := net.SplitHostPort(echo)
	beyond := &sockstest.Egress{
		DialFunc: func(ctx context.Context, _ *socks.Request) (net.Conn, socks.Addr, error) {
			c, err := new(net.Dialer).DialContext(ctx, "tcp", echo)
			return c, socks.Addr{}, err
		},
		ResolveFunc: func(context.Context, *socks.Request) (netip.Addr, error) {
			return netip.MustParseAddr("192.0.2.1"), nil
		},
		PTRFunc: func(context.Context, *socks.Request) (string, error) { return "x.test", nil },
	}
	far := sockstest.Serve(t, &proxy.Server{}, beyond)
	text := fmt.Sprintf("dns = %q\nvia = \"far0\"\n", dns.Addr)
	vias := []string{"socks5://" + far, "socks5h://" + far, "socks4a://" + far, "http://" + far, "tor://" + far}
	for i, via := range vias {
		text += fmt.Sprintf("[egress.far%d]\nvia = %q\n", i, via)
	}
	text += "[egress.several]\nvia = [\"far0\", \"far3\"]\n"
	for i := range vias {
		text += fmt.Sprintf("[[rule]]\nto = \"far%d.test\"\nvia = \"far%[1]d\"\n", i)
	}
	text += "[[rule]]\nto = \"several.test\"\nvia = \"several\"\n[[rule]]\nto = \"direct.test\"\nvia = \"direct\"\n[listener.lan]\nlisten = \"127.0.0.1:0\"\n"
	d, g, err := startText(t, text)
	if err != nil {
		t.Fatal(err)
	}
	at := g.at["lan"]
	ask := func(host string) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for _, version := range []socks.Version{socks.V4, socks.V5} {
			client := socks.Dialer{Proxy: at, Version: version}
			if c, err := client.DialContext(ctx, "tcp", host+":"+port); err == nil {
				c.Close()
			} else if errors.As(err, new(*socks.ProxyError)) {
				t.Errorf("%s, version %v: %v", host, version, err)
			}
			client.Resolve(ctx, host)
			if version == socks.V5 {
				client.ResolvePTR(ctx, netip.MustParseAddr("192.0.2.1")) // by the default egress
			}
		}
		out := &egress.HTTP{Proxy: at}
		if c, _, err := out.Dial(ctx, &socks.Request{Version: socks.HTTP, Command: socks.Connect, Addr: socks.Addr{Name: host, Port: 80}}); err == nil {
			c.Close()
		}
	}
	for i := range vias {
		ask(fmt.Sprintf("far%d.test", i))
	}
	ask("several.test")
	ask("no.rule.test")
	arrived := map[string]bool{}
	for _, r := range beyond.Requests() {
		arrived[r.Addr.Name] = true
	}
	if len(arrived) != len(vias)+3 { // and "" of addresses
		t.Errorf("of names the far side saw %v", arrived)
	}
	if asked := dns.Queries(); len(asked) != 0 {
		t.Errorf("the DNS server was asked %v", asked)
	}
	ask("direct.test")
	if !dns.Asked("direct.test") {
		t.Error("the DNS server was not asked where this host is the egress: the test sees nothing")
	}
	if s := d.nameStats(); s == nil || s.Asked == 0 || len(s.Servers) != 1 {
		t.Errorf("counted %+v", s)
	}
}

// The admin listener lets those look names up that show its token.
func TestResolveByAdmin(t *testing.T) {
	t.Parallel()
	dns := sockstest.NewDNS(t)
	dns.Set("x.test", "192.0.2.1", "192.0.2.2")
	d, _, err := startText(t, fmt.Sprintf("dns = %q\nvia = \"direct\"\nadmin = \"127.0.0.1:0\"\nlisten = \"127.0.0.1:0\"\n", dns.Addr))
	if err != nil {
		t.Fatal(err)
	}
	token, err := os.ReadFile(filepath.Join(filepath.Dir(d.source.File), "state", "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		method, path, token string
		code                int
		cached              bool
	}{
		{"GET", "/resolve?name=x.test", "", 401, false},
		{"POST", "/resolve/flush", "", 401, false},
		{"GET", "/resolve?name=x.test", string(token), 200, false},
		{"GET", "/resolve?name=x.test", string(token), 200, true},
		{"POST", "/resolve/flush", string(token), 200, false},
		{"GET", "/resolve?name=x.test", string(token), 200, false},
		{"GET", "/resolve", string(token), 400, false},
		{"GET", "/resolve?name=a%20b", string(token), 400, false},
	} {
		r, err := http.NewRequestWithContext(t.Context(), test.method, d.adminAt+test.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if test.token != "" {
			r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(test.token))
		}
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != test.code {
			t.Errorf("%s %s: %d %s, want %d", test.method, test.path, resp.StatusCode, body, test.code)
		}
		if test.code != 200 || test.method != "GET" {
			continue
		}
		var report NameReport
		if err := json.Unmarshal(body, &report); err != nil {
			t.Fatal(err)
		}
		if a := report.Answers; len(a) != 2 || a[0].Type != "A" || len(a[0].Values) != 2 || a[0].From != dns.Addr || a[0].Cached != test.cached || a[0].TTL < 50 || a[1].Error == "" {
			t.Errorf("%s", body)
		}
	}
}

// dns-stale takes effect at a reload, and what is the same keeps what it knows.
func TestReloadStale(t *testing.T) {
	t.Parallel()
	d, g, err := startText(t, "via = \"direct\"\ndns-stale = \"1h\"\nlisten = \"127.0.0.1:0\"\n")
	if err != nil {
		t.Fatal(err)
	}
	first := g.resolver
	if first.Stale != time.Hour {
		t.Errorf("stale answers serve for %v", first.Stale)
	}
	text, err := os.ReadFile(d.source.File)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		key   string
		stale time.Duration
		same  bool
	}{{`dns-stale = "1h"`, time.Hour, true}, {`dns-stale = "0s"`, 0, false}} {
		changed := strings.Replace(string(text), `dns-stale = "1h"`, test.key, 1)
		if err := os.WriteFile(d.source.File, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := d.reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		var now *resolver.Resolver = d.current.Load().resolver
		if now.Stale != test.stale || (now == first) != test.same {
			t.Errorf("%s: stale answers serve for %v; the same resolver: %v", test.key, now.Stale, now == first)
		}
	}
}
