package daemon

import (
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"hosier/internal/config"
	"hosier/internal/page"
	"hosier/internal/policy"
	"hosier/proxy"
	"hosier/socks"
)

// A request counts for the rule that decided it, and what asks about rules counts for none.
// Another reading of the configuration begins at nothing.
func TestRuleHits(t *testing.T) {
	t.Parallel()
	const text = `via = "direct"
allow-client = ["192.0.2.0/24"]
[listener.lan]
listen = "192.0.2.1:1080"
[[rule]]
to = "a.test"
refuse = true
`
	c, err := config.Parse("f", []byte(text), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d := New(c, io.Discard, Options{})
	g, err := d.newGeneration(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	l := &g.config.Listeners[0]
	admit, route := d.admitter(l), g.router(l, page.NewCheck())
	for _, one := range []struct{ client, target string }{
		{"192.0.2.7:1", "a.test"},
		{"192.0.2.7:2", "b.test"},
		{"192.0.2.7:3", "b.test"},
		{"198.51.100.7:1", "a.test"}, // no rule has a say
	} {
		client := netip.MustParseAddrPort(one.client)
		r := &socks.Request{
			Version: socks.V5, Command: socks.Connect, Addr: socks.Addr{Name: one.target, Port: 80},
			Client: client, Listener: "192.0.2.1:1080",
		}
		ses := &proxy.Session{Client: client, Request: r, Listener: r.Listener}
		if admit(ses) == nil {
			route(t.Context(), ses)
		}
		at := policy.Listener{Listener: l, Config: c}
		o := at.Decide(r, policy.State{}, new(policy.Trace))
		at.Allow(r, o.Decision)(netip.MustParseAddr("192.0.2.9"))
	}
	hits := func(c *config.Config) (all []uint64) {
		for _, r := range c.Rules.List() {
			all = append(all, r.Hits)
		}
		return all
	}
	if got, want := hits(c), []uint64{1, 2}; !slices.Equal(got, want) {
		t.Errorf("hits: %d, want %d", got, want)
	}
	if again, err := config.Parse("f", []byte(text), config.Options{}); err != nil || !slices.Equal(hits(again), []uint64{0, 0}) {
		t.Errorf("after a reload: %v, %v", again, err)
	}
}

// A connection is judged by the users of the file that it began under, however late it logs in.
// What is remembered outlives a reload that changes no user.
func TestUsersOfGeneration(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "users")
	toml := "via = \"direct\"\nusers = \"users\"\n"
	var d *Daemon
	read := func(line string) *generation {
		if err := os.WriteFile(file, []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := config.Parse(filepath.Join(dir, "f"), []byte(toml), config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if d == nil {
			d = New(c, io.Discard, Options{})
		}
		g, err := d.newGeneration(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		p, err := g.policy(&c.Listeners[0])
		if err != nil {
			t.Fatal(err)
		}
		g.policies["here"] = p
		d.current.Store(g)
		return g
	}
	line := func(name, password string) string {
		hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		return name + ":" + string(hash) + "\n"
	}
	ann, bob := line("ann", "one"), line("bob", "two")
	first := read(ann)
	same := read(ann)
	second := read(bob)
	if first.users[file] != same.users[file] || same.users[file] == second.users[file] {
		t.Error("what is remembered of users does not go by what the file says")
	}
	for _, tt := range []struct {
		g              *generation
		user, password string
		ok             bool
	}{
		{first, "ann", "one", true},
		{second, "bob", "two", true},
		{first, "bob", "two", false},
		{second, "ann", "one", false},
	} {
		auth := socks.Auth{Method: socks.UserPass, User: tt.user, Password: tt.password}
		client := netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), 1)
		if _, err := tt.g.policies["here"].Verify(&proxy.Session{Client: client}, auth); (err == nil) != tt.ok {
			t.Errorf("%s under the file that it began with: %v, want success %v", tt.user, err, tt.ok)
		}
	}
}
