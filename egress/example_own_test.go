package egress_test

import (
	"context"
	"errors"
	"fmt"
	"net"

	"hosier/egress"
	"hosier/socks"
)

// oneHost is an egress of one's own: every target is the host behind it, and names are not
// looked up. RESOLVE and RESOLVE_PTR are refused, since Unsupported is embedded.
type oneHost struct {
	egress.Unsupported
	address string
}

func (h oneHost) Dial(ctx context.Context, r *socks.Request) (net.Conn, socks.Addr, error) {
	if r.Addr.Port != 80 {
		return nil, socks.Addr{}, fmt.Errorf("port %d: %w", r.Addr.Port, socks.NotAllowed) // reply 02
	}
	c, err := new(net.Dialer).DialContext(ctx, "tcp", h.address)
	return c, socks.Addr{}, err // there is no bound address to report
}

func ExampleEgress() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	var out egress.Egress = oneHost{address: l.Addr().String()}
	ask := func(cmd socks.Command, port uint16) error {
		r := &socks.Request{Version: socks.V5, Command: cmd, Addr: socks.Addr{Name: "www.example", Port: port}}
		if cmd == socks.Resolve {
			_, err := out.Resolve(context.Background(), r)
			return err
		}
		c, _, err := out.Dial(context.Background(), r)
		if err == nil {
			c.Close()
		}
		return err
	}
	fmt.Println(ask(socks.Connect, 80))
	fmt.Println(errors.Is(ask(socks.Connect, 25), socks.NotAllowed))
	fmt.Println(errors.Is(ask(socks.Resolve, 0), errors.ErrUnsupported))
	// Output:
	// <nil>
	// true
	// true
}
