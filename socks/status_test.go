package socks

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func isFormat(err error, s Status) bool {
	format := (*FormatError)(nil)
	return errors.As(err, &format) && format.Status == s && errors.Is(err, s)
}

func TestStatus(t *testing.T) {
	for _, test := range []struct {
		status      Status
		text        string
		ordinary    Status
		extended    bool
		unsupported bool
	}{
		{0x00, "succeeded", 0x00, false, false},
		{0x01, "general failure", 0x01, false, false},
		{0x02, "not allowed by ruleset", 0x02, false, false},
		{0x03, "network unreachable", 0x03, false, false},
		{0x04, "host unreachable", 0x04, false, false},
		{0x05, "connection refused", 0x05, false, false},
		{0x06, "timed out", 0x06, false, false},
		{0x07, "command not supported", 0x07, false, true},
		{0x08, "address type not supported", 0x08, false, true},
		{0x09, "status 0x09", 0x09, false, false},
		{0xEF, "status 0xef", 0xEF, false, false},
		{0xF0, "onion service not found", 0x04, true, false},
		{0xF1, "onion service descriptor is invalid", 0x04, true, false},
		{0xF2, "onion service introduction failed", 0x04, true, false},
		{0xF3, "onion service rendezvous failed", 0x04, true, false},
		{0xF4, "onion service wants client authorization", 0x04, true, false},
		{0xF5, "onion service refused the client authorization", 0x04, true, false},
		{0xF6, "onion address is invalid", 0x01, true, false},
		{0xF7, "onion service introduction timed out", 0x04, true, false},
		{0xF8, "status 0xf8", 0xF8, false, false},
	} {
		s := test.status
		if s.Error() != test.text || s.String() != test.text {
			t.Errorf("%#x: %q, %q, want %q", byte(s), s.Error(), s.String(), test.text)
		}
		if s.Ordinary() != test.ordinary || s.Extended() != test.extended {
			t.Errorf("%v: ordinary %v, extended %v", s, s.Ordinary(), s.Extended())
		}
		if known := !strings.HasPrefix(test.text, "status "); s.Known() != known {
			t.Errorf("%v: known %v", s, !known)
		}
		wrapped := fmt.Errorf("dial: %w", s)
		if errors.Is(wrapped, errors.ErrUnsupported) != test.unsupported {
			t.Errorf("%v: Is(ErrUnsupported) is %v", s, !test.unsupported)
		}
		if !errors.Is(wrapped, s) || errors.Is(wrapped, s+1) {
			t.Errorf("%v: does not match itself alone", s)
		}
	}
}

func TestStatusConstants(t *testing.T) {
	for i, s := range []Status{
		Succeeded, GeneralFailure, NotAllowed, NetworkUnreachable, HostUnreachable,
		ConnectionRefused, TTLExpired, CommandNotSupported, AddressTypeNotSupported,
	} {
		if int(s) != i {
			t.Errorf("RFC1928-s6: %v is %#x, want %#x", s, byte(s), i)
		}
	}
	for i, s := range []Status{
		OnionNotFound, OnionInvalid, OnionIntroFailed, OnionRendezvousFailed,
		OnionAuthMissing, OnionAuthWrong, OnionBadAddress, OnionIntroTimedOut,
	} {
		if int(s) != 0xF0+i {
			t.Errorf("tor-p304: %v is %#x, want %#x", s, byte(s), 0xF0+i)
		}
	}
}

func TestWords(t *testing.T) {
	for got, want := range map[fmt.Stringer]string{
		HTTP: "HTTP", V4: "SOCKS4", V5: "SOCKS5", Version(6): "version 0x06",
		Connect: "CONNECT", Bind: "BIND", Associate: "UDP ASSOCIATE",
		Resolve: "RESOLVE", ResolvePTR: "RESOLVE_PTR", Command(7): "command 0x07",
	} {
		if got.String() != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestFormatError(t *testing.T) {
	err := error(&FormatError{AddressTypeNotSupported, "this is wrong"})
	if err.Error() != "socks: this is wrong" || !errors.Is(err, AddressTypeNotSupported) || !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%v: %v", err, errors.Unwrap(err))
	}
}

// TestAppendReply has every version and status, with an address that counts and with
// one that does not.
func TestAppendReply(t *testing.T) {
	const zeros = "\x00\x00\x00\x00\x00\x00"
	bound := Addr{IP: ip4, Port: 1080}
	for i := range 256 {
		s := Status(i)
		four := "before\x00\x5b" + zeros
		five := "before\x05" + string([]byte{byte(i)}) + "\x00\x01" + zeros
		if s == Succeeded {
			four = "before\x00\x5a\x04\x38\xc0\x00\x02\x01"
			five = "before\x05\x00\x00\x01\xc0\x00\x02\x01\x04\x38"
		}
		for version, want := range map[Version]string{V4: four, V5: five, HTTP: "before", 0: "before"} {
			r := Request{Version: version}
			if got := r.AppendReply([]byte("before"), s, bound); string(got) != want {
				t.Errorf("%v, status %#x: got % x\nwant % x", version, i, got, want)
			}
		}
	}
}

func TestAppendReplyBound(t *testing.T) {
	mapped := netip.AddrFrom16(ip4.As16())
	const zeros = "\x00\x00\x00\x00\x00\x00"
	for _, test := range []struct {
		clause  string
		version Version
		bound   Addr
		want    string
	}{
		{"SOCKS4/no-address", V4, Addr{}, "\x00\x5a" + zeros},
		{"SOCKS4/mapped", V4, Addr{IP: mapped, Port: 258}, "\x00\x5a\x01\x02\xc0\x00\x02\x01"},
		{"SOCKS4/no-room-for-ipv6", V4, Addr{IP: ip6, Port: 80}, "\x00\x5a" + zeros},
		{"SOCKS4/no-room-for-a-name", V4, Addr{Name: "a", Port: 80}, "\x00\x5a" + zeros},
		{"RFC1928-s6/no-address", V5, Addr{}, "\x05\x00\x00\x01" + zeros},
		{"RFC1928-s6/mapped", V5, Addr{IP: mapped, Port: 258}, "\x05\x00\x00\x01\xc0\x00\x02\x01\x01\x02"},
		{"RFC1928-s6/ipv6", V5, Addr{IP: ip6, Port: 258}, "\x05\x00\x00\x04\x20\x01\x0d\xb8" + zeros + "\x00\x00\x00\x00\x00\x01\x01\x02"},
		{"RFC1928-s6/name", V5, Addr{Name: "a.b"}, "\x05\x00\x00\x03\x03a.b\x00\x00"},
		{"RFC1928-s6/name-of-255-bytes", V5, Addr{Name: strings.Repeat("n", 255)}, "\x05\x00\x00\x03\xff" + strings.Repeat("n", 255) + "\x00\x00"},
		{"RFC1928-s6/name-of-256-bytes", V5, Addr{Name: strings.Repeat("n", 256)}, "\x05\x00\x00\x01" + zeros},
	} {
		r := Request{Version: test.version}
		if got := r.AppendReply(nil, Succeeded, test.bound); string(got) != test.want {
			t.Errorf("%s: got % x\nwant % x", test.clause, got, test.want)
		}
	}
}
