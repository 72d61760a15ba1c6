package tor_test

import (
	"context"
	"log"
	"log/slog"
	"net"

	"hosier/egress/tor"
	"hosier/proxy"
)

// Two tors that hosier runs, and clients that do not even share a circuit with themselves
// when they visit another host.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel() // ends the tors
	members, err := tor.Spawn(ctx, "tor", "/var/lib/gateway", 2, "")
	if err != nil {
		log.Fatal(err)
	}
	pool := &tor.Pool{
		Members:   members,
		Isolation: tor.Isolation{Destination: true},
		Log:       slog.Default(),
	}
	go pool.Run(ctx)

	srv := &proxy.Server{
		Policy: proxy.Policy{
			ExtendedErrors: true,
			Route:          func(context.Context, *proxy.Session) (proxy.Route, error) { return proxy.Route{Egress: pool}, nil },
		},
	}
	l, err := net.Listen("tcp", "127.0.0.1:1080")
	if err != nil {
		log.Fatal(err)
	}
	log.Print(srv.Serve(l))
}
