package proxy

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"hosier/internal/relay"
)

// tracked is one connection that the server has not finished. There is one for each relay
// that stands, so it is small; what a conversation needs goes when that is over.
type tracked struct {
	server     *Server
	next, prev *tracked // in server.open

	mu       sync.Mutex
	talk     *talk    // until a relay stands
	standing standing // from then on
	relay    *relay.Relay
	total    *time.Timer
	cause    error // why it was closed from outside; errEnded if nobody said; nil if it was not
}

var errEnded = errors.New("ended from outside")

// talk is a connection up to its relay.
type talk struct {
	session Session // as serve, who alone looks at it, has it
	shown   Session // as far as others may know it; guarded by the mu of tracked
	conn    net.Conn
	place   place              // guarded by the mu of the server
	owed    *Policy            // by which the request awaits its reply; nil if it does not
	cancel  context.CancelFunc // of the question to the way out, while there is one; likewise guarded
	granted bool               // the client may take what follows for the target's; likewise guarded
	over    bool               // finish was called; likewise guarded
	reply   [32]byte           // most have room in it
}

func (s *Server) newTalk(c net.Conn) *talk {
	if used, ok := s.talks.Get().(*talk); ok {
		*used = talk{conn: c}
		return used
	}
	return &talk{conn: c}
}

// show lets others know how far the session came.
func (t *tracked) show() {
	t.mu.Lock()
	if t.talk.shown.Request == nil && t.talk.session.Request != nil {
		t.server.stages.move(inHandshake, inConnect)
	}
	t.talk.shown = t.talk.session
	t.mu.Unlock()
}

func (t *tracked) snapshot() Session {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.talk != nil {
		return t.talk.shown
	}
	ses, _ := t.standing.session()
	ses.Up, ses.Down = t.relay.Bytes()
	return *ses
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
	t.talk.conn = c
	closed := t.cause != nil
	t.mu.Unlock()
	if closed {
		c.Close()
	}
}

// stand makes a relay's of the record: the conversation is over.
func (t *tracked) stand(ses *Session) {
	t.standing = stand(ses, time.Since(ses.Start))
	t.server.stages.move(inConnect, inRelay)
}

// isRelay reports whether stand was called.
func (t *tracked) isRelay() bool { return !t.standing.start.IsZero() }

// handOver makes r the one to close, and forgets the conversation.
func (t *tracked) handOver(r *relay.Relay) {
	t.mu.Lock()
	over := t.talk
	t.relay, t.talk = r, nil
	closed := t.cause != nil
	t.mu.Unlock()
	t.server.talks.Put(over)
	if closed {
		r.Close()
	}
}

// limit ends the relay when its connection is d old, unless that is 0.
func (t *tracked) limit(d time.Duration) {
	if d <= 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.total = time.AfterFunc(d-time.Since(t.standing.start), func() { t.end(ErrTotal) })
}

// grant notes that the client is about to be told of success. From then on the end of its
// connection, if nothing of the target came before, would look like the target's.
func (t *tracked) grant() {
	t.mu.Lock()
	t.talk.granted = true
	t.mu.Unlock()
}

// asking makes cancel what ends the question to the way out, or nil when that is over.
func (t *tracked) asking(cancel context.CancelFunc) {
	t.mu.Lock()
	t.talk.cancel = cancel
	closed := t.cause != nil
	t.mu.Unlock()
	if closed && cancel != nil {
		cancel()
	}
}

// close ends the connection from outside; its session still finishes.
func (t *tracked) close() { t.end(nil) }

func (t *tracked) end(cause error) {
	t.mu.Lock()
	switch {
	case t.cause != nil && t.cause != errEnded: // the first who said why
	case cause == nil:
		t.cause = errEnded
	default:
		t.cause = cause
	}
	r, c, cancel, granted := t.relay, net.Conn(nil), context.CancelFunc(nil), false
	if r == nil {
		c, cancel, granted = t.talk.conn, t.talk.cancel, t.talk.granted
	}
	t.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	switch {
	case r != nil:
		r.Close()
	case granted:
		relay.Reset(c)
	default:
		c.Close()
	}
}

// finish ends the session, once.
func (t *tracked) finish(ses *Session, err error) {
	t.mu.Lock()
	if t.talk != nil {
		t.talk.over = true
	}
	if t.cause != nil && t.cause != errEnded {
		err = t.cause
	}
	if t.total != nil {
		t.total.Stop()
	}
	t.mu.Unlock()
	ses.End, ses.Err = time.Now(), err
	defer t.server.remove(t, *ses)
	t.server.tell(ses)
}

// remove forgets a connection that has ended as this session.
func (s *Server) remove(t *tracked, ses Session) {
	s.mu.Lock()
	s.open.remove(t)
	s.movedUp += ses.Up // at once with the above: Moved counts t in one of the two
	s.movedDown += ses.Down
	s.ended(t, &ses)
	s.mu.Unlock()
	s.room.Broadcast()
}
