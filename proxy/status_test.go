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

// Each row is a failure as an egress reports it, and what SOCKS5, SOCKS4 and HTTP are
// told. SOCKS4 has one code for all of them.
func TestStatus(t *testing.T) {
	dial := func(err error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", err)}
	}
	for _, c := range []struct {
		name   string
		err    error
		socks5 socks.Status
		http   int
		reason string
	}{
		{"success", nil, socks.Succeeded, 200, ""},
		{"refused", dial(syscall.ECONNREFUSED), socks.ConnectionRefused, 403, "end/CONNECTREFUSED"},
		{"reset", dial(syscall.ECONNRESET), socks.ConnectionRefused, 403, "end/CONNECTREFUSED"},
		{"no route to the network", dial(syscall.ENETUNREACH), socks.NetworkUnreachable, 503, "end/NOROUTE"},
		{"network is down", dial(syscall.ENETDOWN), socks.NetworkUnreachable, 503, "end/NOROUTE"},
		{"no IPv6 here", dial(syscall.EAFNOSUPPORT), socks.NetworkUnreachable, 503, "end/NOROUTE"},
		{"no route to the host", dial(syscall.EHOSTUNREACH), socks.HostUnreachable, 503, "end/RESOLVEFAILED"},
		{"host is down", dial(syscall.EHOSTDOWN), socks.HostUnreachable, 503, "end/RESOLVEFAILED"},
		{"kernel timed out", dial(syscall.ETIMEDOUT), socks.TTLExpired, 504, "end/TIMEOUT"},
		{"packet filter", dial(syscall.EPERM), socks.NotAllowed, 403, "end/EXITPOLICY"},
		{"out of descriptors", dial(syscall.EMFILE), socks.GeneralFailure, 500, "end/MISC"},
		{"out of ports", dial(syscall.EADDRNOTAVAIL), socks.GeneralFailure, 500, "end/MISC"},
		{"no such name", &net.DNSError{Err: "no such host", IsNotFound: true}, socks.HostUnreachable, 503, "end/RESOLVEFAILED"},
		{"DNS server failed", &net.DNSError{Err: "server misbehaving", IsTemporary: true}, socks.HostUnreachable, 503, "end/RESOLVEFAILED"},
		{"DNS timed out", &net.DNSError{Err: "i/o timeout", IsTimeout: true}, socks.TTLExpired, 504, "end/TIMEOUT"},
		{"no descriptor to ask DNS with", &net.DNSError{Err: "too many open files", UnwrapErr: dial(syscall.EMFILE)}, socks.GeneralFailure, 500, "end/MISC"},
		{"no address of this family", &net.OpError{Op: "dial", Err: &net.AddrError{Err: "no suitable address found"}}, socks.HostUnreachable, 503, "end/RESOLVEFAILED"},
		{"deadline", fmt.Errorf("dial: %w", context.DeadlineExceeded), socks.TTLExpired, 504, "end/TIMEOUT"},
		{"i/o timeout", os.ErrDeadlineExceeded, socks.TTLExpired, 504, "end/TIMEOUT"},
		{"cancelled", context.Canceled, socks.GeneralFailure, 500, "end/MISC"},
		{"rule", fmt.Errorf("rule 3: %w", socks.NotAllowed), socks.NotAllowed, 403, "end/EXITPOLICY"},
		{"unsupported", errors.ErrUnsupported, socks.CommandNotSupported, 501, "end/TORPROTOCOL"},
		{"address type", socks.AddressTypeNotSupported, socks.AddressTypeNotSupported, 501, "end/TORPROTOCOL"},
		{"status, wrapped", fmt.Errorf("by way of a: %w", socks.TTLExpired), socks.TTLExpired, 504, "end/TIMEOUT"},
		{"success is no error", socks.Succeeded, socks.GeneralFailure, 500, "end/MISC"},
		{"proxy refuses us", &socks.ProxyError{Proxy: "a", Err: dial(syscall.ECONNREFUSED)}, socks.GeneralFailure, 502, "end/INTERNAL"},
		{"proxy times out", &socks.ProxyError{Proxy: "a", Err: context.DeadlineExceeded}, socks.GeneralFailure, 502, "end/INTERNAL"},
		{"proxy's name is unknown", &socks.ProxyError{Proxy: "a", Err: &net.DNSError{IsNotFound: true}}, socks.GeneralFailure, 502, "end/INTERNAL"},
		{"proxy speaks nonsense", &socks.ProxyError{Proxy: "a", Err: &socks.FormatError{Status: socks.AddressTypeNotSupported}}, socks.GeneralFailure, 502, "end/INTERNAL"},
		{"code of no protocol, 09", fmt.Errorf("by way of a: %w", socks.Status(0x09)), socks.GeneralFailure, 502, "end/INTERNAL"},
		{"code of no protocol, EF", fmt.Errorf("by way of a: %w", socks.Status(0xEF)), socks.GeneralFailure, 502, "end/INTERNAL"},
		{"code of no protocol, F8", fmt.Errorf("by way of a: %w", socks.Status(0xF8)), socks.GeneralFailure, 502, "end/INTERNAL"},
		{"code of no protocol, FF", fmt.Errorf("by way of a: %w", socks.Status(0xFF)), socks.GeneralFailure, 502, "end/INTERNAL"},
		{"server is full", fmt.Errorf("%w: more than 2", ErrFull), socks.GeneralFailure, 503, "end/RESOURCELIMIT"},
		{"client has had its share", fmt.Errorf("%w: more than 2", ErrLimit), socks.NotAllowed, 429, "end/RESOURCELIMIT"},
		{"anything else", errors.New("odd"), socks.GeneralFailure, 500, "end/MISC"},
		{"onion not found", socks.OnionNotFound, socks.HostUnreachable, 503, "end/RESOLVEFAILED"},
		{"onion address", socks.OnionBadAddress, socks.GeneralFailure, 400, "end/TORPROTOCOL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &Policy{}
			r := &socks.Request{Version: socks.V5, Command: socks.Connect, Addr: socks.Addr{Name: "a.test", Port: 80}}
			if got := p.statusFor(r, c.err); got != c.socks5 {
				t.Errorf("SOCKS5: %v, want %v", got, c.socks5)
			}
			checkWords(t, r, p.statusFor(r, c.err), c.err, c.http, c.reason)
		})
	}
}

