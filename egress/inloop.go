package egress

import (
	"context"
	"net"
	"net/netip"
	"time"

	"hosier/socks"
)

// InLoop is an [Egress] that can dial in a server's event loop, which costs less than a
// goroutine: its conversation with an upstream is then one of many that a single thread holds.
// It is optional: one that has no such method, or hides it by wrapping, works just as well.
type InLoop interface {
	Egress

	// DialInLoop is Dial for a caller that the loop runs. All else in that loop stands still
	// while it waits for anything but connections of l.Connect, so it calls l.Leave before.
	DialInLoop(ctx context.Context, l Loop, r *socks.Request) (c net.Conn, bound socks.Addr, err error)
}

// Loop is the event loop that runs the caller of [InLoop]. It is of use to that goroutine, and
// until DialInLoop returns.
type Loop interface {
	// Connect connects over TCP. The loop runs others while this waits, and while Read and
	// Write of the connection do. It fails after limit, at the deadline of ctx, and when the
	// client is ended from outside. Only one connection of a request may be open at a time.
	Connect(ctx context.Context, to netip.AddrPort, limit time.Duration) (net.Conn, error)

	// Leave makes an ordinary goroutine of the caller, which may wait for anything. Connect
	// works as before, and so do connections.
	Leave()
}

// dialIn has e dial in the loop, or leaves the loop if e cannot. A nil l is none.
func dialIn(ctx context.Context, l Loop, e Egress, r *socks.Request) (net.Conn, socks.Addr, error) {
	if l != nil {
		if in, ok := e.(InLoop); ok {
			return in.DialInLoop(ctx, l, r)
		}
		l.Leave()
	}
	return e.Dial(ctx, r)
}

// DialUpstream connects to an upstream at host:port, if network is tcp, for an egress that may
// run in an event loop. It leaves that where it has to look the host up, and for a Unix socket. A
// nil l is none. It fails after limit, and with [ErrUnspecified] for 0.0.0.0/8 and ::.
func DialUpstream(ctx context.Context, l Loop, network, address string, limit time.Duration) (net.Conn, error) {
	if l != nil {
		to, err := netip.ParseAddrPort(address)
		ip := to.Addr().Unmap()
		if err == nil && network == "tcp" && ip.Zone() == "" && !isUnspecified(ip) {
			return l.Connect(ctx, netip.AddrPortFrom(ip, to.Port()), limit)
		}
		l.Leave()
	}
	dialer := net.Dialer{Timeout: limit, Control: RefuseUnspecified}
	return dialer.DialContext(ctx, network, address)
}
