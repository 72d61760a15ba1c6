package main

import (
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hosier/internal/page"
)

// TestPACOfRules: what the rules send to direct, whoever asks, goes past the proxy; for
// programs of this host, by its own DNS server.
func TestPACOfRules(t *testing.T) {
	const rules = `
via = "socks5://192.0.2.1:1080"
[[rule]]
to = "refused.lan"
refuse = true
[[rule]]
to = ".near.lan"
via = "direct"
[[rule]]
to = ["mail.lan", "10.0.0.0/8"]
client = "127.0.0.0/9"
via = "direct"
[[rule]]
to = "dns.lan"
command = "resolve"
refuse = true
[[rule]]
to = "elsewhere.lan"
listener = "other"
refuse = true
[[rule]]
to = "web.lan"
port = 443
via = "direct"
[[rule]]
to = [".lan", "192.168.0.0/16"]
via = "direct"
[[rule]]
to = ".tor"
via = ["direct", "out"]
[listener.other]
listen = "127.0.0.1:0"
[egress.out]
via = "socks5://192.0.2.2:1080"
`
	for _, tt := range []struct {
		name, head, listen string
		want               []string
	}{
		{"local", "", "127.0.0.1:0", []string{
			`if (host == "refused.lan") return through;`,
			`if (below(host, "near.lan")) return "DIRECT";`,
			`if (host == "mail.lan") return through;`,
			`if (within(host, 167772160, 16777216)) return through;`,
			`if (host == "web.lan") return through;`,
			`if (below(host, "lan")) return through;`, // a rule about addresses stands above
			`if (within(host, 3232235520, 65536)) return "DIRECT";`,
		}},
		{"by another DNS server", "dns = \"127.0.0.1:1\"", "127.0.0.1:0", nil},
		{"for other hosts", "allow-client = \"127.0.0.0/8\"", "0.0.0.0:0", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "h.toml")
			if err := os.WriteFile(file, []byte(tt.head+"\n"+rules), 0o600); err != nil {
				t.Fatal(err)
			}
			h := start(t, "--config", file, "--listen", tt.listen)
			text, err := get(&http.Transport{DisableKeepAlives: true}, "http://"+local(h.addr())+"/proxy.pac")
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for line := range strings.Lines(text) {
				if line = strings.TrimSpace(line); strings.HasPrefix(line, "if (") && !strings.Contains(line, ".test(host)") && !strings.Contains(line, "url.slice") {
					got = append(got, line)
				}
			}
			if strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// local is an address of loopback where a listener of all addresses is reached.
func local(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return net.JoinHostPort("127.0.0.1", port)
}

// TestPageCheckAndRules: the check is answered whatever the rules say, but not for those
// who may not come.
func TestPageCheckAndRules(t *testing.T) {
	for _, tt := range []struct {
		name, config, listen string
		answered             bool
	}{
		{"nothing allowed", "[[rule]]\nto = \"example.org\"\nvia = \"direct\"\n", "127.0.0.1:0", true},
		{"refused", "via = \"direct\"\n[[rule]]\nto = \".invalid\"\nrefuse = true\n", "127.0.0.1:0", true},
		{"sent on", "via = \"socks5://127.0.0.1:1\"\n", "127.0.0.1:0", true},
		{"client in allow-client", "via = \"direct\"\nallow-client = \"127.0.0.0/8\"\n", "0.0.0.0:0", true},
		{"another client", "via = \"direct\"\nallow-client = \"192.0.2.0/24\"\n", "0.0.0.0:0", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "h.toml")
			if err := os.WriteFile(file, []byte(tt.config), 0o600); err != nil {
				t.Fatal(err)
			}
			h := start(t, "--config", file, "--listen", tt.listen)
			through := &url.URL{Scheme: "socks5h", Host: local(h.addr())}
			got, err := get(&http.Transport{Proxy: http.ProxyURL(through), DisableKeepAlives: true}, "http://"+page.CheckName+"/")
			if (err == nil) != tt.answered || tt.answered && !strings.Contains(got, "It works") {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}
