package main

import (
	"io"
	"net/netip"
	"slices"
	"testing"

	"hosier/internal/config"
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
	d := newDaemon(source{}, c, io.Discard)
	g, err := d.newGeneration(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	l := &g.config.Listeners[0]
	route := g.router(l)
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
		route(t.Context(), &proxy.Session{Client: client, Request: r, Listener: r.Listener})
		g.ways[l.Name].allow(r, netip.MustParseAddr("192.0.2.9"))
		c.Rules.Explain(l.Name, r, "")
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
