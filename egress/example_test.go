package egress_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"

	"hosier/egress"
	"hosier/egress/tor"
	"hosier/proxy"
	"hosier/resolver"
	"hosier/socks"
)

// Onion names go to Tor, the company's names to its proxy, and nothing else anywhere.
func Example() {
	onions := &tor.Pool{Members: []tor.Member{{SOCKS: "127.0.0.1:9050"}}}
	office := &egress.HTTP{Proxy: "proxy.corp.example:3128"}

	srv := &proxy.Server{
		Policy: proxy.Policy{
			Route: func(_ context.Context, ses *proxy.Session) (proxy.Route, error) {
				target := ses.Request.Addr
				switch {
				case target.IsOnion():
					return proxy.Route{Egress: onions}, nil
				case target.Name == "wiki.corp.example":
					return proxy.Route{Egress: office}, nil
				}
				return proxy.Route{}, socks.NotAllowed
			},
		},
	}
	l, err := net.Listen("tcp", "127.0.0.1:1080")
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(srv.Serve(l))
}

// Names of direct connections are looked up over TLS, and each user has a cache of its own.
// Addresses of this host and of its networks are refused.
func ExampleDirect() {
	server, err := resolver.ParseServer("tls://9.9.9.9#dns.quad9.net")
	if err != nil {
		log.Fatal(err)
	}
	names := &resolver.Resolver{Servers: []resolver.Server{server}}
	defer names.Close()
	direct := &egress.Direct{
		Resolver: names,
		Group:    func(r *socks.Request) string { return r.User },
		Allow:    egress.PublicOnly,
	}
	private := &socks.Request{Version: socks.V5, Command: socks.Connect, Addr: socks.Addr{IP: netip.MustParseAddr("192.168.1.1"), Port: 80}}
	_, _, err = direct.Dial(context.Background(), private)
	fmt.Println(names.Servers[0], errors.Is(err, egress.ErrNotPublic), errors.Is(err, socks.NotAllowed))
	// Output: tls://9.9.9.9:853#dns.quad9.net true true
}

// What stands in a setting such as ALL_PROXY.
func ExampleFromURL() {
	for _, text := range []string{"socks5h://proxy.example", "http://ann:secret@proxy.example:3128", "socks4://proxy.example"} {
		out, err := egress.FromURL(text)
		fmt.Println(out, errors.Is(err, socks.ErrURL), errors.Is(err, errors.ErrUnsupported))
	}
	// Output:
	// socks proxy.example:1080 false false
	// http proxy.example:3128 false false
	// <nil> true true
}
