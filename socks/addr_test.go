package socks

import (
	"net/netip"
	"strings"
	"testing"
)

// TestParseHost has the character rules row by row. An empty want is a refusal; a want
// in angle brackets is an address, any other a name.
func TestParseHost(t *testing.T) {
	label63, label64 := strings.Repeat("a", 63), strings.Repeat("a", 64)
	name255 := strings.Repeat("a.", 127) + "a"
	for _, test := range []struct{ clause, host, want string }{
		{"RFC1928-s5/empty", "", ""},
		{"RFC1928-s5/one-byte", "a", "a"},
		{"RFC1928-s5/255-bytes", name255, name255},
		{"RFC1928-s5/255-bytes-with-empty-label", name255[:254] + ".", ""},
		{"RFC1928-s5/255-bytes-with-final-dot", name255[:253] + "a.", name255[:253] + "a."},
		{"RFC1928-s5/256-bytes", name255 + "a", ""},
		{"RFC1928-s5/256-bytes-with-final-dot", name255 + ".", ""},
		{"names/case-is-kept", "WwW.ExAmPlE", "WwW.ExAmPlE"},
		{"names/digits", "123", "123"},
		{"names/all-characters", "abcdefghijklmnopqrstuvwxyz-_ABCDEFGHIJKLMNOPQRSTUVWXYZ.0123456789", "abcdefghijklmnopqrstuvwxyz-_ABCDEFGHIJKLMNOPQRSTUVWXYZ.0123456789"},
		{"names/label-of-63-bytes", label63 + ".example", label63 + ".example"},
		{"names/label-of-64-bytes", label64 + ".example", label64 + ".example"},
		{"names/final-dot", "www.example.", "www.example."},
		{"names/two-final-dots", "www.example..", ""},
		{"names/dot-alone", ".", ""},
		{"names/two-dots-alone", "..", ""},
		{"names/first-dot", ".example", ""},
		{"names/empty-label", "www..example", ""},
		{"names/first-hyphen", "-www.example", ""},
		{"names/first-hyphen-of-second-label", "www.-example", ""},
		{"names/hyphen-alone", "-", ""},
		{"names/first-underscore", "_dmarc.example", ""},
		{"names/first-underscore-of-second-label", "www._tcp.example", ""},
		{"names/last-hyphen", "www-.example-", "www-.example-"},
		{"names/last-underscore", "www_.example_", "www_.example_"},
		{"names/hyphens-and-underscores-inside", "a--b.c__d", "a--b.c__d"},
		{"names/nul-alone", "\x00", ""},
		{"names/nul-first", "\x00www.example", ""},
		{"names/nul-inside", "www.example\x00.evil", ""},
		{"names/nul-last", "www.example\x00", ""},
		{"names/control-byte", "www\x1b.example", ""},
		{"names/line-end", "www.example\r\n", ""},
		{"names/delete", "www\x7f.example", ""},
		{"names/space", "www example", ""},
		{"names/last-space", "www.example ", ""},
		{"names/latin-1", "b\xfccher.example", ""},
		{"names/utf-8", "bücher.example", ""},
		{"names/punycode", "xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"names/at", "user@www.example", ""},
		{"names/slash", "www.example/", ""},
		{"names/star", "*.example", ""},
		{"names/apostrophe", "www'.example", ""},
		{"names/quote", `www".example`, ""},
		{"names/plus", "www+.example", ""},
		{"names/comma", "www,example", ""},
		{"names/percent", "www%2eexample", ""},
		{"names/colon", "www.example:80", ""},
		{"names/brackets", "[www.example]", ""},
		{"names/before-digit-0", "a/b", ""},
		{"names/after-upper-z", "a[b", ""},
		{"names/before-upper-a", "a@b", ""},
		{"names/before-lower-a", "a`b", ""},
		{"names/after-lower-z", "a{b", ""},
		{"names/onion", "example.onion", "example.onion"},
		{"names/exit", "www.example.node.exit", "www.example.node.exit"},

		{"literals/ipv4", "192.0.2.1", "<192.0.2.1>"},
		{"literals/ipv4-of-nines", "9.9.9.9", "<9.9.9.9>"},
		{"literals/ipv4-zeros", "0.0.0.0", "<0.0.0.0>"},
		{"literals/ipv4-highest", "255.255.255.255", "<255.255.255.255>"},
		{"literals/ipv4-in-brackets", "[127.0.0.1]", ""},
		{"literals/ipv4-with-port", "127.0.0.1:80", ""},
		{"literals/ipv6", "2001:db8::1", "<2001:db8::1>"},
		{"literals/ipv6-upper-case", "2001:DB8::A", "<2001:db8::a>"},
		{"literals/ipv6-in-brackets", "[2001:db8::1]", "<2001:db8::1>"},
		{"literals/ipv6-loopback-in-brackets", "[::1]", "<::1>"},
		{"literals/ipv6-any", "::", "<::>"},
		{"literals/ipv6-begins-with-colon", "::1", "<::1>"},
		{"literals/ipv6-begins-with-letter", "fe80::1", "<fe80::1>"},
		{"literals/ipv6-mapped", "::ffff:127.0.0.1", "<::ffff:127.0.0.1>"},
		{"literals/ipv6-mapped-in-brackets", "[::ffff:127.0.0.1]", "<::ffff:127.0.0.1>"},
		{"literals/ipv6-with-port", "[::1]:80", ""},
		{"literals/ipv6-zone", "fe80::1%lo", ""},
		{"literals/ipv6-zone-in-brackets", "[fe80::1%lo]", ""},
		{"literals/ipv6-mapped-zone", "::ffff:127.0.0.1%lo", ""},
		{"literals/ipv6-empty-zone", "fe80::1%", ""},
		{"literals/ipv6-two-gaps", "1::2::3", ""},
		{"literals/ipv6-too-long", "1:2:3:4:5:6:7:8:9", ""},
		{"literals/ipv6-too-large", "1ffff::", ""},
		{"literals/ipv6-bracket-not-closed", "[::1", ""},
		{"literals/ipv6-bracket-not-opened", "::1]", ""},
		{"literals/ipv6-two-brackets", "[[::1]]", ""},
		{"literals/brackets-alone", "[]", ""},
		{"literals/bracket-alone", "[", ""},
		{"literals/colon-alone", ":", ""},
		{"not-literals/short-form", "127.1", "127.1"},
		{"not-literals/one-number", "2130706433", "2130706433"},
		{"not-literals/hex", "0x7f000001", "0x7f000001"},
		{"not-literals/octal", "0177.0.0.1", "0177.0.0.1"},
		{"not-literals/leading-zero", "127.0.0.01", "127.0.0.01"},
		{"not-literals/too-large", "256.1.1.1", "256.1.1.1"},
		{"not-literals/five-numbers", "1.2.3.4.5", "1.2.3.4.5"},
		{"not-literals/final-dot", "127.0.0.1.", "127.0.0.1."},
		{"not-literals/name-that-begins-with-a-digit", "1.example", "1.example"},
	} {
		t.Run(test.clause, func(t *testing.T) {
			got, err := ParseHost(test.host)
			var want Addr
			if strings.HasPrefix(test.want, "<") {
				want.IP = netip.MustParseAddr(strings.Trim(test.want, "<>"))
			} else {
				want.Name = test.want
			}
			if got != want {
				t.Errorf("got %#v, want %#v", got, want)
			}
			if refused := test.want == ""; isFormat(err, GeneralFailure) != refused || (err != nil) != refused {
				t.Errorf("error is %v", err)
			}
			if err != nil && test.host != "" && len(test.host) > 1 && strings.Contains(err.Error(), test.host) {
				t.Errorf("error repeats the bytes of a client: %v", err)
			}
		})
	}
}

// TestParseHostBytes tries every byte at the beginning of a label and inside one.
func TestParseHostBytes(t *testing.T) {
	const first = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	for i := range 256 {
		c := string([]byte{byte(i)})
		for _, test := range []struct {
			host string
			ok   bool
		}{
			{c + "a", strings.Contains(first, c)},
			{"a." + c + "a", strings.Contains(first, c)},
			{"a" + c + "a", strings.Contains(first+"-_.", c)},
			{"a" + c, strings.Contains(first+"-_.", c)},
		} {
			if _, err := ParseHost(test.host); (err == nil) != test.ok {
				t.Errorf("%q: %v", test.host, err)
			}
		}
	}
}

func TestParseAddr(t *testing.T) {
	for _, test := range []struct {
		text string
		want Addr // zero: refused
	}{
		{"www.example:80", Addr{Name: "www.example", Port: 80}},
		{"www.example.:80", Addr{Name: "www.example.", Port: 80}},
		{"192.0.2.1:80", Addr{IP: ip4, Port: 80}},
		{"[2001:db8::1]:80", Addr{IP: ip6, Port: 80}},
		{"[::ffff:192.0.2.1]:80", Addr{IP: netip.MustParseAddr("::ffff:192.0.2.1"), Port: 80}},
		{"a:0", Addr{Name: "a"}},
		{"a:65535", Addr{Name: "a", Port: 65535}},
		{"127.1:80", Addr{Name: "127.1", Port: 80}},
		{"a:65536", Addr{}},
		{"a:-1", Addr{}},
		{"a:+80", Addr{}},
		{"a:http", Addr{}},
		{"a:8_0", Addr{}},
		{"a:0x50", Addr{}},
		{"a: 80", Addr{}},
		{"a:", Addr{}},
		{"a", Addr{}},
		{"", Addr{}},
		{":", Addr{}},
		{":80", Addr{}},
		{"[]:80", Addr{}},
		{"a:b:80", Addr{}},
		{"::1:80", Addr{}},
		{"2001:db8::1", Addr{}},
		{"[::1]", Addr{}},
		{"[::1]80", Addr{}},
		{"[::1]a:80", Addr{}},
		{"[::1:80", Addr{}},
		{"[fe80::1%lo]:80", Addr{}},
		{"[192.0.2.1]:80", Addr{}},
		{"[www.example]:80", Addr{}},
		{"-a:80", Addr{}},
		{"a\x00:80", Addr{}},
		{strings.Repeat("a", 256) + ":80", Addr{}},
	} {
		got, err := ParseAddr(test.text)
		if got != test.want || (err != nil) != (test.want == Addr{}) {
			t.Errorf("%q: got %#v, %v, want %#v", test.text, got, err, test.want)
		}
		if err != nil && strings.Contains(err.Error(), "\x00") {
			t.Errorf("%q: error has it unquoted", test.text)
		}
	}
}

func TestAddrString(t *testing.T) {
	for _, test := range []struct {
		addr       Addr
		text, host string
	}{
		{Addr{IP: ip4, Port: 80}, "192.0.2.1:80", "192.0.2.1"},
		{Addr{IP: ip6, Port: 65535}, "[2001:db8::1]:65535", "2001:db8::1"},
		{Addr{IP: netip.MustParseAddr("::ffff:192.0.2.1"), Port: 80}, "[::ffff:192.0.2.1]:80", "::ffff:192.0.2.1"},
		{Addr{Name: "wWw.example.", Port: 0}, "wWw.example.:0", "wWw.example."},
		{Addr{Name: "127.1", Port: 1}, "127.1:1", "127.1"},
	} {
		if got := test.addr.String(); got != test.text {
			t.Errorf("String: got %s, want %s", got, test.text)
		}
		if got := test.addr.Host(); got != test.host {
			t.Errorf("Host: got %s, want %s", got, test.host)
		}
		if got, err := ParseAddr(test.text); got != test.addr || err != nil {
			t.Errorf("ParseAddr(%s): got %#v, %v", test.text, got, err)
		}
		if got, err := ParseHost(test.host); got.IP != test.addr.IP || got.Name != test.addr.Name || err != nil {
			t.Errorf("ParseHost(%s): got %#v, %v", test.host, got, err)
		}
	}
	if got := (Addr{}).String(); got != ":0" {
		t.Errorf("zero: got %q", got)
	}
	if got := (Addr{}).Host(); got != "" {
		t.Errorf("zero: got %q", got)
	}
}

func TestAddrFrom(t *testing.T) {
	for text, want := range map[string]Addr{
		"192.0.2.1:80":          {IP: ip4, Port: 80},
		"[::ffff:192.0.2.1]:80": {IP: ip4, Port: 80},
		"[2001:db8::1]:80":      {IP: ip6, Port: 80},
	} {
		if got := AddrFrom(netip.MustParseAddrPort(text)); got != want {
			t.Errorf("%s: got %#v", text, got)
		}
	}
	if got := AddrFrom(netip.AddrPort{}); got != (Addr{}) {
		t.Errorf("zero: got %#v", got)
	}
}
