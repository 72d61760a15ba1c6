// Package proxy is the engine of hosier: a [Server] that takes clients of every SOCKS
// dialect and of HTTP CONNECT on one port, and of any other inbound, and serves them by the
// [egress.Egress] to which its [Policy] routes each request.
//
// A client passes sniff, handshake, policy, egress, answer and relay, in this order: the first
// two make a [Pending] of it, in serveMixed for those of the port and elsewhere for those of
// [Server.ServeRequest], and the method answer is the rest of the line. The package does not
// know which egresses, rules or logs there are: they come in by the fields of the Server.
package proxy

import (
	"net/netip"
	"sync/atomic"
	"time"

	"hosier/socks"
)

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
	Rule    string         // what decided, as the Route has it; "" if nothing is said
	Egress  string         // the name of its Route; "" if policy did not come to one
	Status  socks.Status   // what the client was answered; counts only with a Request
	Up      int64          // payload bytes from the client to the target
	Down    int64          // payload bytes from the target to the client

	// How long each step took; 0 if it was not come to.
	Handshake time.Duration // from Start to the whole request
	Connect   time.Duration // for the egress to answer
	FirstByte time.Duration // from the reply to the first byte of the target

	// Err says why the connection failed, or how its relay ended if not by both sides.
	// It may name the target. [ErrPage] is a lost HTTP client that got the page.
	Err error
}

// ids numbers the sessions of a server.
type ids struct{ last atomic.Uint64 }

func (i *ids) next() uint64 { return i.last.Add(1) }
