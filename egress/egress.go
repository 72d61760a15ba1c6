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
