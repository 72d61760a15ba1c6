package socks

import (
	"net/netip"
	"strings"
	"testing"
)

var (
	ip4 = netip.MustParseAddr("192.0.2.1")
	ip6 = netip.MustParseAddr("2001:db8::1")
)

func TestMethods(t *testing.T) {
	methodsCodec.good(t, []good{
		{"RFC1928-s3/one-method", "05 01 00", "\x00", []int{2, 3}, ""},
		{"RFC1928-s3/two-methods", "05 02 00 02", "\x00\x02", []int{2, 4}, ""},
		{"RFC1928-s3/zero-methods", "05 00", "", []int{2}, ""},
		{"RFC1928-s3/255-methods", "05 ff 80*255", strings.Repeat("\x80", 255), []int{2, 257}, ""},
	})
	methodsCodec.bad(t, []bad{
		{"RFC1928-s3/version-4", "04", GeneralFailure, ""},
		{"RFC1928-s3/version-0", "00", GeneralFailure, ""},
		{"RFC1928-s3/version-6", "06", GeneralFailure, ""},
	})
}

func TestMethodsPastLongest(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("256 methods did not panic")
		}
	}()
	AppendMethods(nil, make([]Method, 256)...)
}

func TestMethod(t *testing.T) {
	methodCodec.good(t, []good{
		{"RFC1928-s3/none-needed", "05 00", NoAuth, []int{2}, ""},
		{"RFC1928-s3/password", "05 02", UserPass, []int{2}, ""},
		{"RFC1928-s3/none-acceptable", "05 ff", NoAcceptable, []int{2}, ""},
		{"RFC1928-s3/unknown-method", "05 97", Method(0x97), []int{2}, ""},
	})
	methodCodec.bad(t, []bad{
		{"RFC1928-s3/version-4", "04", GeneralFailure, nil},
		{"RFC1928-s3/http-answer", `"H"`, GeneralFailure, nil},
	})
}

func TestRequest5(t *testing.T) {
	long := strings.Repeat("a", 255)
	request := func(c Command, a Addr) Request { return asLiteral(Request{Version: V5, Command: c, Addr: a}) }
	request5Codec.good(t, []good{
		{"RFC1928-s4/connect-ipv4", "05 01 00 01 c0 00 02 01 00 50", request(Connect, Addr{IP: ip4, Port: 80}), []int{4, 10}, ""},
		{"RFC1928-s4/connect-ipv6", "05 01 00 04 20 01 0d b8 00*11 01 01 bb", request(Connect, Addr{IP: ip6, Port: 443}), []int{4, 22}, ""},
		{"RFC1928-s4/connect-name", `05 01 00 03 0b "www.example" 01 bb`, request(Connect, Addr{Name: "www.example", Port: 443}), []int{4, 5, 18}, ""},
		{"RFC1928-s4/bind", "05 02 00 01 c0 00 02 01 00 50", request(Bind, Addr{IP: ip4, Port: 80}), []int{4, 10}, ""},
		{"RFC1928-s4/udp-associate", "05 03 00 01 00*6", request(Associate, Addr{IP: netip.IPv4Unspecified()}), []int{4, 10}, ""},
		{"RFC1928-s4/port-0", "05 01 00 01 c0 00 02 01 00 00", request(Connect, Addr{IP: ip4}), []int{4, 10}, ""},
		{"RFC1928-s4/port-65535", "05 01 00 01 c0 00 02 01 ff ff", request(Connect, Addr{IP: ip4, Port: 65535}), []int{4, 10}, ""},
		{"RFC1928-s4/port-in-network-order", "05 01 00 01 c0 00 02 01 01 02", request(Connect, Addr{IP: ip4, Port: 0x0102}), []int{4, 10}, ""},
		{"RFC1928-s5/name-of-1-byte", `05 01 00 03 01 "a" 00 50`, request(Connect, Addr{Name: "a", Port: 80}), []int{4, 5, 8}, ""},
		{"RFC1928-s5/name-of-255-bytes", `05 01 00 03 ff "a"*255 00 50`, request(Connect, Addr{Name: long, Port: 80}), []int{4, 5, 262}, ""},
		{"RFC1928-s5/case-is-kept", `05 01 00 03 0b "wWw.ExAmPlE" 00 50`, request(Connect, Addr{Name: "wWw.ExAmPlE", Port: 80}), []int{4, 5, 18}, ""},
		{"RFC1928-s5/mapped-ipv6", "05 01 00 04 00*10 ff ff 7f 00 00 01 00 50", request(Connect, Addr{IP: netip.MustParseAddr("::ffff:127.0.0.1"), Port: 80}), []int{4, 22}, ""},
		{"RFC1928-s5/name-is-ipv4", `05 01 00 03 09 "192.0.2.1" 00 50`, asName(request(Connect, Addr{IP: ip4, Port: 80})), []int{4, 5, 16}, "05 01 00 01 c0 00 02 01 00 50"},
		{"RFC1928-s5/name-is-ipv6", `05 01 00 03 0b "2001:db8::1" 00 50`, asName(request(Connect, Addr{IP: ip6, Port: 80})), []int{4, 5, 18}, "05 01 00 04 20 01 0d b8 00*11 01 00 50"},
		{"RFC1928-s5/name-is-ipv6-in-brackets", `05 01 00 03 05 "[::1]" 00 50`, asName(request(Connect, Addr{IP: netip.IPv6Loopback(), Port: 80})), []int{4, 5, 12}, "05 01 00 04 00*15 01 00 50"},
		{"tor-s2/resolve-name", `05 f0 00 03 0b "www.example" 00 00`, request(Resolve, Addr{Name: "www.example"}), []int{4, 5, 18}, ""},
		{"tor-s2/resolve-ptr", "05 f1 00 01 c0 00 02 01 00 00", request(ResolvePTR, Addr{IP: ip4}), []int{4, 10}, ""},
	})
}

