package socks

import (
	"net/netip"
	"strings"
	"testing"
)

func TestRequest4(t *testing.T) {
	request := func(c Command, user string, a Addr) Request {
		return asLiteral(Request{Version: V4, Command: c, Addr: a, Auth: Auth{User: user}})
	}
	web := Addr{IP: ip4, Port: 80}
	request4Codec.good(t, []good{
		{"SOCKS4/connect", `04 01 00 50 c0 00 02 01 00`, request(Connect, "", web), []int{9}, ""},
		{"SOCKS4/user", `04 01 00 50 c0 00 02 01 "me" 00`, request(Connect, "me", web), []int{9, 10, 11}, ""},
		{"SOCKS4/user-any-bytes", `04 01 00 50 c0 00 02 01 01 ff 00`, request(Connect, "\x01\xff", web), []int{9, 10, 11}, ""},
		{"SOCKS4/bind", `04 02 00 50 c0 00 02 01 00`, request(Bind, "", web), []int{9}, ""},
		{"SOCKS4/port-in-network-order", `04 01 01 02 c0 00 02 01 00`, request(Connect, "", Addr{IP: ip4, Port: 0x0102}), []int{9}, ""},
		{"SOCKS4/port-0", `04 01 00 00 c0 00 02 01 00`, request(Connect, "", Addr{IP: ip4}), []int{9}, ""},
		{"SOCKS4/address-0.0.1.0", `04 01 00 50 00 00 01 00 00`, request(Connect, "", Addr{IP: netip.MustParseAddr("0.0.1.0"), Port: 80}), []int{9}, ""},
		{"SOCKS4/address-0.0.1.1", `04 01 00 50 00 00 01 01 00`, request(Connect, "", Addr{IP: netip.MustParseAddr("0.0.1.1"), Port: 80}), []int{9}, ""},
		{"SOCKS4/address-1.0.0.1", `04 01 00 50 01 00 00 01 00`, request(Connect, "", Addr{IP: netip.MustParseAddr("1.0.0.1"), Port: 80}), []int{9}, ""},
		{"SOCKS4/address-0.1.0.1", `04 01 00 50 00 01 00 01 00`, request(Connect, "", Addr{IP: netip.MustParseAddr("0.1.0.1"), Port: 80}), []int{9}, ""},
		{"SOCKS4/address-255.255.255.255", `04 01 00 50 ff ff ff ff 00`, request(Connect, "", Addr{IP: netip.MustParseAddr("255.255.255.255"), Port: 80}), []int{9}, ""},
		{"SOCKS4A/connect", `04 01 00 50 00 00 00 01 00 "a.b" 00`, request(Connect, "", Addr{Name: "a.b", Port: 80}), []int{9, 10, 11, 12, 13}, ""},
		{"SOCKS4A/user", `04 01 00 50 00 00 00 01 "me" 00 "a" 00`, request(Connect, "me", Addr{Name: "a", Port: 80}), []int{9, 10, 11, 12, 13}, ""},
		{"SOCKS4A/marker-0.0.0.255", `04 01 00 50 00 00 00 ff 00 "a" 00`, request(Connect, "", Addr{Name: "a", Port: 80}), []int{9, 10, 11}, `04 01 00 50 00 00 00 01 00 "a" 00`},
		{"SOCKS4A/name-is-ipv4", `04 01 00 50 00 00 00 01 00 "1.2.3.4" 00`, asName(request(Connect, "", Addr{IP: netip.MustParseAddr("1.2.3.4"), Port: 80})), []int{9, 10, 11, 12, 13, 14, 15, 16, 17}, `04 01 00 50 01 02 03 04 00`},
		{"tor-s2/resolve-name", `04 f0 00 00 00 00 00 01 00 "a" 00`, request(Resolve, "", Addr{Name: "a"}), []int{9, 10, 11}, ""},
		{"tor-s2/resolve-ipv4", `04 f0 00 00 c0 00 02 01 00`, request(Resolve, "", Addr{IP: ip4}), []int{9}, ""},
	})
}

// TestRequest4Longest is apart because the lengths asked for are too many for a table.
func TestRequest4Longest(t *testing.T) {
	user, name := strings.Repeat("u", 512), strings.Repeat("n", 255)
	for _, test := range []struct {
		clause, wire string
		want         Addr
	}{
		{"SOCKS4/user-of-512-bytes", `04 01 00 50 c0 00 02 01 "u"*512 00`, Addr{IP: ip4, Port: 80}},
		{"SOCKS4A/name-of-255-bytes", `04 01 00 50 00 00 00 01 "u"*512 00 "n"*255 00`, Addr{Name: name, Port: 80}},
	} {
		t.Run(test.clause, func(t *testing.T) {
			b := mustWire(t, test.wire)
			if len(b) > MaxMessage {
				t.Errorf("longest message has %d bytes, MaxMessage is %d", len(b), MaxMessage)
			}
			want := asLiteral(Request{Version: V4, Command: Connect, Auth: Auth{User: user}, Addr: test.want})
			request4Codec.whole(t, b, want)
			request4Codec.truncated(t, b)
			if got, err := AppendRequest4(nil, &want); err != nil || string(got) != string(b) {
				t.Errorf("Append: got % x, %v", got, err)
			}
		})
	}
}

