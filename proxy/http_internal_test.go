package proxy

import (
	"bufio"
	"bytes"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"hosier/socks"
)

var someAddrPort = netip.MustParseAddrPort("192.0.2.1:80")

// parseAnswer reads an answer to CONNECT as a client does, and checks that its body is
// as long as it says.
func parseAnswer(t *testing.T, b []byte) *http.Response {
	t.Helper()
	br := bufio.NewReader(bytes.NewReader(b))
	resp, err := http.ReadResponse(br, &http.Request{Method: http.MethodConnect})
	if err != nil {
		t.Fatalf("%q: %v", b, err)
	}
	if resp.StatusCode != http.StatusOK {
		if int64(br.Buffered()) != resp.ContentLength {
			t.Errorf("Content-Length is %d, the body has %d bytes", resp.ContentLength, br.Buffered())
		}
	} else if br.Buffered() != 0 {
		t.Errorf("a 200 has %d bytes behind its head", br.Buffered())
	}
	return resp
}

func TestNoRoute(t *testing.T) {
	r := &socks.Request{Version: socks.HTTP, Addr: socks.Addr{Name: "a.test", Port: 80}}
	byName := parseAnswer(t, new(Policy).appendHTTPReply(nil, r, socks.HostUnreachable, socks.HostUnreachable))
	r.Addr = socks.AddrFrom(someAddrPort)
	byAddr := parseAnswer(t, new(Policy).appendHTTPReply(nil, r, socks.HostUnreachable, socks.HostUnreachable))
	if byName.Header.Get("Tor-Request-Failed") != "end/RESOLVEFAILED" || byAddr.Header.Get("Tor-Request-Failed") != "end/NOROUTE" {
		t.Errorf("by name %q, by address %q", byName.Header.Get("Tor-Request-Failed"), byAddr.Header.Get("Tor-Request-Failed"))
	}
}

// Different values anywhere isolate; unset and empty are the same.
func TestHTTPAuth(t *testing.T) {
	seen := map[socks.Auth]string{}
	for _, head := range []string{
		"X-Other: a",
		"Tor-Stream-Isolation: q",
		"Tor-Stream-Isolation: r",
		"X-Tor-Stream-Isolation: q",
		"Tor-Stream-Isolation: q|X-Tor-Stream-Isolation: q",
		"Proxy-Authorization: Basic YTpi",         // a:b
		"Proxy-Authorization: Basic dG9yLWlzbzpi", // tor-iso:b
		"Proxy-Authorization: Bearer YTpi",
		"Proxy-Authorization: Basic !",
		"Proxy-Authorization: Basic YTpi|Tor-Stream-Isolation: q",
	} {
		h := http.Header{}
		for _, line := range strings.Split(head, "|") {
			name, value, _ := strings.Cut(line, ": ")
			h.Add(name, value)
		}
		a := httpAuth(h)
		if other, ok := seen[a]; ok {
			t.Errorf("%q and %q share a circuit", head, other)
		}
		seen[a] = head
	}
	if a := httpAuth(http.Header{"Tor-Stream-Isolation": {""}}); a != (socks.Auth{}) {
		t.Errorf("an empty header isolates: %#v", a)
	}
	a := httpAuth(http.Header{"Proxy-Authorization": {"basic YTpiOmM="}})
	if a.Method != socks.UserPass || a.User != "a" || a.Password != "b:c" {
		t.Errorf("Basic: %q %q", a.User, a.Password)
	}
}
