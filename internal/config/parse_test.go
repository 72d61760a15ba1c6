package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"hosier/internal/via"
	"hosier/resolver"
)

func mustParse(t *testing.T, text string, flags ...Flag) *Config {
	t.Helper()
	name := "/etc/hosier/hosier.toml"
	if text == "" {
		name = "" // no file
	}
	c, err := Parse(name, []byte(text), Options{Flags: flags})
	if err != nil {
		t.Fatalf("%s\n%v", text, err)
	}
	return c
}

func names[T any](list []T, name func(T) string) (all []string) {
	for _, x := range list {
		all = append(all, name(x))
	}
	return all
}

func egressNames(c *Config) []string {
	return names(c.Egresses, func(e Egress) string { return e.Name })
}

func listenerNames(c *Config) []string {
	return names(c.Listeners, func(l Listener) string { return l.Name })
}

// Without a file there is what serve is without flags.
func TestDefaults(t *testing.T) {
	t.Parallel()
	c := mustParse(t, "")
	if !slices.Equal(listenerNames(c), []string{"127.0.0.1:1080"}) || !slices.Equal(egressNames(c), []string{"direct"}) {
		t.Errorf("got %q, %q", listenerNames(c), egressNames(c))
	}
	l := c.Listeners[0]
	if l.HandshakeTimeout != 10*time.Second || l.ConnectTimeout != 150*time.Second || l.IdleTimeout != 0 || l.Unsafe != UnsafeWarn ||
		l.ExtendedErrors != nil || l.IsGuarded() || l.HasUsers() || c.Drain != 30*time.Second || c.ReloadEnd || c.Log != (Log{}) {
		t.Errorf("got %+v", c)
	}
	if got := decide(t, c, "127.0.0.1:1080 - www.example.org:80"); got != "direct" {
		t.Errorf("leads to %s", got)
	}
}

// Fail closed: what is not said to go directly does not.
func TestDirectOnlyIfSaid(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`via = "tor"`:    "tor",
		`via = "direct"`: "direct",
		"[[rule]]\nto = \"a.example\"\nvia = \"direct\"":                                                "refused",
		"[egress.office]\nvia = \"http://proxy.example:80\"\n[[rule]]\nport = 80\nrefuse = true":        "refused",
		"via = \"all\"\n[egress.all]\nvia = [\"a\", \"tor\"]\n[egress.a]\nvia = \"http://p.example:1\"": "a,tor",
		"via = [\"x\", \"y\", \"tor\"]\n[egress]\nx.via = [\"y\", \"tor\"]\ny.via = \"direct\"":         "y,tor",
	} {
		if got := decide(t, mustParse(t, text), "127.0.0.1:1080 - www.example.org:80"); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

// A file that does not say where requests go is a mistake, whatever cut it short. A flag may
// say it in its place; without any file, direct is the default.
func TestFileMustSayWhere(t *testing.T) {
	t.Parallel()
	const whole = "# hosier\nlisten = \"127.0.0.1:1080\"\nusers = \"u\"\nvia = \"tor\"\n[log]\nconnections = true\n" +
		"[[rule]]\nto = \"a.example\"\nvia = \"http://p.example:1\"\n"
	var bad []string
	for n := range len(whole) {
		bad = append(bad, whole[:n])
	}
	bad = append(bad, "\ufeff", "\n\n", "# \n", "[log]\n", "[egress]\n", "rule = []\n", "[listener.a]\nlisten = \"127.0.0.1:1\"\n")
	for _, text := range bad {
		c, err := Parse("f", []byte(text), Options{})
		if c != nil && decide(t, c, "127.0.0.1:1080 - www.example.org:80") == "direct" {
			t.Errorf("%q sends requests directly", text)
		}
		if errs := Errors(nil); c == nil && (!errors.As(err, &errs) || errs[0].File != "f" || errs[0].Line == 0) {
			t.Errorf("%q: %v", text, err)
		}
		if strings.Contains(text, "via = \"") {
			continue
		}
		if err == nil {
			t.Errorf("%q is taken", text)
		}
		if c, err := Parse("f", []byte(text), Options{Flags: []Flag{{"via", []string{"tor"}}}}); err == nil &&
			decide(t, c, "127.0.0.1:1080 - www.example.org:80") != "tor" {
			t.Errorf("%q with --via tor leads elsewhere", text)
		}
	}
	if c, err := Parse("", nil, Options{}); err != nil || decide(t, c, "127.0.0.1:1080 - www.example.org:80") != "direct" {
		t.Errorf("no file: %v", err)
	}
}

// No time is never for idle-timeout and total-timeout, at once for drain, and a mistake where
// hosier waits for somebody.
func TestNoTime(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"idle-timeout", "total-timeout", "drain"} {
		mustParse(t, "via = \"tor\"\n"+key+" = \"0s\"")
	}
	for _, key := range []string{"handshake-timeout", "connect-timeout"} {
		for _, text := range []string{"via = \"tor\"\n%s = \"0s\"", "via = \"tor\"\n[listener.a]\n%s = \"0ms\"\nlisten = \"127.0.0.1:1\""} {
			text = fmt.Sprintf(text, key)
			_, err := Parse("f", []byte(text), Options{})
			if errs := Errors(nil); !errors.As(err, &errs) || len(errs) != 1 || errs[0].Line < 2 {
				t.Errorf("%s: %v", text, err)
			}
		}
	}
}