func checkWords(t *testing.T, r *socks.Request, status socks.Status, err error, code int, reason string) {
	t.Helper()
	four, http := *r, *r
	four.Version, http.Version = socks.V4, socks.HTTP
	want := byte(0x5B)
	if status == socks.Succeeded {
		want = 0x5A
	}
	if b := new(Policy).appendReply(nil, &four, status, socks.Addr{}, err); len(b) != 8 || b[1] != want {
		t.Errorf("SOCKS4: % x, want code %x", b, want)
	}
	resp := parseAnswer(t, new(Policy).appendReply(nil, &http, status, socks.Addr{}, err))
	if resp.StatusCode != code || resp.Header.Get("Tor-Request-Failed") != reason {
		t.Errorf("HTTP: %d %q, want %d %q", resp.StatusCode, resp.Header.Get("Tor-Request-Failed"), code, reason)
	}
}

// Extended codes are for SOCKS5 clients of a server that has them, and for CONNECT.
func TestStatusExtended(t *testing.T) {
	for _, c := range []struct {
		extended bool
		command  socks.Command
		err      error
		want     socks.Status
	}{
		{false, socks.Connect, socks.OnionNotFound, socks.HostUnreachable},
		{true, socks.Connect, socks.OnionNotFound, socks.OnionNotFound},
		{true, socks.Resolve, socks.OnionNotFound, socks.HostUnreachable},
		{false, socks.Connect, socks.OnionBadAddress, socks.GeneralFailure},
		{true, socks.Connect, socks.OnionBadAddress, socks.OnionBadAddress},
		{true, socks.Connect, socks.Status(0x55), socks.GeneralFailure},
		{true, socks.Resolve, socks.Status(0x55), socks.GeneralFailure},
		{true, socks.Resolve, context.DeadlineExceeded, socks.HostUnreachable},
		{true, socks.ResolvePTR, context.DeadlineExceeded, socks.HostUnreachable},
		{true, socks.Resolve, errors.ErrUnsupported, socks.CommandNotSupported},
		{true, socks.Resolve, socks.NotAllowed, socks.NotAllowed},
	} {
		p := &Policy{ExtendedErrors: c.extended}
		if got := p.statusFor(&socks.Request{Command: c.command}, c.err); got != c.want {
			t.Errorf("extended %v, %v, %v: %v, want %v", c.extended, c.command, c.err, got, c.want)
		}
	}
	answer := parseAnswer(t, new(Policy).appendReply(nil, &socks.Request{Version: socks.HTTP}, socks.OnionNotFound, socks.Addr{}, socks.OnionNotFound))
	if got := answer.Header.Get("Tor-Request-Failed"); got != "end/RESOLVEFAILED socks/F0" {
		t.Errorf("HTTP reason %q", got)
	}
}

// Whatever code comes, an HTTP client gets a status line that HTTP knows.
func TestStatusEveryCodeInHTTP(t *testing.T) {
	for code := 1; code <= 0xFF; code++ {
		resp := parseAnswer(t, new(Policy).appendReply(nil, &socks.Request{Version: socks.HTTP}, socks.Status(code), socks.Addr{}, nil))
		if resp.StatusCode < 400 || resp.StatusCode > 599 || http.StatusText(resp.StatusCode) == "" ||
			!strings.HasPrefix(resp.Header.Get("Tor-Request-Failed"), "end/") {
			t.Errorf("%02X: %d, %q", code, resp.StatusCode, resp.Header.Get("Tor-Request-Failed"))
		}
	}
}
