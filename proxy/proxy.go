// Package proxy is the engine of hosier: a [Server] that takes clients of every SOCKS
// dialect and of HTTP CONNECT on one port, and serves them by a way out, the [Egress].
//
// A connection passes sniff, handshake, policy, egress, reply and relay, in this order;
// the method serve is that line. The package does not know which ways out, rules or logs
// there are: they come in by the fields of the Server.
package proxy

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"hosier/socks"
)

// Egress is a way out. Its methods may be called by many goroutines at once, return
// when the context ends, and look no name up on this side unless this host is the way
// out.
//
// An error that matches errors.ErrUnsupported says that the way out does not have the
// command. To choose the client's reply, an error wraps a [socks.Status]. Embed
// egress.Unsupported to be refused what is not written.
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

// Plain is an Egress that lets the server connect in its place; it costs less where the
// server has an event loop. One that has no such method, or hides it by wrapping, works
// just as well.
type Plain interface {
	Egress

	// Plain returns the address that Dial would connect to over TCP if it would do that
	// and nothing else for r, and how long it would try. It does not wait. The address is
	// not valid if Dial is to be called; an error is what Dial would return.
	Plain(r *socks.Request) (to netip.AddrPort, limit time.Duration, err error)
}

// Attempts is an Egress that may ask several others, one after the other. One that has
// no such method, or hides it by wrapping, has ConnectTimeout for all of them together.
type Attempts interface {
	Egress

	// Attempts returns how many it may ask. A request may take the policy's
	// ConnectTimeout for each.
	Attempts() int
}

// Session is the story of one connection: as far as it went for a [Policy] and in
// [Server.Sessions], and whole, once, for Closed.
type Session struct {
	ID       uint64 // counts from 1 in each Server
	Client   netip.AddrPort
	User     string // who the client has shown to be, by Prepare or Verify; "" if nobody asked
	Listener string
	Start    time.Time
	End      time.Time

	Request *socks.Request // nil if there was none
	Rule    string         // what Route says it decided by; "" if it says nothing
	Egress  Egress         // nil if policy did not come to one
	Status  socks.Status   // what the client was answered; counts only with a Request
	Up      int64          // payload bytes from the client to the target
	Down    int64          // payload bytes from the target to the client

	// How long each step took; 0 if it was not come to.
	Handshake time.Duration // from Start to the whole request
	Connect   time.Duration // for the way out to answer
	FirstByte time.Duration // from the reply to the first byte of the target

	// Err says why the connection failed, or how its relay ended if not by both sides.
	// It may name the target. [ErrPage] is a lost HTTP client that got the page.
	Err error
}

// ids numbers the sessions of a server.
type ids struct{ last atomic.Uint64 }

func (i *ids) next() uint64 { return i.last.Add(1) }