// A byte order mark is not part of the text, and positions do not count it.
func TestByteOrderMark(t *testing.T) {
	t.Parallel()
	if c := mustParse(t, "\ufeffvia = \"tor\"\r\n"); egressNames(c)[0] != "tor" {
		t.Errorf("leads to %s", egressNames(c))
	}
	for text, column := range map[string]int{
		"\ufeffvai = 1": 1, "via = \"tor\" \ufeff": 13,
		"\xff\xfev\x00i\x00a\x00": 1, "\xfe\xff\x00v\x00i\x00a": 1,
	} {
		_, err := Parse("f", []byte(text), Options{})
		if errs := Errors(nil); !errors.As(err, &errs) || errs[0].Line != 1 || errs[0].Column != column {
			t.Errorf("%q: %v", text, err)
		}
	}
	_, err := Parse("f", []byte("\xff\xfev\x00"), Options{})
	if !strings.Contains(err.Error(), "UTF-16") {
		t.Error(err)
	}
}

// An empty flag where a key protects is a variable that is not set.
func TestEmptyFlag(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"users", "dns", "via"} {
		_, err := Parse("", nil, Options{Flags: []Flag{{key, []string{""}}}})
		if errs := Errors(nil); !errors.As(err, &errs) || errs[0].File != "--"+key {
			t.Errorf("--%s '': %v", key, err)
		}
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	on := true
	for _, test := range []struct {
		text string
		got  func(*Config) any
		want any
	}{
		{`drain = "1h30m"`, func(c *Config) any { return c.Drain }, 90 * time.Minute},
		{`drain = "0s"`, func(c *Config) any { return c.Drain }, time.Duration(0)},
		{`reload-drain = "now"`, func(c *Config) any { return c.ReloadEnd }, true},
		{`max-conns = 1_000`, func(c *Config) any { return c.MaxConns }, 1000},
		{`admin = "unix:/run/a"`, func(c *Config) any { return c.Admin }, "unix:/run/a"},
		{`admin = "localhost:9180"`, func(c *Config) any { return c.Admin }, "localhost:9180"},
		{`dns = "[2001:db8::1]:5353"`, func(c *Config) any { return joined(c.DNS, resolver.Server.String) }, "[2001:db8::1]:5353"},
		{`dns = ["192.0.2.1", "tls://192.0.2.2#dns.test", "https://192.0.2.3"]`, func(c *Config) any { return joined(c.DNS, resolver.Server.String) }, "192.0.2.1:53, tls://192.0.2.2:853#dns.test, https://192.0.2.3:443/dns-query"},
		{`dns-cache = "off"`, func(c *Config) any { return c.Listeners[0].DNSCache }, CacheOff},
		{`users = "users"`, func(c *Config) any { return c.Listeners[0].Users }, "/etc/hosier/users"},
		{`state-dir = "/var/x"`, func(c *Config) any { return c.StateDir }, "/var/x"},
		{`extended-errors = true`, func(c *Config) any { return c.Listeners[0].ExtendedErrors }, &on},
		{`log.redact = false`, func(c *Config) any { return c.Log }, Log{Reveal: true}},
		{`log = { format = "json", level = "debug", connections = true }`, func(c *Config) any { return c.Log }, Log{JSON: true, Debug: true, Connections: true}},
		{`limits.bytes-per-second = "2MB"`, func(c *Config) any { return c.Limits.BytesPerSecond }, int64(2e6)},
		{`limits.bytes-per-second = "1MiB"`, func(c *Config) any { return c.Limits.BytesPerSecond }, int64(1 << 20)},
		{`limits.bytes-per-second = "500 kB"`, func(c *Config) any { return c.Limits.BytesPerSecond }, int64(500e3)},
		{`limits.bytes-per-second = "7B"`, func(c *Config) any { return c.Limits.BytesPerSecond }, int64(7)},
		{`limits.new-conns-per-second = 5`, func(c *Config) any { return c.Limits.NewConnsPerSecond }, 5},
		{"[listener.a]\nlisten = \"unix:/run/a\"\nmode = \"0660\"", func(c *Config) any { return c.Listeners[0].Mode }, fs.FileMode(0o660)},
		{"[listener.a]\nlisten = \"127.0.0.1:1\"\nnames = [\"Gateway.LAN.\", \"wpad\"]", func(c *Config) any { return c.Listeners[0].Names }, []string{"gateway.lan", "wpad"}},
		{"users = \"u\"\n[listener.a]\nlisten = \"127.0.0.1:1\"\nusers = \"\"", func(c *Config) any { return c.Listeners[0].HasUsers() }, false},
		{"idle-timeout = \"1s\"\n[listener.a]\nlisten = \"127.0.0.1:1\"", func(c *Config) any { return c.Listeners[0].IdleTimeout }, time.Second},
		{"listen = [\"127.0.0.1:2\"]\n[listener.a]\nlisten = \":1\"\nallow-client = \"::1\"", func(c *Config) any { return listenerNames(c) }, []string{"127.0.0.1:2", "a"}},
		{"via = \"tor\"\nisolate = \"port\"\n[listener.a]\nlisten = \"127.0.0.1:1\"", func(c *Config) any { return c.Listeners[0].Isolation }, (*Isolation)(nil)},
		{"via = \"tor\"\nisolate = \"port\"", func(c *Config) any { return c.Egresses[0].Isolation }, Isolation{Isolate: []string{"port"}}},
		{"via = \"t\"\nisolate = \"port\"\n[egress.t]\nvia = \"tor\"\nno-isolate = \"client\"", func(c *Config) any { return c.Egresses[0].Isolation }, Isolation{NoIsolate: []string{"client"}}},
		{"via = \"tor+spawn://\"\ntorrc = \"t\"", func(c *Config) any { return c.Egresses[0].Torrc }, "/etc/hosier/t"},
		{"via = [\"tor+spawn://\", \"tor\"]\ntorrc = \"t\"", func(c *Config) any { return c.Egresses[1].Torrc }, ""},
		{"defer-accept = true", func(c *Config) any { return c.Listeners[0].DeferAccept }, true},
		{"idle-timeout = \"1h\"\ntotal-timeout = \"1h\"", func(c *Config) any { return c.Listeners[0].TotalTimeout }, time.Hour},
		{"via = [\"http://u:p@h.example:1\", \"http://v:p@h.example:1\"]", func(c *Config) any { return egressNames(c) }, []string{"http://h.example:1", "http://h.example:1#2"}},
		{"via = \"x\"\n[egress]\nx.via = \"y\"\ny.via = \"http://h.example:1\"", func(c *Config) any { return egressNames(c) }, []string{"y"}},
		{"rule = [{ to = \"*\", via = \"tor\" }, { refuse = \"no\" }]", func(c *Config) any { return c.Rules.Proof()[3] }, "requests that no rule matches are refused"},
	} {
		text := test.text
		if !strings.Contains(text, "via") {
			text = "via = \"direct\"\n" + text
		}
		if got := test.got(mustParse(t, text)); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: got %#v, want %#v", test.text, got, test.want)
		}
	}
}

