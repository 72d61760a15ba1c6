package tor

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"

	"hosier/internal/sockstest"
	"hosier/socks"
)

// A malformed onion name is refused before a tor is asked, whatever the command.
func TestResolveMalformedOnion(t *testing.T) {
	r := &socks.Request{Command: socks.Resolve, Addr: socks.Addr{Name: "short.onion"}}
	if _, err := new(Pool).Resolve(t.Context(), r); !errors.Is(err, socks.OnionBadAddress) {
		t.Errorf("got %v", err)
	}
}

// Two views of one pool keep apart by different things, and both say who would serve.
func TestIsolated(t *testing.T) {
	answer := &sockstest.Egress{
		DialFunc: func(context.Context, *socks.Request) (net.Conn, socks.Addr, error) {
			return nil, socks.Addr{}, socks.ConnectionRefused
		},
		ResolveFunc: func(context.Context, *socks.Request) (netip.Addr, error) {
			return netip.MustParseAddr("192.0.2.1"), nil
		},
		PTRFunc: func(context.Context, *socks.Request) (string, error) { return "a.test", nil },
	}
	address, logins := fakeTor(t, answer)
	p := &Pool{Members: []Member{{SOCKS: address}}}
	if !p.Ready() {
		t.Error("a pool of which nothing bad is known is not ready")
	}
	together := &Isolated{p, Isolation{NoListener: true, NoClient: true, NoAuth: true}}
	apart := &Isolated{p, Isolation{Destination: true}}
	last := func() string {
		all := logins()
		return all[len(all)-1].Password
	}
	for name, view := range map[string]*Isolated{"together": together, "apart": apart} {
		var keys []string
		for _, host := range []string{"a.test", "b.test"} {
			r := &socks.Request{Version: socks.V5, Command: socks.Connect, Addr: socks.Addr{Name: host, Port: 80}, Client: netip.MustParseAddrPort("192.0.2.9:1")}
			member, key := view.Member(r)
			if _, _, err := view.Dial(t.Context(), r); err == nil || r.Member != address || member != address || last() != key {
				t.Errorf("%s: %v by %q; it was said %q, and the tor got another key: %t", name, err, r.Member, member, last() != key)
			}
			keys = append(keys, key)
			r.Command = socks.Resolve
			if ip, err := view.Resolve(t.Context(), r); err != nil || ip.String() != "192.0.2.1" || last() != key {
				t.Errorf("%s: RESOLVE: %v, %v", name, ip, err)
			}
			r.Command, r.Addr = socks.ResolvePTR, socks.Addr{IP: netip.MustParseAddr("192.0.2.1")}
			if host, err := view.ResolvePTR(t.Context(), r); err != nil || host != "a.test" {
				t.Errorf("%s: RESOLVE_PTR: %q, %v", name, host, err)
			}
		}
		if (keys[0] == keys[1]) != (name == "together") {
			t.Errorf("%s: keys are %q", name, keys)
		}
	}
}
