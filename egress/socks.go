package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"

	"hosier/socks"
)

// SOCKS is the way out through another SOCKS proxy. Names travel there as they are; .onion
// names are refused, for those there is package egress/tor. What the client said about
// itself stays here: the proxy gets the Auth of the Dialer.
// A SOCKS may be used by many goroutines at once, and must not change meanwhile.
type SOCKS struct {
	Dialer socks.Dialer
}

// Dial connects to the target through the proxy. The bound address is what the proxy told.
func (s *SOCKS) Dial(ctx context.Context, r *socks.Request) (net.Conn, socks.Addr, error) {
	if err := refuseOnion(r.Addr); err != nil {
		return nil, socks.Addr{}, err
	}
	return s.dialer().Do(ctx, r)
}

// dialer is the Dialer with a limit of time for reaching the proxy.
func (s *SOCKS) dialer() *socks.Dialer {
	d := s.Dialer
	if d.Forward == nil {
		d.Forward = (&net.Dialer{Timeout: proxyTimeout}).DialContext
	}
	return &d
}

// Resolve passes RESOLVE on. The error matches errors.ErrUnsupported if the proxy does
// not know it.
func (s *SOCKS) Resolve(ctx context.Context, r *socks.Request) (netip.Addr, error) {
	if err := refuseOnion(r.Addr); err != nil {
		return netip.Addr{}, err
	}
	if r.Addr.IP.IsValid() {
		return r.Addr.IP, nil
	}
	ip, err := s.dialer().Resolve(ctx, r.Addr.Name)
	return ip, hungUp(r, err)
}

// ResolvePTR passes RESOLVE_PTR on. Its errors are those of Resolve.
func (s *SOCKS) ResolvePTR(ctx context.Context, r *socks.Request) (string, error) {
	name, err := s.dialer().ResolvePTR(ctx, r.Addr.IP)
	return name, hungUp(r, err)
}

func (s *SOCKS) String() string { return "socks " + s.Dialer.Proxy }

// hungUp takes a proxy that hangs up without a reply for one that does not know the
// command: Dante and others answer what they do not know in this way.
func hungUp(r *socks.Request, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) {
		return fmt.Errorf("%v: %w: %v", r.Command, errors.ErrUnsupported, err)
	}
	return err
}
