package via

import (
	"reflect"
	"strings"
	"testing"

	"hosier/internal/rules"
	"hosier/socks"
)

func TestParseServer(t *testing.T) {
	long := "/" + strings.Repeat("x", maxPath)
	for text, want := range map[string]string{
		"127.0.0.1:1080":          "127.0.0.1:1080",
		"[::1]:1080":              "[::1]:1080",
		":1080":                   ":1080",
		"localhost:1":             "localhost:1",
		"unix:/run/a":             "unix:/run/a",
		"unix:" + long[1:]:        "unix:" + long[1:],
		"proxy.münchen.test:1080": "proxy.xn--mnchen-3ya.test:1080",
		"1080":                    "", "127.0.0.1": "", "127.0.0.1:": "", "127.0.0.1:0": "", "127.0.0.1:99999": "", "127.0.0.1:http": "",
		"::1:1080": "", "unix:": "", "unix:" + long: "", "a\xff:1": "", "": "",
	} {
		if got, err := ParseServer(text); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
	if _, err := ParseServer("127.0.0.1:99999"); err != ErrPort {
		t.Errorf("of a port it says %v", err)
	}
}

// A proxy whose name is written in another script is asked by the one that DNS has.
func TestParseScript(t *testing.T) {
	for text, want := range map[string]string{
		"socks5://u:p@münchen.test:1080":                 "xn--mnchen-3ya.test:1080",
		"tor://münchen.test:9050":                        "xn--mnchen-3ya.test:9050",
		"tor://127.0.0.1:9050?control=münchen.test:9051": "127.0.0.1:9050 xn--mnchen-3ya.test:9051",
		"tor://[::1]:9050":                               "[::1]:9050",
		"tor://unix:%2Frun%2Fs":                          "unix:/run/s",
		"tor://unix:/" + strings.Repeat("x", maxPath):    "",
		"tor://127.0.0.1:99999":                          "",
		"socks5://127.0.0.1:99999":                       "",
		"http://a\u202e\u0000.test:1":                    "",
	} {
		e, err := Parse(text)
		if (err == nil) != (want != "") {
			t.Errorf("%s: %v", text, err)
		}
		got := e.Upstream().Address
		for _, m := range e.Tor().Members {
			got = strings.TrimSpace(m.SOCKS + " " + m.Control)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestParseUpstream(t *testing.T) {
	auth := socks.Auth{Method: socks.UserPass, User: "u", Password: "p@"}
	for text, want := range map[string]Upstream{
		"socks5://127.0.0.1:1080":    {Scheme: "socks5", Address: "127.0.0.1:1080"},
		"socks5h://u:p%40@[::1]:1":   {Scheme: "socks5h", Address: "[::1]:1", Auth: auth},
		"socks4a://u@proxy.test:1/":  {Scheme: "socks4a", Address: "proxy.test:1", Auth: socks.Auth{User: "u"}},
		"http://u:p%40@proxy.test:1": {Scheme: "http", Address: "proxy.test:1", Auth: auth},
	} {
		if e, err := Parse(text); err != nil || e.Upstream() != want || e.Kind() != rules.Proxy || e.Reveal() != text {
			t.Errorf("%s: %+v, %v, want %+v", text, e.Upstream(), err, want)
		}
	}
	for _, text := range []string{
		"", "socks4://a:1", "socks5://a", "socks5://:1", "socks5://a:0", "socks5://0.0.0.0:1", "socks5://\uff10.0.0.0:1", "socks5://[::]:1", "ftp://a:1", "a:1",
		"socks5://u:se/secret@a:1", "socks5://a:1/secret", "socks5://a:1?secret", "http://u:sec\x00ret@a:1", "socks5://u:secret@a",
		"proxy.test:1080:u:secret", "socks5:u:secret", "u:secret", "socks5://a:1:u:secret", "socks5://a:1/u:secret", "http://a:1#secret",
	} {
		e, err := Parse(text)
		if err == nil || e.Kind() != 0 {
			t.Errorf("%s: %+v", text, e.Upstream())
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}

// The zero Egress is none, and asked like any other.
func TestZero(t *testing.T) {
	var e Egress
	if e.Kind() != 0 || e.Tor().Find || e.Upstream() != (Upstream{}) || e.Reveal() != "" || e.String() != "" {
		t.Errorf("%v", e)
	}
}

func TestParseTor(t *testing.T) {
	for via, want := range map[string]Tor{
		"tor":                        {Find: true},
		"tor://127.0.0.1:9050":       {Members: []Member{{SOCKS: "127.0.0.1:9050"}}},
		"tor://127.0.0.1:9050/":      {Members: []Member{{SOCKS: "127.0.0.1:9050"}}},
		"tor://[::1]:9050,tor.lan:9": {Members: []Member{{SOCKS: "[::1]:9050"}, {SOCKS: "tor.lan:9"}}},
		"tor://a:1?control=b:2":      {Members: []Member{{SOCKS: "a:1", Control: "b:2"}}},
		"tor://:p%40w%2C@a:1,unix:/run/tor/socks?control=b:2,unix:/run/a%2Cb%25": {Members: []Member{
			{SOCKS: "a:1", Control: "b:2", Password: "p@w,"},
			{SOCKS: "unix:/run/tor/socks", Control: "unix:/run/a,b%", Password: "p@w,"},
		}},
		"tor+spawn:":              {Daemons: 1},
		"tor+spawn://":            {Daemons: 1},
		"tor+spawn://?daemons=12": {Daemons: 12},
	} {
		if got, err := parseTor(via); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v, want %+v", via, got, err, want)
		}
	}
	for via, want := range map[string]string{
		"tor://":                              "write host:port",
		"tor://a":                             "write host:port",
		"tor://a:0":                           "the port is not a number from 1 to 65535",
		"tor://a:1,":                          "write host:port",
		"tor://a:1,a:1":                       "is there twice",
		"tor://a:1/path":                      "write host:port",
		"tor://a:1#fragment":                  "write host:port",
		"tor://unix:socks":                    "write the whole path",
		"tor://a:1?daemons=2":                 "write tor+spawn://?daemons=2",
		"tor://a:1?other=2":                   "there is no other=, only control=",
		"tor://a:1?control=":                  "write host:port",
		"tor://a:1,b:1?control=c:1":           "2 SOCKS addresses and 1 control addresses",
		"tor://a:1?control=c:1,d:1":           "1 SOCKS addresses and 2 control addresses",
		"tor://:secret@a:1":                   "add ?control=HOST:PORT",
		"tor://user:secret@a:1?control=b:1":   "stands only :PASSWORD",
		"tor://:sec/secret@a:1?control=b:1":   "stands only :PASSWORD",
		"tor://:sec?secret@a:1?control=b:1":   "stands only :PASSWORD",
		"tor://:sec#secret@a:1?control=b:1":   "stands only :PASSWORD",
		"tor://:secret%@a:1?control=b:1":      "stands only :PASSWORD",
		"tor://:secret@a:1?contro=b:1":        "there is no contro=",
		"tor://:secret@a?control=b:1":         "write host:port",
		"tor+spawn:daemons=2":                 "write tor+spawn://",
		"tor+spawn://host?daemons=2":          "write tor+spawn://",
		"tor+spawn://?daemons=0":              "not a number from 1",
		"tor+spawn://?daemons=x":              "not a number from 1",
		"tor+spawn://?torrc=x":                "there is no torrc=",
		"tor+spawn://u:secret@host?daemons=2": "write tor+spawn://",
	} {
		got, err := parseTor(via)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v, want %q", via, got, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}