func TestRequest5Bad(t *testing.T) {
	request := func(c Command, port uint16) Request {
		return Request{Version: V5, Command: c, Addr: Addr{Port: port}}
	}
	request5Codec.bad(t, []bad{
		{"RFC1928-s4/version-4", "04", GeneralFailure, request(0, 0)},
		{"RFC1928-s4/version-1", "01", GeneralFailure, request(0, 0)},
		{"RFC1928-s4/version-6", "06", GeneralFailure, request(0, 0)},
		{"RFC1928-s4/reserved-1", "05 01 01 01", GeneralFailure, request(Connect, 0)},
		{"RFC1928-s4/reserved-ff", "05 01 ff 03", GeneralFailure, request(Connect, 0)},
		{"RFC1928-s4/atyp-0", "05 01 00 00", AddressTypeNotSupported, request(Connect, 0)},
		{"RFC1928-s4/atyp-2", "05 01 00 02", AddressTypeNotSupported, request(Connect, 0)},
		{"RFC1928-s4/atyp-5", "05 01 00 05", AddressTypeNotSupported, request(Connect, 0)},
		{"RFC1928-s4/atyp-8", "05 01 00 08", AddressTypeNotSupported, request(Connect, 0)},
		{"RFC1928-s4/atyp-ff", "05 01 00 ff", AddressTypeNotSupported, request(Connect, 0)},
		{"RFC1928-s4/command-0", "05 00 00 01 c0 00 02 01 00 50", CommandNotSupported, request(0, 0)},
		{"RFC1928-s4/command-4", "05 04 00 01 c0 00 02 01 00 50", CommandNotSupported, request(4, 0)},
		{"RFC1928-s4/command-7", `05 07 00 03 01 "a" 00 50`, CommandNotSupported, request(7, 0)},
		{"tor-s2/command-ef", "05 ef 00 01 c0 00 02 01 00 50", CommandNotSupported, request(0xEF, 0)},
		{"tor-s2/command-f2", "05 f2 00 04 00*16 00 50", CommandNotSupported, request(0xF2, 0)},
		{"RFC1928-s4/command-ff", "05 ff 00 01 c0 00 02 01 00 50", CommandNotSupported, request(0xFF, 0)},
		{"RFC1928-s4/command-and-atyp-unknown", "05 04 00 08", CommandNotSupported, request(4, 0)},
		{"RFC1928-s4/command-and-reserved-wrong", "05 04 01 01", GeneralFailure, request(4, 0)},
		{"RFC1928-s4/atyp-3-empty-name", "05 01 00 03 00 00 50", GeneralFailure, request(Connect, 80)},
		{"RFC1928-s4/atyp-3-nul-name", "05 01 00 03 01 00 00 50", GeneralFailure, request(Connect, 80)},
		{"RFC1928-s4/atyp-3-nul-inside", `05 01 00 03 10 "www.example\x00evil" 00 50`, GeneralFailure, request(Connect, 80)},
		{"RFC1928-s4/atyp-3-space", `05 01 00 03 03 "a b" 00 50`, GeneralFailure, request(Connect, 80)},
	})
	request5Codec.badValues(t, []badValue{
		{"RFC1928-s4/no-address", Request{Command: Connect}, GeneralFailure},
		{"RFC1928-s5/name-of-256-bytes", Request{Command: Connect, Addr: Addr{Name: strings.Repeat("a", 256), Port: 80}}, GeneralFailure},
		{"RFC1928-s5/name-with-nul", Request{Command: Connect, Addr: Addr{Name: "www.example\x00evil", Port: 80}}, GeneralFailure},
	})
}

