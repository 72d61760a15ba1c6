package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"hosier/internal/relay"
	"hosier/socks"
)

// conn is a client that the server has not finished with. There is one for each relay that
// stands, so it is small; what a request needs up to its answer goes with the exchange.
type conn struct {
	server     *Server
	next, prev *conn // in server.open

	mu     sync.Mutex
	x      *exchange     // until a relay stands
	packed packedSession // from then on
	relay  *relay.Relay
	total  *time.Timer
	cause  error // why it was closed from outside; errEnded if nobody said; nil if it was not
}

var errEnded = errors.New("ended from outside")

// exchange is a client up to the answer to its request.
type exchange struct {
	mixed // of a client of Serve and ServeConn

	session Session // as its goroutine has it, which alone looks at it
	route   Route
	pending Pending // while it awaits its answer

	// Guarded by the mu of the server.
	place place

	// Guarded by the mu of conn.
	shown   Session            // as far as others may know the session
	asked   socks.Request      // of shown: the session's own is the egress's to write in
	client  net.Conn           // to be closed from outside; nil where a Pending has it
	cancel  context.CancelFunc // of the question to the egress, while there is one
	granted bool               // the client may take what follows for the target's
	over    bool               // finish was called
}

func (s *Server) newExchange(client net.Conn) *exchange {
	if used, ok := s.exchanges.Get().(*exchange); ok {
		*used = exchange{client: client}
		return used
	}
	return &exchange{client: client}
}

// begin makes a conn of a client, which s.open has until finish. It returns nil after Close.
func (s *Server) begin(client net.Conn, ses Session) (c *conn, ctx context.Context) {
	c = &conn{server: s, x: s.newExchange(client)}
	ses.ID, ses.Start = s.ids.next(), time.Now()
	c.x.session, c.x.shown = ses, ses
	s.mu.Lock()
	defer s.mu.Unlock()
	s.start()
	if s.ctx.Err() != nil {
		return nil, nil
	}
	s.open.add(c)
	s.enter(&c.x.place)
	s.stages.count[inHandshake].Add(1)
	return c, s.ctx
}

// publish lets others know how far the session came.
func (c *conn) publish() {
	c.mu.Lock()
	if c.x.shown.Request == nil && c.x.session.Request != nil {
		c.server.stages.move(inHandshake, inConnect)
	}
	c.x.shown = c.x.session
	if r := c.x.session.Request; r != nil {
		c.x.asked = *r
		c.x.shown.Request = &c.x.asked
	}
	c.mu.Unlock()
}

func (c *conn) snapshot() Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.x != nil {
		ses := c.x.shown
		if ses.Request != nil {
			r := *ses.Request // the exchange will serve others
			ses.Request = &r
		}
		return ses
	}
	ses, _ := c.packed.session()
	ses.Up, ses.Down = c.relay.Bytes()
	return *ses
}

// bytes returns what its relay has moved so far.
func (c *conn) bytes() (up, down int64) {
	c.mu.Lock()
	r := c.relay
	c.mu.Unlock()
	if r == nil {
		return 0, 0
	}
	return r.Bytes()
}

// setClient makes nc the connection to close.
func (c *conn) setClient(nc net.Conn) {
	c.mu.Lock()
	c.x.client = nc
	closed := c.cause != nil
	c.mu.Unlock()
	if closed {
		nc.Close()
	}
}

// setGranted notes that the client is about to be told of success. From then on the end of its
// connection, if nothing of the target came before, would look like the target's.
func (c *conn) setGranted() {
	c.mu.Lock()
	c.x.granted = true
	c.mu.Unlock()
}

// setCancel makes cancel what ends the question to the egress, or nil when that is over.
func (c *conn) setCancel(cancel context.CancelFunc) {
	c.mu.Lock()
	c.x.cancel = cancel
	closed := c.cause != nil
	c.mu.Unlock()
	if closed && cancel != nil {
		cancel()
	}
}

// startRelay relays between the client and the target. Only what a relay needs is kept.
func (c *conn) startRelay(p relay.Pair, total time.Duration) {
	c.packed = pack(&c.x.session, c.x.route.Done, time.Since(c.x.session.Start))
	c.server.stages.move(inConnect, inRelay)
	c.limit(total)
	p.Done = c.relayed
	r := c.server.relays.Start(p)
	c.mu.Lock()
	over := c.x
	c.relay, c.x = r, nil
	closed := c.cause != nil
	c.mu.Unlock()
	c.server.exchanges.Put(over)
	if closed {
		r.Close()
	}
}

// isRelay reports whether startRelay was called.
func (c *conn) isRelay() bool { return !c.packed.start.IsZero() }

// limit ends the relay when its connection is d old, unless that is 0.
func (c *conn) limit(d time.Duration) {
	if d <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total = time.AfterFunc(d-time.Since(c.packed.start), func() { c.end(ErrTotal) })
}

// close ends the connection from outside; its session still finishes.
func (c *conn) close() { c.end(nil) }

func (c *conn) end(cause error) {
	c.mu.Lock()
	switch {
	case c.cause != nil && c.cause != errEnded: // the first who said why
	case cause == nil:
		c.cause = errEnded
	default:
		c.cause = cause
	}
	r, client, cancel, granted := c.relay, net.Conn(nil), context.CancelFunc(nil), false
	if r == nil {
		client, cancel, granted = c.x.client, c.x.cancel, c.x.granted
	}
	c.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	switch {
	case r != nil:
		r.Close()
	case client == nil:
	case granted:
		relay.Reset(client)
	default:
		client.Close()
	}
}

// relayed is called at the end of the relay.
func (c *conn) relayed(res relay.Result) {
	ses, replied := c.packed.session()
	ses.Up, ses.Down = res.Up, res.Down
	if !res.First.IsZero() {
		ses.FirstByte = res.First.Sub(ses.Start) - replied
	}
	err := c.server.ofPanic(ses, res.Err)
	if relay.IsOfClient(err) {
		err = fmt.Errorf("%w: %w", ErrClientLeft, err)
	}
	c.finish(ses, err)
}

// finish ends the session, once.
func (c *conn) finish(ses *Session, err error) {
	done := c.packed.done
	c.mu.Lock()
	if c.x != nil {
		c.x.over = true
		done = c.x.route.Done
	}
	if c.cause != nil && c.cause != errEnded {
		err = c.cause
	}
	if c.total != nil {
		c.total.Stop()
	}
	c.mu.Unlock()
	ses.End, ses.Err = time.Now(), err
	defer c.server.remove(c, *ses)
	defer c.server.notify(c.server.Closed, ses) // also if Done ends the goroutine
	c.server.notify(done, ses)
}

// remove forgets a connection that has ended as this session.
func (s *Server) remove(c *conn, ses Session) {
	s.mu.Lock()
	s.open.remove(c)
	s.movedUp += ses.Up // at once with the above: Moved counts c in one of the two
	s.movedDown += ses.Down
	s.ended(c, &ses)
	s.mu.Unlock()
	s.room.Broadcast()
}
