package egress_test

import (
	"context"
	"log"
	"net"

	"hosier/egress"
	"hosier/egress/tor"
	"hosier/proxy"
	"hosier/socks"
)

// Onion names go to Tor, the company's names to its proxy, and nothing else anywhere.
func Example() {
	onions := &tor.Pool{Members: []tor.Member{{SOCKS: "127.0.0.1:9050"}}}
	office := &egress.HTTP{Proxy: "proxy.corp.example:3128"}

	srv := &proxy.Server{
		Policy: proxy.Policy{
			Route: func(_ context.Context, ses *proxy.Session) (egress.Egress, error) {
				target := ses.Request.Addr
				switch {
				case target.IsOnion():
					return onions, nil
				case target.Name == "wiki.corp.example":
					return office, nil
				}
				return nil, socks.NotAllowed
			},
		},
	}
	l, err := net.Listen("tcp", "127.0.0.1:1080")
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(srv.Serve(l))
}