func TestRequest4Bad(t *testing.T) {
	request := func(c Command, user string, a Addr) Request {
		return asLiteral(Request{Version: V4, Command: c, Addr: a, Auth: Auth{User: user}})
	}
	web := Addr{IP: ip4, Port: 80}
	request4Codec.bad(t, []bad{
		{"SOCKS4/version-5", "05", GeneralFailure, Request{Version: V4}},
		{"SOCKS4/version-0", "00", GeneralFailure, Request{Version: V4}},
		{"SOCKS4/address-0.0.0.0", "04 01 00 50 00 00 00 00 00", GeneralFailure, request(Connect, "", Addr{IP: netip.IPv4Unspecified(), Port: 80})},
		{"SOCKS4/command-0", "04 00 00 50 c0 00 02 01 00", CommandNotSupported, request(0, "", web)},
		{"SOCKS4/udp-associate", "04 03 00 50 c0 00 02 01 00", CommandNotSupported, request(Associate, "", web)},
		{"SOCKS4/command-ff", "04 ff 00 50 c0 00 02 01 00", CommandNotSupported, request(0xFF, "", web)},
		{"tor-s2/resolve-ptr", "04 f1 00 00 c0 00 02 01 00", CommandNotSupported, request(ResolvePTR, "", Addr{IP: ip4})},
		{"SOCKS4/user-of-513-bytes", `04 01 00 50 c0 00 02 01 "u"*513`, GeneralFailure, Request{Version: V4, Command: Connect}},
		{"SOCKS4A/empty-name", "04 01 00 50 00 00 00 01 00 00", GeneralFailure, request(Connect, "", Addr{})},
		{"SOCKS4A/empty-name-with-user", `04 01 00 50 00 00 00 01 "me" 00 00`, GeneralFailure, request(Connect, "me", Addr{})},
		{"SOCKS4A/bad-name", `04 01 00 50 00 00 00 01 00 "-a" 00`, GeneralFailure, request(Connect, "", Addr{})},
		{"SOCKS4A/name-is-0.0.0.0", `04 01 00 50 00 00 00 01 00 "0.0.0.0" 00`, GeneralFailure, asName(request(Connect, "", Addr{IP: netip.IPv4Unspecified(), Port: 80}))},
		{"SOCKS4A/name-of-256-bytes", `04 01 00 50 00 00 00 01 00 "n"*256`, GeneralFailure, request(Connect, "", Addr{Port: 80})},
	})
	request4Codec.badValues(t, []badValue{
		{"SOCKS4/ipv6", request(Connect, "", Addr{IP: ip6, Port: 80}), AddressTypeNotSupported},
		{"SOCKS4/no-address", request(Connect, "", Addr{Port: 80}), AddressTypeNotSupported},
		{"SOCKS4/marker-as-address", request(Connect, "", Addr{IP: netip.MustParseAddr("0.0.0.7"), Port: 80}), GeneralFailure},
		{"SOCKS4/address-0.0.0.0", request(Connect, "", Addr{IP: netip.IPv4Unspecified(), Port: 80}), GeneralFailure},
		{"SOCKS4/udp-associate", request(Associate, "", web), CommandNotSupported},
		{"SOCKS4/command-9", request(9, "", web), CommandNotSupported},
		{"tor-s2/resolve-ptr", request(ResolvePTR, "", web), CommandNotSupported},
		{"SOCKS4/user-with-nul", request(Connect, "a\x00b", web), GeneralFailure},
		{"SOCKS4/user-of-513-bytes", request(Connect, strings.Repeat("u", 513), web), GeneralFailure},
		{"SOCKS4A/name-with-nul", request(Connect, "", Addr{Name: "a\x00b", Port: 80}), GeneralFailure},
		{"SOCKS4A/name-of-256-bytes", request(Connect, "", Addr{Name: strings.Repeat("n", 256), Port: 80}), GeneralFailure},
	})
}

func TestRequest4Mapped(t *testing.T) {
	r := Request{Command: Connect, Addr: Addr{IP: netip.MustParseAddr("::ffff:192.0.2.1"), Port: 80}}
	got, err := AppendRequest4(nil, &r)
	if want := "\x04\x01\x00\x50\xc0\x00\x02\x01\x00"; err != nil || string(got) != want {
		t.Errorf("got % x, %v", got, err)
	}
}

func TestReply4(t *testing.T) {
	reply4Codec.good(t, []good{
		{"SOCKS4/granted", "00 5a 04 38 c0 00 02 01", reply{Succeeded, Addr{IP: ip4, Port: 1080}}, []int{8}, ""},
		{"SOCKS4/granted-zeros", "00 5a 00*6", reply{Succeeded, Addr{IP: netip.IPv4Unspecified()}}, []int{8}, ""},
		{"SOCKS4/rejected", "00 5b 00*6", reply{GeneralFailure, Addr{}}, []int{8}, ""},
		{"SOCKS4/rejected-with-address", "00 5b 04 38 c0 00 02 01", reply{GeneralFailure, Addr{}}, []int{8}, "00 5b 00*6"},
		{"SOCKS4/identd-unreachable", "00 5c 00*6", reply{GeneralFailure, Addr{}}, []int{8}, "00 5b 00*6"},
		{"SOCKS4/identd-differs", "00 5d 00*6", reply{GeneralFailure, Addr{}}, []int{8}, "00 5b 00*6"},
		{"SOCKS4/first-byte-4", "04 5a 04 38 c0 00 02 01", reply{Succeeded, Addr{IP: ip4, Port: 1080}}, []int{8}, "00 5a 04 38 c0 00 02 01"},
		{"SOCKS4/first-byte-4-rejected", "04 5b 00*6", reply{GeneralFailure, Addr{}}, []int{8}, "00 5b 00*6"},
		{"SOCKS4/code-0-is-a-failure", "00 00 00*6", reply{GeneralFailure, Addr{}}, []int{8}, "00 5b 00*6"},
	})
	reply4Codec.bad(t, []bad{
		{"SOCKS4/first-byte-1", "01", GeneralFailure, nil},
		{"SOCKS4/first-byte-5", "05", GeneralFailure, nil},
		{"SOCKS4/http-answer", `"H"`, GeneralFailure, nil},
	})
}
