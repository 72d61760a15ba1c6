package egress

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"

	"hosier/socks"
)

// SOCKS is the [Egress] through another SOCKS proxy. Names travel there as they are; .onion
// names are refused, for those there is package egress/tor. What the client said about
// itself stays here: the proxy gets the Auth of the Dialer.
// A SOCKS may be used by many goroutines at once, and must not change meanwhile.
type SOCKS struct {
	Dialer socks.Dialer

	// Connected judges the connection to the proxy before anything is sent on it: its error
	// is a *socks.ProxyError. It may not keep the connection, and is not asked where the
	// Dialer has a Forward. Nil takes all.
	Connected func(net.Conn) error

	silence silence
}

// Dial connects to the target through the proxy. The bound address is what the proxy
// replied. Errors are those of [socks.Dialer.Do]; a proxy that leaves several requests in
// a row without an answer is a *[socks.ProxyError] as well.
func (s *SOCKS) Dial(ctx context.Context, r *socks.Request) (c net.Conn, bound socks.Addr, err error) {
	return s.DialInLoop(ctx, nil, r)
}

// DialInLoop implements the interface [InLoop]. It leaves the loop if the Dialer has a Forward.
func (s *SOCKS) DialInLoop(ctx context.Context, l Loop, r *socks.Request) (c net.Conn, bound socks.Addr, err error) {
	if err := refuseOnion(r.Addr); err != nil {
		return nil, socks.Addr{}, err
	}
	err = s.watch(ctx, r, func(ctx context.Context) error {
		c, bound, err = s.dialer(l).Do(ctx, r)
		return err
	})
	return c, bound, err
}

func (s *SOCKS) watch(ctx context.Context, r *socks.Request, ask func(context.Context) error) error {
	return s.silence.watch(ctx, s.Dialer.Proxy, r, s.Dialer.Version != socks.V4, ask)
}

// dialer is the Dialer with a limit of time for reaching the proxy.
func (s *SOCKS) dialer(l Loop) *socks.Dialer {
	d := s.Dialer
	switch {
	case d.Forward == nil:
		d.Forward = func(ctx context.Context, network, address string) (net.Conn, error) {
			return dialProxy(ctx, l, network, address, s.Connected)
		}
	case l != nil:
		l.Leave()
	}
	return &d
}

// dialProxy connects to a proxy, and has judge look at the connection if it is not nil.
func dialProxy(ctx context.Context, l Loop, network, address string, judge func(net.Conn) error) (net.Conn, error) {
	c, err := DialUpstream(ctx, l, network, address, proxyTimeout)
	if err != nil || judge == nil {
		return c, err
	}
	if err := judge(c); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// RefuseUnspecified is a Control for a [net.Dialer] that connects to an upstream by name. It
// keeps the connection from 0.0.0.0/8 and ::, with [ErrUnspecified].
func RefuseUnspecified(_, address string, _ syscall.RawConn) error {
	if ap, err := netip.ParseAddrPort(address); err == nil && isUnspecified(ap.Addr().Unmap()) {
		return ErrUnspecified
	}
	return nil
}

// Resolve passes RESOLVE on. The error matches errors.ErrUnsupported if the proxy does
// not know it.
func (s *SOCKS) Resolve(ctx context.Context, r *socks.Request) (ip netip.Addr, err error) {
	if err := refuseOnion(r.Addr); err != nil {
		return netip.Addr{}, err
	}
	if r.Addr.IP.IsValid() {
		return r.Addr.IP, nil
	}
	err = s.watch(ctx, r, func(ctx context.Context) error {
		ip, err = s.dialer(nil).Resolve(ctx, r.Addr.Name)
		return err
	})
	return ip, hungUp(r, err)
}

// ResolvePTR passes RESOLVE_PTR on. Its errors are those of Resolve.
func (s *SOCKS) ResolvePTR(ctx context.Context, r *socks.Request) (name string, err error) {
	err = s.watch(ctx, r, func(ctx context.Context) error {
		name, err = s.dialer(nil).ResolvePTR(ctx, r.Addr.IP)
		return err
	})
	return name, hungUp(r, err)
}

func (s *SOCKS) String() string { return "socks " + s.Dialer.Proxy }

// hungUp takes a proxy that got a request and hangs up without a reply for one that does
// not know the command: Dante and others answer what they do not know in this way.
func hungUp(r *socks.Request, err error) error {
	proxy := (*socks.ProxyError)(nil)
	if errors.As(err, &proxy) && proxy.Asked && (errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)) {
		return &hungUpError{r.Command, proxy}
	}
	return err
}

// hungUpError is [errors.ErrUnsupported] to everybody but a Failover, which asks the next
// member. It does not wrap the ProxyError as such, since that would be code 01.
type hungUpError struct {
	command socks.Command
	proxy   *socks.ProxyError
}

func (e *hungUpError) Error() string { return e.command.String() + ": " + e.proxy.Error() }

func (e *hungUpError) Unwrap() []error { return []error{errors.ErrUnsupported, e.proxy.Err} }
