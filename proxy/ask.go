package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"hosier/egress"
	"hosier/internal/relay"
	"hosier/socks"
)

// reply is what an egress gave.
type reply struct {
	bound  socks.Addr // of a lookup the answer
	target net.Conn   // to be relayed; nil if nothing follows the reply
}

func (r reply) close() {
	if r.target != nil {
		r.target.Close()
	}
}

// grant calls Grant, and closes the target if that panics.
func (r reply) grant(p Pending) (client net.Conn, early []byte, err error) {
	returned := false
	defer func() {
		if !returned {
			r.close()
		}
	}()
	client, early, err = p.Grant(r.bound)
	returned = true
	return client, early, err
}

// ask is where a command meets the egress of its route. In an event loop it tries the cheapest
// way first: what the egress describes as a step ([egress.Plain]: one connection, or one answer)
// the loop does itself; a conversation with an upstream ([egress.InLoop]) takes place in the loop;
// for all else the loop is left, and Dial, Resolve or ResolvePTR called on a goroutine.
func (p *Policy) ask(ctx context.Context, c *conn) (got reply, err error) {
	x, start := c.x, time.Now()
	ses, client := &x.session, x.client
	until := start.Add(p.askTimeout(x.route.Egress))
	if end := ses.Start.Add(p.TotalTimeout); p.TotalTimeout > 0 && end.Before(until) {
		until = end
	}
	defer func() { ses.Connect = time.Since(start) }()
	if client != nil && relay.InLoop(client) {
		if got, done, err := x.route.askInLoop(client, ses.Request, until); done {
			return got, err
		}
		if !x.route.dialsInLoop(ses.Request) {
			relay.Leave(client) // what follows may wait for anything
		}
	}
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	c.setCancel(cancel)
	defer c.setCancel(nil)
	if x.route.Before != nil {
		if err := x.route.Before(ctx); err != nil {
			return reply{}, err
		}
	}
	return x.route.ask(ctx, client, ses.Request)
}

// askTimeout returns how long out may take: the connect timeout for each of its attempts.
func (p *Policy) askTimeout(out egress.Egress) time.Duration {
	attempts := time.Duration(1)
	if many, ok := out.(egress.Attempts); ok {
		attempts = time.Duration(max(many.Attempts(), 1))
	}
	return min(p.connectTimeout(), longest/attempts) * attempts
}

// longest is a time that can be added to any other.
const longest = 100 * 365 * 24 * time.Hour

// ask asks the egress, for a client that is nil where a Pending has it.
func (t *Route) ask(ctx context.Context, client net.Conn, r *socks.Request) (got reply, err error) {
	switch r.Command {
	case socks.Connect:
		if client != nil && relay.InLoop(client) { // for which dialsInLoop was asked
			got.target, got.bound, err = t.Egress.(egress.InLoop).DialInLoop(ctx, loop{client}, r)
		} else {
			got.target, got.bound, err = t.Egress.Dial(ctx, r)
		}
		if err == nil && t.Wrap != nil {
			got.target = t.wrap(got.target)
		}
	case socks.Resolve:
		if got.bound.IP, err = t.Egress.Resolve(ctx, r); err == nil {
			err = t.resolved(r, got.bound)
		}
	case socks.ResolvePTR:
		got.bound.Name, err = t.Egress.ResolvePTR(ctx, r)
	default:
		err = fmt.Errorf("%v: %w", r.Command, errors.ErrUnsupported)
	}
	return got, err
}

// resolved judges the answer of a RESOLVE, which the client gets next.
func (t *Route) resolved(r *socks.Request, answer socks.Addr) error {
	if r.Version == socks.V4 && !answer.IP.Unmap().Is4() {
		return fmt.Errorf("name has no IPv4 address: %w", socks.HostUnreachable)
	}
	if t.Resolved != nil {
		t.Resolved(answer)
	}
	return nil
}

// wrap calls Wrap, and closes what it is given if that panics.
func (t *Route) wrap(target net.Conn) net.Conn {
	returned := false
	defer func() {
		if !returned {
			target.Close()
		}
	}()
	wrapped := t.Wrap(target)
	returned = true
	return wrapped
}

// dialsInLoop reports whether the egress can dial for r in an event loop.
func (t *Route) dialsInLoop(r *socks.Request) bool {
	_, ok := t.Egress.(egress.InLoop)
	return ok && r.Command == socks.Connect && t.Before == nil && t.Wrap == nil
}

// loop is the [egress.Loop] of a client.
type loop struct{ client net.Conn }

func (l loop) Connect(ctx context.Context, to netip.AddrPort, limit time.Duration) (net.Conn, error) {
	if !relay.InLoop(l.client) {
		dialer := net.Dialer{Timeout: limit}
		return dialer.DialContext(ctx, "tcp", to.String())
	}
	until := time.Now().Add(limit)
	if end, ok := ctx.Deadline(); ok && end.Before(until) {
		until = end
	}
	c, _, err := relay.Connect(l.client, to, until)
	return c, err
}

func (l loop) Leave() { relay.Leave(l.client) }

// askInLoop does what ask would where that is but to look a name up and to connect, without a
// thread to wake.
func (t *Route) askInLoop(client net.Conn, r *socks.Request, until time.Time) (got reply, done bool, err error) {
	plain, ok := t.Egress.(egress.Plain)
	if !ok || t.Before != nil || t.Wrap != nil && r.Command == socks.Connect {
		return got, false, nil
	}
	step, err := plain.Plain(r)
	if err == nil && step.Find != nil {
		step, err = find(client, step, until)
	}
	if err != nil {
		return got, true, err
	}
	switch r.Command {
	case socks.Connect:
		return connectInLoop(client, step, until)
	case socks.Resolve:
		if done = step.Answer.IP.IsValid(); done {
			err = t.resolved(r, step.Answer)
		}
	case socks.ResolvePTR:
		done = step.Answer.Name != ""
	}
	return reply{bound: step.Answer}, done, err
}

// connectInLoop takes the step that Dial would.
func connectInLoop(client net.Conn, step egress.Step, until time.Time) (got reply, done bool, err error) {
	if !step.To.IsValid() {
		return got, false, nil
	}
	target, local, err := relay.Connect(client, step.To, limited(step, until))
	if err != nil {
		return got, !step.More, err
	}
	return reply{bound: socks.AddrFrom(local), target: target}, true, nil
}

// find waits in the event loop for the step that follows.
func find(client net.Conn, s egress.Step, until time.Time) (egress.Step, error) {
	var (
		found  egress.Step // not to be looked at before ready, nor when the wait has failed
		why    error
		cancel func()
	)
	err := relay.Await(client, limited(s, until), func(ready func()) {
		cancel = s.Find(func(next egress.Step, err error) {
			found, why = next, err
			ready()
		})
	})
	if err != nil {
		cancel()
		return egress.Step{}, fmt.Errorf("lookup: %w", err)
	}
	return found, why
}

// limited returns when the step is over at the latest.
func limited(s egress.Step, until time.Time) time.Time {
	if end := time.Now().Add(s.Limit); s.Limit > 0 && end.Before(until) {
		return end
	}
	return until
}
