package config

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// settingsOf returns the settings by their keys.
func settingsOf(t interface{ Fatalf(string, ...any) }, c *Config) map[string]Setting {
	all := map[string]Setting{}
	for _, s := range c.Settings {
		if _, twice := all[s.Key]; twice {
			t.Fatalf("%s is there twice", s.Key)
		}
		all[s.Key] = s
	}
	return all
}

// Every key of the schema is a setting, whether or not the file has it, and there is no
// other.
func TestEveryKeyIsASetting(t *testing.T) {
	t.Parallel()
	tables := map[string]string{"log": "LOG", "limits": "LIMITS", "egress": "EGRESSES", "listener": "LISTENERS", "rule": "RULES"}
	for text, names := range map[string]map[string]string{
		"": {"log": "log", "limits": "limits"},
		"via = \"a\"\n[egress.a]\nvia = \"tor\"\n[listener.l]\nlisten = \"127.0.0.1:1\"\n[[rule]]\nport = 25\nrefuse = true": {
			"log": "log", "limits": "limits", "egress": "egress.a", "listener": "listener.l", "rule": "rule.1",
		},
	} {
		keys := schema()
		want := slices.Concat(keys["THE TOP OF THE FILE"], keys["POLICY"])
		for table, title := range tables {
			if names[table] == "" {
				continue // it stands for itself
			}
			want = slices.DeleteFunc(want, func(key string) bool { return key == table })
			below := keys[title]
			if table == "listener" {
				below = slices.Concat(below, keys["POLICY"])
			}
			for _, key := range below {
				want = append(want, names[table]+"."+key)
			}
		}
		var got []string
		for key := range settingsOf(t, mustParse(t, text)) {
			got = append(got, key)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%q: settings\n%q\nkeys\n%q", text, got, want)
		}
	}
}

