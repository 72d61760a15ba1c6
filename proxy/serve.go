package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"hosier/internal/relay"
	"hosier/socks"
)

const (
	replyTimeout  = 10 * time.Second
	hangUpTimeout = time.Second
	hangUpBytes   = 256 << 10
)

// serve is the path of one connection. The relay is handed over, so a session may go on
// when serve has returned; it ends in finish.
func (s *Server) serve(ctx context.Context, t *tracked) {
	c, ses := t.conn, &t.session
	req, early, err := s.negotiate(c, ses) // sniff, handshake
	if req == nil {
		s.hangUp(c)
		s.finish(t, err)
		return
	}
	ses.Request = req
	var a answer
	if err == nil {
		if ses.Egress, err = s.route(ctx, t); err == nil { // policy
			a, err = s.ask(ctx, ses.Egress, req) // egress
		}
	}
	ses.Status = s.told(req, err)
	c.SetDeadline(time.Now().Add(replyTimeout))
	_, werr := c.Write(appendReply(make([]byte, 0, 64), req, ses.Status, a.bound)) // reply, exactly once
	if werr != nil && err == nil {
		err = fmt.Errorf("reply: %w", werr)
	}
	if a.conn == nil || err != nil { // a RESOLVE ends here, too
		a.close()
		s.hangUp(c)
		s.finish(t, err)
		return
	}
	s.startRelay(t, a.conn, early) // relay
}

// route asks policy for a way out.
func (s *Server) route(ctx context.Context, t *tracked) (Egress, error) {
	if t.surplus {
		return nil, fmt.Errorf("more than %d connections: %w", s.MaxConns, socks.GeneralFailure)
	}
	if s.Route == nil {
		return nil, fmt.Errorf("server has no Route: %w", socks.NotAllowed)
	}
	out, err := s.Route(ctx, t.session.Request)
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
func (s *Server) ask(ctx context.Context, out Egress, r *socks.Request) (a answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.connectTimeout())
	defer cancel()
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

func appendReply(b []byte, r *socks.Request, s socks.Status, bound socks.Addr) []byte {
	if r.Version == socks.HTTP {
		return appendHTTPReply(b, r, s)
	}
	return r.AppendReply(b, s, bound)
}

func (s *Server) startRelay(t *tracked, remote net.Conn, early []byte) {
	t.handOver(s.relays.Start(relay.Pair{
		Client:   t.conn,
		Server:   remote,
		ToServer: early,
		Idle:     s.IdleTimeout,
		Done: func(res relay.Result) {
			t.session.Up, t.session.Down = res.Up, res.Down
			s.finish(t, res.Err)
		},
	}))
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
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		ap := a.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
