package socks

import (
	"errors"
	"testing"
)

// TestValidate has what a request may not ask for although its syntax is right.
func TestValidate(t *testing.T) {
	ask := func(v Version, c Command, a Addr) Request { return Request{Version: v, Command: c, Addr: a} }
	name := func(s string) Addr { return Addr{Name: s, Port: 80} }
	for _, test := range []struct {
		clause string
		r      Request
		want   Status // Succeeded: fine
	}{
		{"RFC1928-s4/connect", ask(V5, Connect, name("a")), Succeeded},
		{"RFC1928-s4/connect-port-0", ask(V5, Connect, Addr{Name: "a"}), GeneralFailure},
		{"RFC1928-s4/connect-port-65535", ask(V5, Connect, Addr{Name: "a", Port: 65535}), Succeeded},
		{"RFC1928-s4/udp-associate-zeros", ask(V5, Associate, Addr{IP: ip4}), Succeeded},
		{"RFC1928-s4/bind-port-0", ask(V5, Bind, Addr{IP: ip4}), Succeeded},
		{"SOCKS4/connect-port-0", ask(V4, Connect, Addr{IP: ip4}), GeneralFailure},
		{"http/connect-port-0", ask(HTTP, Connect, Addr{IP: ip4}), GeneralFailure},
		{"tor-s2/resolve-port-0", ask(V5, Resolve, Addr{Name: "a"}), Succeeded},
		{"tor-s2/resolve-port-80", ask(V5, Resolve, name("a")), Succeeded},
		{"tor-s2/resolve-ipv6", ask(V5, Resolve, Addr{IP: ip6}), Succeeded},
		{"tor-s2/resolve-ptr", ask(V5, ResolvePTR, Addr{IP: ip6}), Succeeded},
		{"tor-s2/resolve-ptr-of-a-name", ask(V5, ResolvePTR, Addr{Name: "a"}), AddressTypeNotSupported},
		{"SOCKS4/ipv6", ask(V4, Connect, Addr{IP: ip6, Port: 80}), GeneralFailure},
		{"SOCKS4/resolve-ipv6", ask(V4, Resolve, Addr{IP: ip6}), GeneralFailure},
		{"RFC1928-s4/ipv6", ask(V5, Connect, Addr{IP: ip6, Port: 80}), Succeeded},
		{"tor/exit", ask(V5, Connect, name("www.example.node.exit")), GeneralFailure},
		{"tor/exit-upper-case", ask(V5, Connect, name("a.EXIT")), GeneralFailure},
		{"tor/exit-final-dot", ask(V5, Connect, name("a.exit.")), GeneralFailure},
		{"tor/exit-alone", ask(V5, Connect, name("exit")), GeneralFailure},
		{"tor/exit-resolve", ask(V5, Resolve, Addr{Name: "a.exit"}), GeneralFailure},
		{"tor/exit-socks4a", ask(V4, Connect, name("a.exit")), GeneralFailure},
		{"tor/exit-http", ask(HTTP, Connect, name("a.exit")), GeneralFailure},
		{"tor/ends-like-exit", ask(V5, Connect, name("a.noexit")), Succeeded},
		{"tor/joined-like-exit", ask(V5, Connect, name("noexit")), Succeeded},
		{"tor/exit-below", ask(V5, Connect, name("exit.example")), Succeeded},
		{"tor/bad-onion-is-not-judged-here", ask(V5, Connect, name("a.onion")), Succeeded},
	} {
		err, status := test.r.Validate(), Succeeded
		if err != nil && !errors.As(err, &status) {
			t.Errorf("%s: error without a status: %v", test.clause, err)
		}
		if status != test.want || (err == nil) != (test.want == Succeeded) {
			t.Errorf("%s: got %v, want %v", test.clause, err, test.want)
		}
	}
}
