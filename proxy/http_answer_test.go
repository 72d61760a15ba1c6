package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"hosier/socks"
)

// Clients show the reason phrase, or the body: each names what failed, and no two causes
// share one.
func TestHTTPAnswers(t *testing.T) {
	dial := func(err error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", err)}
	}
	onion := strings.Repeat("a", 56) + ".onion"
	for _, tt := range []struct {
		name, host string
		err        error
		code       int
		phrase     string
		reason     string // without socks/XX
	}{
		{"no such name", "a.test", &net.DNSError{IsNotFound: true}, 503, "Name not found", "end/RESOLVEFAILED"},
		{"no address of the family", "a.test", &net.OpError{Op: "dial", Err: &net.AddrError{Err: "no suitable address found"}}, 503, "Name not found", "end/RESOLVEFAILED"},
		{"DNS server fails", "a.test", &net.DNSError{IsTemporary: true}, 503, "Name lookup failed", "end/RESOLVEFAILED"},
		{"DNS server is silent", "a.test", &net.DNSError{IsTimeout: true}, 504, "Target timed out", "end/TIMEOUT"},
		{"upstream says 04", "a.test", fmt.Errorf("connect: %w", socks.HostUnreachable), 503, "Name not found or host unreachable", "end/RESOLVEFAILED"},
		{"host down by name", "a.test", dial(syscall.EHOSTUNREACH), 503, "Target unreachable", "end/RESOLVEFAILED"},
		{"host down by address", "192.0.2.1", dial(syscall.EHOSTUNREACH), 503, "Target unreachable", "end/NOROUTE"},
		{"no network", "a.test", dial(syscall.ENETUNREACH), 503, "Network of the target unreachable", "end/NOROUTE"},
		{"refused by the target", "a.test", dial(syscall.ECONNREFUSED), 403, "Connection refused by the target", "end/CONNECTREFUSED"},
		{"refused by rule", "a.test", fmt.Errorf("rule 3: %w", socks.NotAllowed), 403, "Refused by rule", "end/EXITPOLICY"},
		{"timed out", "a.test", context.DeadlineExceeded, 504, "Target timed out", "end/TIMEOUT"},
		{"onion without Tor", onion, socks.HostUnreachable, 503, "Onion service not found", "end/RESOLVEFAILED"},
		{"onion service", onion, socks.OnionNotFound, 503, "Onion service not found", "end/RESOLVEFAILED"},
		{"malformed onion", "a.onion", fmt.Errorf("a.onion: %w", socks.OnionBadAddress), 400, "Malformed onion address", "end/TORPROTOCOL"},
		{"command", "a.test", errors.ErrUnsupported, 501, "Not supported by the egress", "end/TORPROTOCOL"},
		{"upstream is down", "a.test", &socks.ProxyError{Proxy: "p", Err: dial(syscall.ECONNREFUSED)}, 502, "Upstream proxy failed", "end/INTERNAL"},
		{"full", "a.test", ErrFull, 503, "Too many connections to this proxy", "end/RESOURCELIMIT"},
		{"limit", "a.test", ErrLimit, 429, "Too Many Requests", "end/RESOURCELIMIT"},
		{"anything else", "a.test", errors.New("odd"), 500, "Connection to the target failed", "end/MISC"},
	} {
		for _, p := range []*Policy{{}, {ExtendedErrors: true}} {
			t.Run(fmt.Sprintf("%s/extended=%v", tt.name, p.ExtendedErrors), func(t *testing.T) {
				addr, err := socks.ParseAddr(tt.host + ":443")
				if err != nil {
					t.Fatal(err)
				}
				r := &socks.Request{Version: socks.HTTP, Command: socks.Connect, Addr: addr}
				resp := parseAnswer(t, p.appendHTTPReply(nil, r, p.statusFor(r, tt.err), tt.err))
				reason, _, _ := strings.Cut(resp.Header.Get("Tor-Request-Failed"), " ")
				if want := fmt.Sprintf("%d %s", tt.code, tt.phrase); resp.Status != want || reason != tt.reason {
					t.Errorf("%q with %q, want %q with %q", resp.Status, reason, want, tt.reason)
				}
				text := make([]byte, resp.ContentLength)
				if resp.Body.Read(text); len(text) < len("hosier: ")+10 || strings.Contains(string(text), "a.test") {
					t.Errorf("the body is %q", text)
				}
				checkCapabilities(t, p, resp.Header)
			})
		}
	}
}

// Tor-Capabilities is for servers that stand for Tor.
func checkCapabilities(t *testing.T, p *Policy, h http.Header) {
	t.Helper()
	if _, has := h["Tor-Capabilities"]; has != p.ExtendedErrors {
		t.Errorf("Tor-Capabilities: %v, extended errors: %v", has, p.ExtendedErrors)
	}
}

func TestCapabilitiesOfGrant(t *testing.T) {
	for _, p := range []*Policy{{}, {ExtendedErrors: true}} {
		resp := parseAnswer(t, p.appendHTTPReply(nil, &socks.Request{Version: socks.HTTP}, socks.Succeeded, nil))
		checkCapabilities(t, p, resp.Header)
	}
}