// A flag takes the place of its key, is checked as if it stood there, and its mistakes
// are told at its name.
func TestFlags(t *testing.T) {
	t.Parallel()
	c := mustParse(t, "via = 7\nlisten = \"0.0.0.0:1080\"\nmax-conns = 3\nextended-errors = false",
		Flag{"via", []string{"tor"}}, Flag{"listen", []string{"127.0.0.1:1", "127.0.0.1:2"}},
		Flag{"max-conns", []string{"5"}}, Flag{"extended-errors", []string{"true"}}, Flag{"drain", []string{"1s"}})
	if !slices.Equal(egressNames(c), []string{"tor"}) || len(c.Listeners) != 2 || c.MaxConns != 5 || !*c.Listeners[0].ExtendedErrors || c.Drain != time.Second {
		t.Errorf("got %+v", c)
	}
	if got := c.Rules.Proof()[3]; got != "requests that no rule matches go via tor (--via)" {
		t.Errorf("got %s", got)
	}
	for want, f := range map[string]Flag{
		`--listen: other hosts could reach 0.0.0.0:1`: {"listen", []string{"0.0.0.0:1"}},
		`--via: there is no egress office`:            {"via", []string{"office"}},
		`--max-conns: "x" is not a number`:            {"max-conns", []string{"x"}},
		`--drain: "x" is not a duration`:              {"drain", []string{"x"}},
		`--drain: expected a string`:                  {"drain", []string{"1s", "2s"}},
		`--isolate: "x" is not one of`:                {"isolate", []string{"x"}},
		`--extended-errors: expected true or false`:   {"extended-errors", []string{"x"}},
		`--nonsense: unknown key nonsense`:            {"nonsense", []string{"x"}},
	} {
		_, err := Parse("f", nil, Options{Flags: []Flag{f}})
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	_, err := Parse("f.toml", []byte("via = \"x://y\"\nusers = \"u\""), Options{
		Readable: func(string) error { return &fs.PathError{Op: "open", Path: "secret", Err: errors.New("locked")} },
	})
	want := "f.toml:1:7: not an egress: x://y: write direct, socks5://, socks4a://, http:// or tor://, and then host:port\nf.toml:2:9: \"u\" cannot be read: locked"
	var all Errors
	if err == nil || err.Error() != want || !errors.As(err, &all) || len(all) != 2 {
		t.Fatalf("got %v, want %s", err, want)
	}
	if one := (*Error)(nil); !errors.As(err, &one) || *one != (Error{"f.toml", 1, 7, "not an egress: x://y: write direct, socks5://, socks4a://, http:// or tor://, and then host:port"}) {
		t.Errorf("got %+v", one)
	}
}

// No way of printing a Config shows what a proxy's URL hides, wherever it stands.
func TestNoPasswords(t *testing.T) {
	t.Parallel()
	c := mustParse(t, "via = [\"socks5://someone:secret@p.example:1\", \"a\"]\n[egress.a]\nvia = \"tor://:sec%2Fret@127.0.0.1:9050?control=127.0.0.1:9051\"")
	if got := c.Egresses[0].Via.Reveal() + c.Egresses[1].Via.Reveal(); strings.Count(got, "sec") != 2 {
		t.Fatalf("the passwords are lost: %s", got)
	}
	hidden := struct {
		c   *Config
		v   Config
		via via.Egress
	}{c, *c, c.Egresses[1].Via}
	var texts []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, x := range []any{c, *c, c.Egresses, c.Egresses[0], &c.Egresses[0], c.Egresses[1].Via, &c.Egresses[1].Via, hidden, &hidden, c.Rules, *c.Rules} {
			texts = append(texts, fmt.Sprintf(verb, x))
		}
	}
	text, err := json.Marshal(c.Egresses)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "via", c.Egresses[1].Via, "egress", c.Egresses[0], "config", c)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "via", c.Egresses[1].Via, "egress", c.Egresses)
	for _, text := range append(texts, string(text), log.String(), c.Egresses[1].Via.String()) {
		for _, secret := range []string{"secret", "sec%2Fret", "someone", fmt.Sprintf("%x", "secret")} {
			if strings.Contains(text, secret) {
				t.Errorf("%s is shown: %s", secret, text)
			}
		}
	}
	if got := c.Egresses[1].Via.String(); got != "socks5://p.example:1" {
		t.Errorf("got %s", got)
	}
}

