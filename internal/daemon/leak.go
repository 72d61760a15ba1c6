package daemon

import (
	"context"
	"net"

	"hosier/egress"
	"hosier/internal/leaks"
	"hosier/proxy"
	"hosier/socks"
)

// judgeLeak judges a request that may carry an address where a name was possible.
func (d *Daemon) judgeLeak(m leaks.Mode, ses *proxy.Session) (leaks.Verdict, error) {
	verdict, err := d.leaks.Judge(m, ses.Request)
	if verdict.Unsafe {
		d.telemetry.Unsafe(ses)
	}
	return verdict, err
}

// lookingEgress looks for the program that asks before it is answered. That takes a
// while, which policy must not.
type lookingEgress struct {
	egress.Egress
	leaks   *leaks.Watch
	verdict leaks.Verdict
	refusal error // of the request, if it is to be refused once the program is known
}

func (e *lookingEgress) Dial(ctx context.Context, r *socks.Request) (net.Conn, socks.Addr, error) {
	e.leaks.Look(ctx, e.verdict, r, 0)
	if e.refusal != nil {
		return nil, socks.Addr{}, e.refusal
	}
	return e.Egress.Dial(ctx, r)
}
