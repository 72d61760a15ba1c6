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

	// Plain returns what Dial would do for r if that is little enough. It does not wait. An
	// error is what Dial would return. The zero Step means that Dial is to be called.
	Plain(r *socks.Request) (Step, error)
}

// Step is what an egress would do for a request, for a server to do itself.
type Step struct {
	To    netip.AddrPort // to connect there over TCP; not valid if Find is given
	Limit time.Duration  // of that attempt
	More  bool           // Dial may succeed where the attempt did not

	// Find looks the target up. It calls ready once, perhaps before it returns, from any
	// goroutine, with the step that follows, which has no Find. After cancel it is perhaps
	// not called. Nil: nothing has to be found.
	Find func(ready func(Step, error)) (cancel func())
}

// Attempts is an Egress that may ask several others, one after the other. One that has
// no such method, or hides it by wrapping, has ConnectTimeout for all of them together.
type Attempts interface {
	Egress

	// Attempts returns how many it may ask. A request may take the policy's
	// ConnectTimeout for each.
	Attempts() int
}