func TestDistance(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"abc", "abc", 0},
		{"listn", "listen", 1},
		{"drian", "drain", 1},
		{"kitten", "sitting", 3},
		{"ab", "ba", 1},
		{"allow_client", "allow-client", 1},
		{"abc", "", 3},
	} {
		if got := distance(test.a, test.b); got != test.want {
			t.Errorf("%s, %s: got %d, want %d", test.a, test.b, got, test.want)
		}
	}
}

// FuzzParse: whatever the text, it is parsed or has mistakes at places of it, and a
// comment below a good file changes nothing.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/*.toml", "../../docs/*.example.toml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) < 2 {
			f.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse("f.toml", text, Options{})
		if err != nil {
			var errs Errors
			if !errors.As(err, &errs) || len(errs) == 0 || c != nil {
				t.Fatalf("%T: %v", err, err)
			}
			checkPlaces(t, text, errs)
			return
		}
		again, err := Parse("f.toml", append(bytes.Clone(text), "\n# a comment\n"...), Options{})
		if err != nil {
			t.Fatalf("with a comment: %v", err)
		}
		if !reflect.DeepEqual(c, again) {
			t.Errorf("with a comment:\n%+v\n%+v", *c, *again)
		}
		settingsOf(t, c)
		if len(c.Listeners) == 0 || c.Rules == nil {
			t.Errorf("got %+v", c)
		}
		for i := range c.Listeners {
			if l := &c.Listeners[i]; isBeyondLoopback(l.Address) && !l.IsGuarded() {
				t.Errorf("%s is open", l.Address)
			}
		}
	})
}
