//go:build unix

package main

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestPageNames: a listener with names answers to them, with page and PAC file; one without
// gives them no byte.
func TestPageNames(t *testing.T) {
	h := startConfig(t, t.TempDir(), `via = "direct"
[listener.lan]
listen = "127.0.0.1:0"
names = ["Gateway.lan", "wpad"]
[listener.other]
listen = "127.0.0.1:0"
`, 2)
	ask := func(address, host, path string) (string, error) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return string(b), err
	}
	lan, other := h.addrs[1], h.addrs[2] // the first is of --listen
	_, port, _ := net.SplitHostPort(lan)
	for _, tt := range []struct{ address, host, path, want string }{
		{lan, "gateway.lan:" + port, "/", "socks5h://gateway.lan:" + port},
		{lan, "gateway.lan:" + port, "/proxy.pac", "SOCKS5 gateway.lan:" + port},
		{lan, "wpad", "/wpad.dat", "SOCKS5 " + lan},
		{lan, lan, "/wpad.dat", "SOCKS5 " + lan},
		{lan, "evil.test:" + port, "/", ""},
		{lan, "gateway.lan.evil.test", "/wpad.dat", ""},
		{other, "gateway.lan", "/", ""},
		{other, "wpad", "/wpad.dat", ""},
	} {
		got, err := ask(tt.address, tt.host, tt.path)
		if tt.want == "" && (err == nil || got != "") || tt.want != "" && (err != nil || !strings.Contains(got, tt.want)) {
			t.Errorf("%s%s: got %q, %v; want %q", tt.host, tt.path, got, err, tt.want)
		}
	}
}
