package policy

import (
	"net/netip"
	"strings"
	"testing"

	"hosier/egress/tor"
	"hosier/internal/config"
	"hosier/socks"
)

func TestExplainedTarget(t *testing.T) {
	for text, want := range map[string]string{
		"www.test":                 "www.test:443",
		"www.test:80":              "www.test:80",
		"www.test:0":               "www.test:0",
		"192.0.2.1":                "192.0.2.1:443",
		"192.0.2.1:80":             "192.0.2.1:80",
		"::1":                      "[::1]:443",
		"[::1]":                    "[::1]:443",
		"[::1]:80":                 "[::1]:80",
		"http://www.test/x":        "www.test:80",
		"https://www.test:8443/":   "www.test:8443",
		"münchen.test":             "xn--mnchen-3ya.test:443",
		"münchen.test:25":          "xn--mnchen-3ya.test:25",
		"https://MÜNCHEN.test/":    "xn--mnchen-3ya.test:443",
		"https://u:p@münchen.test": "xn--mnchen-3ya.test:443",
	} {
		if got, err := explainedTarget(text); err != nil || got.String() != want {
			t.Errorf("%q: %v, %v, want %s", text, got, err, want)
		}
	}
	for text, says := range map[string]string{
		"www.test:99999": "port", "[::1]:99999": "port", "http://www.test:99999/": "port", "www.test:http": "port", "192.0.2.1:-1": "port",
		"a b": "neither a URL", "": "neither a URL", "https://u:secret@a%zz/": "URL", "http://a b/": "URL", "a\xff.test": "UTF-8",
	} {
		_, err := explainedTarget(text)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestIsolationWords(t *testing.T) {
	for _, c := range []struct {
		on, off string
		want    tor.Isolation
		err     string
	}{
		{"", "", tor.Isolation{}, ""},
		{"destination,port,protocol", "", tor.Isolation{Destination: true, Port: true, Protocol: true}, ""},
		{"", "listener,client,credentials", tor.Isolation{NoListener: true, NoClient: true, NoAuth: true}, ""},
		{"listener,client,credentials", "destination,port,protocol", tor.Isolation{}, ""},
		{"port", "port", tor.Isolation{}, "choose one"},
		{"host", "", tor.Isolation{}, "isolate host: the words are listener, client, credentials, destination, port, protocol"},
		{"", "host", tor.Isolation{}, "no-isolate host: the words are"},
	} {
		split := func(s string) []string {
			return strings.FieldsFunc(s, func(r rune) bool { return r == ',' })
		}
		got, err := IsolationOf(config.Isolation{Isolate: split(c.on), NoIsolate: split(c.off)})
		if c.err == "" && (err != nil || got != c.want) || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("--isolate %s --no-isolate %s: %+v, %v, want %+v, %q", c.on, c.off, got, err, c.want, c.err)
		}
	}
}

func TestAdmits(t *testing.T) {
	t.Parallel()
	prefixes := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("fe80::/10")}
	for _, c := range []struct {
		listener, client string
		allow, proxied   []netip.Prefix
		want             bool
	}{
		{"192.0.2.1:1080", "192.0.2.7", prefixes, nil, true},
		{"192.0.2.1:1080", "198.51.100.7", prefixes, nil, false},
		{"192.0.2.1:1080", "198.51.100.7", nil, nil, true},
		{"[fe80::1%eth0]:1080", "fe80::7%eth0", prefixes, nil, true},
		{"[fe80::1%eth0]:1080", "2001:db8::7", prefixes, nil, false},
		{"127.0.0.1:1080", "127.0.0.1", prefixes, nil, true}, // only programs of this host come by it
		{"127.0.0.1:1080", "127.0.0.1", prefixes, prefixes, false},
		{"unix:/run/hosier", "", prefixes, nil, true},
		{"192.0.2.1:1080", "127.0.0.1", prefixes, nil, false},
	} {
		client, _ := netip.ParseAddr(c.client)
		if got := (&Listener{Listener: &config.Listener{Policy: config.Policy{AllowClient: c.allow}, ProxyFrom: c.proxied}}).Admits(c.listener, client); (got == nil) != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// The log at level debug has the trace of requests, and shows no user name that a client gives
// where nobody asks for one. SOCKS4 has no password that could be missing.
func TestTraceHidesUserName(t *testing.T) {
	l := &Listener{Listener: &config.Listener{Name: "lan", Address: "127.0.0.1:1"}, At: "127.0.0.1:1"}
	p := &tor.Pool{Members: []tor.Member{{SOCKS: "a:1"}, {SOCKS: "b:1"}}}
	s := State{Pool: func(*config.Egress) (*tor.Pool, error) { return p, nil }}
	for version, known := range map[socks.Version]bool{socks.V4: true, socks.V5: false} {
		r := &socks.Request{
			Version: version, Command: socks.Connect, Addr: socks.Addr{Name: "a.test", Port: 80},
			Listener: "127.0.0.1:1", Auth: socks.Auth{Method: socks.UserPass, User: "sesame"},
		}
		trace := &Trace{Hidden: "[scrubbed]"}
		l.introduce(r, trace)
		l.intoTor(r, &config.Egress{Name: "tor"}, s, trace)
		text := trace.text()
		if strings.Contains(text, "sesame") || strings.Contains(text, "(key ") != known {
			t.Errorf("%v:\n%s", version, text)
		}
	}
}
