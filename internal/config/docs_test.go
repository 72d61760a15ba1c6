package config

import (
	"bufio"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"hosier/internal/rules"
	"hosier/socks"
)

// schema returns the names of the keys of each table, by the titles of the man page.
func schema() map[string][]string {
	r := new(reader)
	names := func(keys []key, but ...key) (list []string) {
		for _, k := range keys {
			if !slices.ContainsFunc(but, func(b key) bool { return b.name == k.name }) {
				list = append(list, k.name)
			}
		}
		slices.Sort(list)
		return list
	}
	policy := r.policy(&Policy{})
	return map[string][]string{
		"THE TOP OF THE FILE": names(r.top(newDraft()), policy...),
		"POLICY":              names(policy),
		"LISTENERS":           names(r.listenerKeys(&Listener{}), policy...),
		"EGRESSES":            names(r.egressKeys(&egressTable{})),
		"RULES":               names(r.ruleKeys(&rule{})),
		"LIMITS":              names(r.limits(&Limits{})),
		"LOG":                 names(r.log(&Log{})),
	}
}

// The man page has every key where it stands, with its default, and no other.
func TestManPage(t *testing.T) {
	t.Parallel()
	f, err := os.Open("../../docs/hosier.toml.5")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	page, section, item, said := map[string][]string{}, "", "", true
	ended := func() {
		if !said {
			t.Errorf("%s, %s: the default is not said", section, item)
		}
	}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		if title, ok := strings.CutPrefix(line, ".Sh "); ok {
			ended()
			section, said = title, true
		}
		if keys, ok := strings.CutPrefix(line, ".It Ic "); ok {
			ended()
			item, said = keys, false
			page[section] = append(page[section], strings.Split(keys, " , ")...)
		}
		said = said || strings.Contains(line, "efault: ")
	}
	for title, want := range schema() {
		got := page[title]
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: the page has\n%q\nand the file\n%q", title, got, want)
		}
		delete(page, title)
	}
	for title, keys := range page {
		t.Errorf("%s: there are no such keys: %q", title, keys)
	}
}

func parseFile(t *testing.T, name string) (*Config, string) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse(name, text, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c, string(text)
}

// The example is right, and has every key.
func TestExample(t *testing.T) {
	t.Parallel()
	c, text := parseFile(t, "../../docs/hosier.example.toml")
	for title, names := range schema() {
		for _, name := range names {
			if !regexp.MustCompile(`(?m)^(` + name + ` = |\[\[?` + name + `\b)`).MatchString(text) {
				t.Errorf("%s: %s is not in the example", title, name)
			}
		}
	}
	if got := len(c.Listeners); got != 6 {
		t.Errorf("%d listeners", got)
	}
	for what, want := range map[string]string{
		"lan alice printer.printers.example:80": "direct",
		"lan bob printer.printers.example:80":   "onions,office",
		"lan bob 192.168.1.130:80":              "refused",
		"lan alice 192.168.1.130:80":            "direct",
		"lan alice example.org:25":              "refused",
		"lan alice example.org:443":             "office,onions",
	} {
		if got := decide(t, c, what); got != want {
			t.Errorf("%s: got %s, want %s", what, got, want)
		}
	}
}

// decide is for "LISTENER USER HOST:PORT", from a client of the local network.
func decide(t *testing.T, c *Config, what string) string {
	t.Helper()
	fields := strings.Fields(what)
	a, err := socks.ParseAddr(fields[2])
	if err != nil {
		t.Fatal(err)
	}
	r := &socks.Request{Version: socks.V5, Command: socks.Connect, Addr: a, User: fields[1]}
	r.Client = netip.MustParseAddrPort("192.168.1.77:5000")
	d := c.Rules.Decide(fields[0], r)
	if d.Err != nil {
		return "refused"
	}
	return strings.Join(d.Via, ",")
}

// The gateway is short enough for the README, and does what its first line says.
func TestGatewayExample(t *testing.T) {
	t.Parallel()
	c, text := parseFile(t, "../../docs/gateway.example.toml")
	if n := strings.Count(text, "\n"); n > 12 {
		t.Errorf("%d lines", n)
	}
	if len(c.Listeners) != 1 || !c.Listeners[0].HasUsers() || !c.Listeners[0].IsGuarded() {
		t.Errorf("got %+v", c.Listeners)
	}
	for what, want := range map[string]string{
		"lan alice www.example.org:443":  "tor",
		"lan alice 192.0.2.1:443":        "tor",
		"lan alice printer.lan:631":      "direct",
		"lan alice 192.168.1.9:631":      "direct",
		"lan alice 192.168.2.9:631":      "tor",
		"lan alice hidden.lan.onion:443": "tor",
	} {
		if got := decide(t, c, what); got != want {
			t.Errorf("%s: got %s, want %s", what, got, want)
		}
	}
	proof := strings.Join(c.Rules.Proof(), "\n")
	for _, want := range []string{
		".onion names reach Tor alone: ../../docs/gateway.example.toml:2 via tor",
		"connects to itself, by ../../docs/gateway.example.toml:9\n",
	} {
		if !strings.Contains(proof, want) {
			t.Errorf("the proof lacks %q:\n%s", want, proof)
		}
	}
	if c.Rules.Kind("tor") != rules.Tor || c.Rules.Kind("direct") != rules.Direct {
		t.Errorf("kinds are %v and %v", c.Rules.Kind("tor"), c.Rules.Kind("direct"))
	}
}
