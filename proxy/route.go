package proxy

import (
	"cmp"
	"context"
	"fmt"
	"net"

	"hosier/egress"
	"hosier/socks"
)

// Route is where a request goes: what [Policy.Route] returns. Only Egress is required.
type Route struct {
	// Egress serves the request. The server uses the methods of [egress.Plain] and
	// [egress.Attempts] where it has them.
	Egress egress.Egress

	Name string // of the egress, for logs and metrics: Egress of the session; "unnamed" if empty
	Rule string // what decided: Rule of the session, beside an error too

	// Before is called before the egress is, and may wait. An error refuses the request. Nil is
	// not called. It ends with the context, at the latest when ConnectTimeout is over.
	Before func(context.Context) error

	// Wrap returns the connection to use in place of the one that the egress has dialled, as
	// one that is slower. It needs CloseWrite() error to be closed one way. Nil wraps nothing.
	Wrap func(net.Conn) net.Conn

	// Resolved is called with the answer of a RESOLVE before the client gets it. It must not
	// wait. Nil is not called.
	Resolved func(socks.Addr)

	// Done is called once, at the end of the session and before Closed; it must not wait. Nil
	// is not called.
	Done func(*Session)
}

// route asks the policy where the request of the session goes.
func (p *Policy) route(ctx context.Context, ses *Session) (Route, error) {
	if p.Route == nil {
		return Route{}, fmt.Errorf("server has no Route: %w", socks.NotAllowed)
	}
	r, err := p.Route(ctx, ses)
	ses.Rule = cmp.Or(r.Rule, ses.Rule)
	switch {
	case err != nil:
		return Route{}, err
	case r.Egress == nil:
		return r, fmt.Errorf("policy has no egress for this request: %w", socks.NotAllowed)
	}
	ses.Egress = cmp.Or(r.Name, "unnamed")
	return r, nil
}
