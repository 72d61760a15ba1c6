package egress

import (
	"net/netip"
	"time"

	"hosier/socks"
)

// Plain is an [Egress] that lets the server connect in its place, which costs less where the
// server has an event loop. It is optional: one that has no such method, or hides it by
// wrapping, works just as well.
type Plain interface {
	Egress

	// Plain returns what Dial would do for r, or Resolve if that is the command, where one
	// connection or one answer is all. It does not wait. An error is what Dial would return.
	// The zero Step means that Dial, or Resolve, is to be called.
	Plain(r *socks.Request) (Step, error)
}

// Step is what an egress would do for a request, for a server to do itself. The zero Step is
// nothing.
type Step struct {
	To    netip.AddrPort // where to connect over TCP, or the answer of a RESOLVE; not valid if Find is set
	Limit time.Duration  // after which the attempt has failed; 0: none
	More  bool           // Dial may succeed where the attempt did not

	// Find resolves the target. It calls ready once, perhaps before it returns, from any
	// goroutine, with the step that follows, which has no Find, or with Dial's error. ready
	// must not wait. After cancel it is perhaps not called. Nil: nothing has to be found.
	Find func(ready func(Step, error)) (cancel func())
}

// Attempts is an [Egress] that may ask several others, one after the other, such as
// [Failover]. One that has no such method, or hides it by wrapping, has ConnectTimeout for all
// of them together.
type Attempts interface {
	Egress

	// Attempts returns how many it may ask. A request may take the policy's
	// ConnectTimeout for each.
	Attempts() int
}
