package tor

import (
	"context"
	"net"
	"net/netip"

	"hosier/egress"
	"hosier/socks"
)

// Isolated is a [Pool] seen with another isolation than the pool's own: the same tors, and
// circuits that are shared with whoever has the same isolation key.
type Isolated struct {
	Pool      *Pool
	Isolation Isolation // in place of Pool.Isolation
}

// Dial is [Pool.Dial].
func (v *Isolated) Dial(ctx context.Context, r *socks.Request) (net.Conn, socks.Addr, error) {
	return v.Pool.dial(ctx, nil, r, v.Isolation)
}

// DialInLoop is [Pool.DialInLoop].
func (v *Isolated) DialInLoop(ctx context.Context, l egress.Loop, r *socks.Request) (net.Conn, socks.Addr, error) {
	return v.Pool.dial(ctx, l, r, v.Isolation)
}

// Resolve is [Pool.Resolve].
func (v *Isolated) Resolve(ctx context.Context, r *socks.Request) (netip.Addr, error) {
	return v.Pool.resolve(ctx, r, v.Isolation)
}

// ResolvePTR is [Pool.ResolvePTR].
func (v *Isolated) ResolvePTR(ctx context.Context, r *socks.Request) (string, error) {
	return v.Pool.resolvePTR(ctx, r, v.Isolation)
}

func (v *Isolated) String() string { return v.Pool.String() }

// Member tells, without asking it for anything, which member a request has for its own as
// long as that can serve, and what keeps it apart from others as a key without meaning.
func (v *Isolated) Member(r *socks.Request) (name, key string) {
	v.Pool.init()
	key = v.Isolation.token(v.Pool.key, r)
	return ranked(v.Pool.all, key)[0].String(), key
}
