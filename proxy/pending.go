package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"hosier/internal/relay"
	"hosier/socks"
)

// Pending is a client that waits for the answer to its request: what an inbound makes of
// whatever its clients speak, for [Server.ServeRequest]. The server calls Request first, and
// then one of Grant and Refuse, once, from the same goroutine. Both may wait, but each for a
// bounded time: nobody else ends them.
type Pending interface {
	// Request returns what the client wants, with Client, Listener and User filled in. The
	// server sets Member and Allow in it.
	Request() *socks.Request

	// Grant answers that the request has succeeded. To a CONNECT it returns the connection to
	// relay, which the server closes from then on, and what the client has sent already. It
	// must have CloseWrite() error if it can be closed one way. To a lookup the answer is
	// bound, and it returns no connection. With an error it has ended the exchange.
	Grant(bound socks.Addr) (client net.Conn, early []byte, err error)

	// Refuse answers that the request has failed, so that the answer arrives, and ends the
	// exchange. The cause is for an answer that can say more than a code; it may name the
	// target.
	Refuse(status socks.Status, cause error)
}

// ServeRequest serves the request of a client that is not one of Serve: policy, limits,
// egress, relay and Closed are the same. It returns when the request was answered; a relay
// goes on after it. The context ends the question to the egress, not the relay. Of the policy
// Admit, Route and the timeouts count; who the client is, the inbound has to know.
func (s *Server) ServeRequest(ctx context.Context, p Pending) {
	r := p.Request()
	c, _ := s.begin(nil, Session{Client: r.Client, User: r.User, Listener: r.Listener})
	if c == nil {
		p.Refuse(socks.GeneralFailure, ErrServerClosed)
		return
	}
	c.x.pending = p
	s.guard(c, func() {
		ses := &c.x.session
		policy := s.policy(ses)
		if policy == nil {
			s.answer(ctx, c, new(Policy), p, errNoPolicy)
			return
		}
		err := s.admit(policy, &c.x.place, ses)
		if err != nil {
			s.refuse(&c.x.place, ses, true)
		}
		s.answer(ctx, c, policy, p, err)
	})
}

// answer serves the request of p, or refuses it with err: the rest of the path. The relay is
// handed over, so a session may go on when answer has returned; it ends in finish.
func (s *Server) answer(ctx context.Context, c *conn, policy *Policy, p Pending, err error) {
	x, r := c.x, p.Request()
	ses := &x.session
	ses.Request, ses.Handshake = r, time.Since(ses.Start)
	c.publish()
	var got reply
	if err == nil {
		if x.route, err = policy.route(ctx, ses); err == nil { // policy
			s.guardAllow(ses)
			c.publish()
			got, err = policy.ask(ctx, c) // egress
		}
	}
	ses.Status = policy.statusFor(r, err)
	x.pending = nil
	if err != nil {
		p.Refuse(ses.Status, err) // the answer, exactly once
		c.finish(ses, err)
		return
	}
	if got.target != nil {
		c.setGranted()
	}
	client, early, err := got.grant(p) // or this one
	if err != nil {
		err = fmt.Errorf("reply: %w: %w", ErrClientLeft, err)
	}
	if err != nil || client == nil || got.target == nil { // a RESOLVE ends here, too
		got.close()
		c.finish(ses, err)
		return
	}
	c.startRelay(relay.Pair{Client: client, Server: got.target, ToServer: early, Idle: policy.IdleTimeout}, policy.TotalTimeout)
}

// admit judges the client once it is known, and counts it.
func (s *Server) admit(policy *Policy, p *place, ses *Session) error {
	if policy.Admit != nil {
		if err := policy.Admit(ses); err != nil {
			return err
		}
	}
	return s.share(p, ses)
}

// ErrClientLeft says that the connection to a client broke after its request was granted:
// it may have what it wanted.
var ErrClientLeft = errors.New("proxy: client broke the connection off")

var errNoPolicy = fmt.Errorf("there is no policy for this connection: %w", socks.NotAllowed)

func (s *Server) policy(ses *Session) *Policy {
	if s.PolicyFor != nil {
		return s.PolicyFor(ses)
	}
	return &s.Policy
}
