package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"hosier/egress"
	"hosier/internal/relay"
	"hosier/socks"
)

const (
	replyTimeout  = 10 * time.Second
	hangUpTimeout = time.Second
	hangUpBytes   = 256 << 10
)

// serve is the path of one connection, whatever becomes of the code that the server was
// given. The relay is handed over, so a session may go on when serve has returned; it ends
// in finish.
func (s *Server) serve(ctx context.Context, t *tracked) {
	returned := false
	defer func() {
		if !returned {
			t.abandon(recover())
		}
	}()
	s.converse(ctx, t)
	returned = true
}

func (s *Server) converse(ctx context.Context, t *tracked) {
	talk := t.talk
	ses := &talk.session
	p := s.policy(ses)
	if p == nil {
		talk.conn.Close()
		t.finish(ses, errNoPolicy)
		return
	}
	c, req, early, err := p.negotiate(ctx, t, ses) // sniff, handshake
	if req == nil {
		s.hangUp(c)
		t.finish(ses, err)
		return
	}
	ses.Request, ses.Handshake, talk.owed = req, time.Since(ses.Start), p
	t.show()
	var a answer
	if err == nil {
		if ses.Egress, err = p.route(ctx, ses); err == nil { // policy
			t.show()
			a, err = p.ask(ctx, t, ses, c) // egress
		}
	}
	ses.Status = p.told(req, err)
	talk.owed = nil
	if a.conn != nil && err == nil {
		t.grant()
	}
	c.SetDeadline(time.Now().Add(replyTimeout))
	_, werr := c.Write(p.appendReply(talk.reply[:0], req, ses.Status, a.bound, err)) // reply, exactly once
	if werr != nil && err == nil {
		err = fmt.Errorf("reply: %w: %w", ErrClientLeft, werr)
	}
	if a.conn == nil || err != nil { // a RESOLVE ends here, too
		a.close()
		s.hangUp(c)
		t.finish(ses, err)
		return
	}
	t.stand(ses)
	t.limit(p.TotalTimeout)
	t.handOver(s.relays.Start(relay.Pair{Client: c, Server: a.conn, ToServer: early, Idle: p.IdleTimeout, Done: t.relayed})) // relay
}

// ErrClientLeft says that the connection to a client broke after its request was granted:
// it may have what it wanted.
var ErrClientLeft = errors.New("proxy: client broke the connection off")

var errNoPolicy = errors.New("there is no policy for this connection")

func (s *Server) policy(ses *Session) *Policy {
	if s.PolicyFor != nil {
		return s.PolicyFor(ses)
	}
	return &s.Policy
}

// route asks the policy for a way out.
func (p *Policy) route(ctx context.Context, ses *Session) (egress.Egress, error) {
	if p.Route == nil {
		return nil, fmt.Errorf("server has no Route: %w", socks.NotAllowed)
	}
	out, err := p.Route(ctx, ses)
	if err == nil && out == nil {
		err = fmt.Errorf("no way out for this request: %w", socks.NotAllowed)
	}
	return out, err
}

// answer is what a way out gave.
type answer struct {
	bound socks.Addr
	conn  net.Conn // to be relayed; nil if nothing follows the reply
}

func (a answer) close() {
	if a.conn != nil {
		a.conn.Close()
	}
}

// ask is where a command meets a way out.
func (p *Policy) ask(ctx context.Context, t *tracked, ses *Session, c net.Conn) (a answer, err error) {
	out, r, start := ses.Egress, ses.Request, time.Now()
	until := start.Add(p.connectTimeout() * attempts(out))
	if end := ses.Start.Add(p.TotalTimeout); p.TotalTimeout > 0 && end.Before(until) {
		until = end
	}
	defer func() { ses.Connect = time.Since(start) }()
	if relay.InLoop(c) {
		if a, done, err := askInLoop(c, out, r, until); done {
			return a, err
		}
		relay.Leave(c) // what follows may wait for anything
	}
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	t.asking(cancel)
	defer t.asking(nil)
	switch r.Command {
	case socks.Connect:
		a.conn, a.bound, err = out.Dial(ctx, r)
	case socks.Resolve:
		a.bound.IP, err = out.Resolve(ctx, r)
		if err == nil && r.Version == socks.V4 && !a.bound.IP.Unmap().Is4() {
			err = fmt.Errorf("name has no IPv4 address: %w", socks.HostUnreachable)
		}
	case socks.ResolvePTR:
		a.bound.Name, err = out.ResolvePTR(ctx, r)
	default:
		err = fmt.Errorf("%v: %w", r.Command, errors.ErrUnsupported)
	}
	return a, err
}

// attempts is how often out may need the connect timeout.
func attempts(out egress.Egress) time.Duration {
	if many, ok := out.(egress.Attempts); ok {
		return time.Duration(max(many.Attempts(), 1))
	}
	return 1
}

// askInLoop does what Dial would where that is but to look a name up and to connect,
// without a thread to wake.
func askInLoop(c net.Conn, out egress.Egress, r *socks.Request, until time.Time) (a answer, done bool, err error) {
	plain, ok := out.(egress.Plain)
	if !ok || r.Command != socks.Connect {
		return a, false, nil
	}
	step, err := plain.Plain(r)
	if err == nil && step.Find != nil {
		step, err = find(c, step, until)
	}
	if err != nil || !step.To.IsValid() {
		return a, err != nil, err
	}
	if end := time.Now().Add(step.Limit); step.Limit > 0 && end.Before(until) {
		until = end
	}
	conn, local, err := relay.Connect(c, step.To, until)
	if err != nil {
		return a, !step.More, err
	}
	return answer{conn: conn, bound: socks.AddrFrom(local)}, true, nil
}

// find waits in the event loop for the step that follows.
func find(c net.Conn, s egress.Step, until time.Time) (egress.Step, error) {
	var (
		found  egress.Step // not to be looked at before ready, nor when the wait has failed
		why    error
		cancel func()
	)
	err := relay.Await(c, until, func(ready func()) {
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

func (p *Policy) appendReply(b []byte, r *socks.Request, s socks.Status, bound socks.Addr, err error) []byte {
	if r.Version == socks.HTTP {
		return p.appendHTTPReply(b, r, s, err)
	}
	return r.AppendReply(b, s, bound)
}

// relayed is told the end of the relay.
func (t *tracked) relayed(res relay.Result) {
	ses, replied := t.standing.session()
	ses.Up, ses.Down = res.Up, res.Down
	if !res.First.IsZero() {
		ses.FirstByte = res.First.Sub(ses.Start) - replied
	}
	err := t.server.ofPanic(ses, res.Err)
	if relay.IsOfClient(err) {
		err = fmt.Errorf("%w: %w", ErrClientLeft, err)
	}
	t.finish(ses, err)
}

// hangUp closes c so that what was written arrives: closing at once while bytes of the
// client are unread would reset the connection, and the reset overtakes the reply.
func (s *Server) hangUp(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		c.SetReadDeadline(time.Now().Add(hangUpTimeout))
		io.CopyN(io.Discard, c, hangUpBytes)
	}
	c.Close()
}

// ListenerName is the name by which requests and sessions know a listener of this
// address: host:port, or unix:/path.
func ListenerName(a net.Addr) string {
	if a.Network() == "unix" {
		return "unix:" + a.String()
	}
	return a.String()
}

// clientAddr is zero for a Unix socket.
func clientAddr(c net.Conn) netip.AddrPort {
	ap, ok := relay.RemoteAddrPort(c)
	if !ok {
		return ap
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
