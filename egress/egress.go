// Package egress provides the egresses of a [hosier/proxy.Server], through which requests
// leave: this host's network ([Direct]), another SOCKS proxy ([SOCKS]), an HTTP proxy ([HTTP]),
// or the first of several that works ([Failover]). [FromURL] makes one of a proxy's URL. Tor is
// in package [hosier/egress/tor].
//
// An egress gets the whole request. A name in it is resolved where the egress ends, so that
// only Direct ever asks a DNS server. To write another one, embed [Unsupported] and add the
// methods that it can serve.
package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"hosier/socks"
)

// Egress serves the requests of clients: it connects, and resolves names. Its methods may be
// called by many goroutines at once, return when the context ends, and look no name up on this
// side unless this host is where requests leave. They must not change the request or keep it.
//
// The error decides the client's reply. One that wraps a [socks.Status] is that code; one that
// matches errors.ErrUnsupported means that the egress does not have the command (07); a
// *[socks.ProxyError] is a failure of an upstream (01); what package net returns is mapped as
// RFC 1928 section 6 has it. Embed [Unsupported] to refuse what is not written.
//
// A server uses the methods of [Plain] and [Attempts] where an egress has them.
type Egress interface {
	// Dial connects to r.Addr for a CONNECT. The connection is the server's to close; it
	// must have CloseWrite() error, as a *net.TCPConn has, if it can be closed one way. A bare
	// *net.TCPConn, not wrapped, is cheap to relay. The bound address goes into the client's
	// reply; the zero Addr stands for none.
	Dial(ctx context.Context, r *socks.Request) (c net.Conn, bound socks.Addr, err error)

	// Resolve returns one address of the name r.Addr.Name; of an IP, that IP. A client of
	// version socks.V4 can be given IPv4 alone.
	Resolve(ctx context.Context, r *socks.Request) (netip.Addr, error)

	// ResolvePTR returns the name of r.Addr.IP, without a dot at its end.
	ResolvePTR(ctx context.Context, r *socks.Request) (string, error)
}

// Unsupported is an [Egress] that refuses every request with an error that matches
// errors.ErrUnsupported. Embedded in another it stands for what that cannot do. The zero
// value is ready, and safe for concurrent use.
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
	return fmt.Errorf("%v: this egress does not support it: %w", r.Command, errors.ErrUnsupported)
}

// refuseOnion is for the egresses that do not lead into Tor. A lookup of an onion name
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
var errOnion = fmt.Errorf(".onion names need an egress through Tor: %w", socks.HostUnreachable)