// What the example says is in force, and where it says so.
func TestSettingsOfExample(t *testing.T) {
	t.Parallel()
	c, text := parseFile(t, "../../docs/hosier.example.toml")
	all, seen := settingsOf(t, c), 0
	table, rules := "", 0
	for i, line := range strings.Split(text, "\n") {
		if m := regexp.MustCompile(`^\[(\[?)([a-z.]+)\]`).FindStringSubmatch(line); m != nil {
			table = m[2] + "."
			if m[1] != "" {
				rules++
				table = "rule." + strconv.Itoa(rules) + "."
			}
		}
		m := regexp.MustCompile(`^([a-z-]+) = ("[^"]*"|\[(?:"[^"]*"|[^]"])*\]|[^ ]+)`).FindStringSubmatch(line)
		if m == nil {
			continue
		}
		seen++
		value := strings.ReplaceAll(m[2], `"`, "")
		if strings.HasPrefix(m[2], "[") {
			value = value[1 : len(value)-1]
		}
		value = strings.ReplaceAll(value, "gateway:password@", "")
		value = strings.ReplaceAll(value, "150s", "2m30s")
		want := Setting{table + m[1], value, fmt.Sprintf("../../docs/hosier.example.toml:%d", i+1)}
		if got := all[want.Key]; got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if seen < 60 {
		t.Errorf("only %d lines have a key", seen)
	}
}

// Where a setting comes from.
func TestPlacesOfSettings(t *testing.T) {
	t.Parallel()
	const text = `users = "u"
isolate = "port"
via = ["tor", "socks5://me:secret@p.example:1"]
dialects = "socks5"
[egress.t]
via = "tor+spawn://"
[egress.own]
via = "tor://127.0.0.1:9050"
no-isolate = "client"
[egress.p]
via = "http://p.example:2"
[listener.a]
listen = "127.0.0.1:1"
users = ""
[listener.b]
listen = "127.0.0.1:2"
[[rule]]
to = ["*", "10.0.0.0/8"]
listener = "b"
via = ["t", "own", "p"]
`
	c, err := Parse("f", []byte(text), Options{
		Flags:   []Flag{{"dialects", []string{"connect", "socks5"}}, {"torrc", []string{"/t"}}},
		Verbose: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	all := settingsOf(t, c)
	for _, want := range []Setting{
		{"listen", "", ""},
		{"users", "u", "f:1"},
		{"via", "tor, socks5://p.example:1", "f:3"},
		{"dialects", "connect, socks5", "--dialects"},
		{"log.redact", "false", "--verbose"},
		{"log.connections", "true", "--verbose"},
		{"log.level", "info", ""},
		{"listener.a.users", "", "f:14"},
		{"listener.a.dialects", "connect, socks5", "--dialects"},
		{"listener.a.isolate", "", ""},
		{"listener.b.users", "u", "f:1"},
		{"listener.b.handshake-timeout", "10s", ""},
		{"egress.t.isolate", "port", "f:2"},
		{"egress.t.torrc", "/t", "--torrc"},
		{"egress.own.isolate", "", ""},
		{"egress.own.no-isolate", "client", "f:9"},
		{"egress.own.torrc", "", ""},
		{"egress.p.isolate", "", ""},
		{"rule.1.to", "*, 10.0.0.0/8", "f:18"},
		{"rule.1.via", "t, own, p", "f:20"},
		{"rule.1.refuse", "", ""},
	} {
		if got := all[want.Key]; got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if got := settingsOf(t, mustParse(t, ""))["via"]; got != (Setting{"via", "direct", ""}) {
		t.Errorf("of nothing: %+v", got)
	}
}

// What is shown as a time or a size is read as the same one.
func TestSettingsCanBeWritten(t *testing.T) {
	t.Parallel()
	for value, want := range map[time.Duration]string{
		0: "0s", time.Second: "1s", 90 * time.Second: "1m30s", time.Minute: "1m", time.Hour: "1h",
		time.Hour + time.Second: "1h0m1s", 24 * time.Hour: "24h", 10 * time.Second: "10s", 20 * time.Minute: "20m", 100 * time.Millisecond: "100ms",
	} {
		if got := durationText(value); got != want {
			t.Errorf("%v is %s, want %s", value, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Min(0).Draw(t, "ns"))
		if back, err := time.ParseDuration(durationText(d)); err != nil || back != d {
			t.Fatalf("%v is shown as %s, which is %v, %v", d, durationText(d), back, err)
		}
		size := rapid.Int64Range(0, 1<<20).Draw(t, "n") * rapid.SampledFrom([]int64{1, 1e3, 1 << 10, 1e6, 1 << 20, 1e9, 1 << 30}).Draw(t, "unit")
		c, err := Parse("f", fmt.Appendf(nil, "via = \"tor\"\n[limits]\nbytes-per-second = %q", sizeText(size)), Options{})
		if err != nil || c.Limits.BytesPerSecond != size {
			t.Fatalf("%d is shown as %s: %v", size, sizeText(size), err)
		}
	})
}

// Whatever a password is, and wherever its proxy stands, no setting shows it or whose it is.
func TestSettingsShowNoPassword(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.StringMatching(`[!-~]{10,24}`).Draw(t, "password")
		user := rapid.StringMatching(`[a-z]{10}`).Draw(t, "user")
		scheme := rapid.SampledFrom([]string{"socks5", "socks5h", "socks4a", "http", "tor"}).Draw(t, "scheme")
		via := fmt.Sprintf("%s://%s@proxy.example:1080", scheme, url.UserPassword(user, secret))
		shownVia := scheme + "://proxy.example:1080"
		if scheme == "tor" { // which has no user, and the password of its control port
			via = "tor://:" + strings.ReplaceAll(url.PathEscape(secret), "@", "%40") + "@proxy.example:1080?control=proxy.example:1081"
			shownVia += "?control=proxy.example:1081"
		}
		text, flags := "", []Flag(nil)
		switch rapid.IntRange(0, 3).Draw(t, "place") {
		case 0:
			text = fmt.Sprintf("via = [%q, \"direct\"]", via)
		case 1:
			text = fmt.Sprintf("via = \"a\"\n[egress.a]\nvia = %q", via)
		case 2:
			text = fmt.Sprintf("[[rule]]\nport = 80\nvia = %q", via)
		case 3:
			flags = []Flag{{"via", []string{"direct", via}}}
		}
		c, err := Parse("f", []byte(text), Options{Flags: flags})
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		shown := 0
		for _, s := range c.Settings {
			all := s.Key + "\n" + s.Value + "\n" + s.At
			if strings.Contains(all, secret) || strings.Contains(all, url.PathEscape(secret)) || strings.Contains(all, user) {
				t.Fatalf("shown: %+v", s)
			}
			shown += strings.Count(s.Value, shownVia)
		}
		if shown != 1 {
			t.Fatalf("the proxy is shown %d times", shown)
		}
	})
}
