// Package egress has the ways out of a [hosier/proxy.Server]: this host's network
// ([Direct]), another SOCKS proxy ([SOCKS]) and an HTTP proxy ([HTTP]). Tor is in package
// [hosier/egress/tor].
//
// A way out gets the whole request. A name in it is looked up where the way out ends,
// so only Direct ever asks a DNS server. To write another one, embed [Unsupported] and
// add the methods that it can serve.
package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"hosier/socks"
)

// Egress is a way out. Its methods may be called by many goroutines at once, return
// when the context ends, and look no name up on this side unless this host is the way
// out.
//
// An error that matches errors.ErrUnsupported says that the way out does not have the
// command. To choose the client's reply, an error wraps a [socks.Status]. Embed
// [Unsupported] to refuse what is not written.
type Egress interface {
	// Dial connects to r.Addr. The connection is the server's to close. If it is a
	// *net.TCPConn as it stands, not wrapped, relaying it is cheap. The bound address is
	// told to the client; it is zero where there is none to tell.
	Dial(ctx context.Context, r *socks.Request) (c net.Conn, bound socks.Addr, err error)

	// Resolve returns one address of the name r.Addr.Name; of an IP, that IP.
	Resolve(ctx context.Context, r *socks.Request) (netip.Addr, error)

	// ResolvePTR returns the name of r.Addr.IP, without a dot at its end.
	ResolvePTR(ctx context.Context, r *socks.Request) (string, error)
}

// Unsupported refuses every request with an error that matches errors.ErrUnsupported.
// Embedded in a way out it stands for what that cannot do. Its zero value is ready,
// and safe for concurrent use.
type Unsupported struct{}

// Dial refuses.
func (Unsupported) Dial(_ context.Context, r *socks.Request) (net.Conn, socks.Addr, error) {
	return nil, socks.Addr{}, unsupported(r)
}

// Resolve refuses.
func (Unsupported) Resolve(_ context.Context, r *socks.Request) (netip.Addr, error) {
	return netip.Addr{}, unsupported(r)
}

// ResolvePTR refuses.
func (Unsupported) ResolvePTR(_ context.Context, r *socks.Request) (string, error) {
	return "", unsupported(r)
}

func unsupported(r *socks.Request) error {
	return fmt.Errorf("%v: this way out does not have it: %w", r.Command, errors.ErrUnsupported)
}

// refuseOnion is for the ways out that do not lead into Tor. A lookup of an onion name
// elsewhere fails, and tells a DNS server what its user visits (RFC 7686).
func refuseOnion(a socks.Addr) error {
	if !a.IsOnion() {
		return nil
	}
	if err := a.CheckOnion(); err != nil {
		return err
	}
	return errOnion
}

// errOnion is told apart from an answer of another proxy, which has the same status.
var errOnion = fmt.Errorf(".onion names need a way out that is Tor: %w", socks.HostUnreachable)
