package egress

import (
	"net/netip"
	"time"

	"hosier/socks"
)

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
