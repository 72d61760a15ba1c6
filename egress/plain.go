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

	// Plain returns what Dial would do for r, or Resolve or ResolvePTR if that is the command,
	// where one connection or one answer is all. It does not wait. An error is what that
	// method would return. The zero Step means that the method is to be called.
	Plain(r *socks.Request) (Step, error)
}

// Step is what an egress would do for a request, for a server to do itself. The zero Step is
// nothing.
type Step struct {
	To    netip.AddrPort // where to connect over TCP; not valid if Find is set
	Limit time.Duration  // after which the attempt, or Find, has failed; 0: none
	More  bool           // Dial may succeed where the attempt did not

	Answer socks.Addr // of a lookup: the IP of a RESOLVE, the Name of a RESOLVE_PTR

	// Find resolves the target, or answers the lookup. It calls ready once, perhaps before it returns, from any
	// goroutine, with the step that follows, which has no Find, or with the method's error. ready
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
