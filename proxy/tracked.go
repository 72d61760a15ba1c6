package proxy

import (
	"context"
	"net"
	"sync"
	"time"

	"hosier/internal/relay"
)

// tracked is one connection that the server has not finished.
type tracked struct {
	server  *Server
	surplus bool

	mu      sync.Mutex
	session Session // as far as others may know it: serve works on its own
	conn    net.Conn
	relay   *relay.Relay // once handed over
	total   *time.Timer
	cancel  context.CancelFunc // of the question to the way out, while there is one
	cause   error              // why it was closed from outside
	closed  bool
}

// show lets others know how far the session came.
func (t *tracked) show(ses *Session) {
	t.mu.Lock()
	t.session = *ses
	t.mu.Unlock()
}

func (t *tracked) snapshot() Session {
	t.mu.Lock()
	defer t.mu.Unlock()
	ses := t.session
	if t.relay != nil {
		ses.Up, ses.Down = t.relay.Bytes()
	}
	return ses
}

// bytes returns what its relay has moved so far.
func (t *tracked) bytes() (up, down int64) {
	t.mu.Lock()
	r := t.relay
	t.mu.Unlock()
	if r == nil {
		return 0, 0
	}
	return r.Bytes()
}

// replace makes c the one to close.
func (t *tracked) replace(c net.Conn) {
	t.mu.Lock()
	t.conn = c
	closed := t.closed
	t.mu.Unlock()
	if closed {
		c.Close()
	}
}

// handOver makes r the one to close.
func (t *tracked) handOver(r *relay.Relay) {
	t.mu.Lock()
	t.relay, t.conn = r, nil // which would be kept as long as the relay
	closed := t.closed
	t.mu.Unlock()
	if closed {
		r.Close()
	}
}

// limit ends the connection after d, unless that is 0.
func (t *tracked) limit(d time.Duration) {
	if d <= 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.total = time.AfterFunc(d-time.Since(t.session.Start), func() { t.end(ErrTotal) })
}

// asking makes cancel what ends the question to the way out, or nil when that is over.
func (t *tracked) asking(cancel context.CancelFunc) {
	t.mu.Lock()
	t.cancel = cancel
	closed := t.closed
	t.mu.Unlock()
	if closed && cancel != nil {
		cancel()
	}
}

// close ends the connection from outside; its session still finishes.
func (t *tracked) close() { t.end(nil) }

func (t *tracked) end(cause error) {
	t.mu.Lock()
	if t.cause == nil {
		t.cause = cause
	}
	t.closed = true
	r, c, cancel := t.relay, t.conn, t.cancel
	t.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	if r != nil {
		r.Close()
	} else {
		c.Close()
	}
}

// finish ends the session, once.
func (t *tracked) finish(ses *Session, err error) {
	t.mu.Lock()
	if t.cause != nil {
		err = t.cause
	}
	if t.total != nil {
		t.total.Stop()
	}
	t.mu.Unlock()
	ses.End, ses.Err = time.Now(), err
	s := t.server
	if s.Closed != nil {
		s.Closed(ses)
	}
	s.mu.Lock()
	delete(s.conns, t)
	s.movedUp += ses.Up // at once with the above: Moved counts t in one of the two
	s.movedDown += ses.Down
	s.mu.Unlock()
	s.room.Broadcast()
}