func TestReply5(t *testing.T) {
	long := strings.Repeat("a", 255)
	reply5Codec.good(t, []good{
		{"RFC1928-s6/succeeded-ipv4", "05 00 00 01 c0 00 02 01 04 38", reply{Succeeded, Addr{IP: ip4, Port: 1080}}, []int{5, 10}, ""},
		{"RFC1928-s6/succeeded-ipv6", "05 00 00 04 20 01 0d b8 00*11 01 04 38", reply{Succeeded, Addr{IP: ip6, Port: 1080}}, []int{5, 22}, ""},
		{"RFC1928-s6/zeros-ipv6", "05 00 00 04 00*16 00 00", reply{Succeeded, Addr{IP: netip.IPv6Unspecified()}}, []int{5, 22}, ""},
		{"RFC1928-s6/succeeded-name", `05 00 00 03 0b "www.example" 00 00`, reply{Succeeded, Addr{Name: "www.example"}}, []int{5, 18}, ""},
		{"RFC1928-s6/name-is-not-judged", `05 00 00 03 03 "a\x00 " 00 00`, reply{Succeeded, Addr{Name: "a\x00 "}}, []int{5, 10}, ""},
		{"RFC1928-s6/name-of-255-bytes", `05 00 00 03 ff "a"*255 00 01`, reply{Succeeded, Addr{Name: long, Port: 1}}, []int{5, 262}, ""},
		{"RFC1928-s6/name-of-0-bytes", "05 00 00 03 00 00 01", reply{Succeeded, Addr{Port: 1}}, []int{5, 7}, "05 00 00 01 00 00 00 00 00 01"},
		{"RFC1928-s6/reserved-is-not-judged", "05 00 aa 01 c0 00 02 01 04 38", reply{Succeeded, Addr{IP: ip4, Port: 1080}}, []int{5, 10}, "05 00 00 01 c0 00 02 01 04 38"},
		{"RFC1928-s6/refused", "05 05 00 01 00*6", reply{ConnectionRefused, Addr{IP: netip.IPv4Unspecified()}}, []int{5, 10}, ""},
		{"RFC1928-s6/unknown-status", "05 99 00 01 00*6", reply{Status(0x99), Addr{IP: netip.IPv4Unspecified()}}, []int{5, 10}, ""},
		{"tor-p304/no-descriptor", "05 f0 00 01 00*6", reply{OnionNotFound, Addr{IP: netip.IPv4Unspecified()}}, []int{5, 10}, ""},
		{"tor-s2/failed-resolve-with-atyp-0", "05 04 00 00 00*6", reply{HostUnreachable, Addr{}}, []int{5, 10}, "05 04 00 01 00*6"},
	})
	reply5Codec.bad(t, []bad{
		{"RFC1928-s6/version-4", "04", GeneralFailure, nil},
		{"RFC1928-s6/version-0", "00", GeneralFailure, nil},
		// Not 08: it would be taken for the proxy's word about the request.
		{"RFC1928-s6/succeeded-with-atyp-0", "05 00 00 00 00", GeneralFailure, nil},
		{"RFC1928-s6/atyp-2", "05 00 00 02 00", GeneralFailure, nil},
		{"RFC1928-s6/atyp-5", "05 05 00 05 00", GeneralFailure, nil},
		{"RFC1928-s6/atyp-ff", "05 07 00 ff 00", GeneralFailure, nil},
	})
	for name, bound := range map[string]Addr{
		"name-of-256-bytes": {Name: strings.Repeat("a", 256), Port: 80},
		"none":              {Port: 80},
	} {
		got := AppendReply5(nil, Succeeded, bound)
		if want := "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x50"; string(got) != want {
			t.Errorf("RFC1928-s6/bound-%s: got % x", name, got)
		}
	}
}
