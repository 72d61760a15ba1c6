package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"runtime/debug"

	"hosier/internal/relay"
	"hosier/socks"
)

// ErrPanic is the end of a connection for which code that the server was given panicked, or
// ended its goroutine (runtime.Goexit, which testing.T.FailNow calls). It wraps what was
// panicked with if that is an error.
var ErrPanic = errors.New("proxy: panic in code that the server was given")

// guard calls serve, which serves c, and ends c whatever becomes of the code that the server
// was given.
func (s *Server) guard(c *conn, serve func()) {
	returned := false
	defer func() {
		if !returned {
			c.abandon(recover())
		}
	}()
	serve()
	returned = true
}

// abandon ends an exchange in which such code panicked with value, or called
// runtime.Goexit if that is nil. It is called by a deferred function. A request that awaits
// its answer is refused.
func (c *conn) abandon(value any) {
	c.mu.Lock()
	x := c.x
	over := x == nil || x.over
	c.mu.Unlock()
	if over { // it was Closed that ended the goroutine
		return
	}
	ses := &x.session
	c.server.logPanic(ses, value, debug.Stack())
	err := panicError(value)
	defer c.finish(ses, err)
	defer func() { _ = recover() }() // what follows may be what panics
	switch {
	case x.pending != nil:
		ses.Status = socks.GeneralFailure
		x.pending.Refuse(ses.Status, err)
	case x.client == nil:
	case x.granted: // as end does
		relay.Reset(x.client)
	default:
		x.client.Close()
	}
}

// guardAllow has a panic in Allow of the request be an error of that. A lookup calls it from
// goroutines of its own, in which a panic would end the program.
func (s *Server) guardAllow(ses *Session) {
	allow := ses.Request.Allow
	if allow == nil {
		return
	}
	id, listener := ses.ID, ses.Listener
	ses.Request.Allow = func(ip netip.Addr) (err error) {
		defer func() {
			if value := recover(); value != nil {
				s.logPanic(&Session{ID: id, Listener: listener}, value, debug.Stack())
				err = panicError(value)
			}
		}()
		return allow(ip)
	}
}

// panicError returns the error of a session for which code panicked with value.
func panicError(value any) error {
	if cause, ok := value.(error); ok {
		return fmt.Errorf("%w: %w", ErrPanic, cause)
	}
	return ErrPanic
}

// notify calls f, which is Closed or Done of a Route, unless it is nil.
func (s *Server) notify(f func(*Session), ses *Session) {
	if f == nil {
		return
	}
	returned := false
	defer func() {
		if !returned {
			s.logPanic(ses, recover(), debug.Stack())
		}
	}()
	f(ses)
	returned = true
}

// logPanic logs a panic with its stack, as net/http does, and as there
// http.ErrAbortHandler is none. Value is nil for runtime.Goexit.
func (s *Server) logPanic(ses *Session, value any, stack []byte) {
	switch value {
	case http.ErrAbortHandler:
		return
	case nil:
		value = "runtime.Goexit"
	}
	s.log().Error("code that the server was given panicked, and its connection was ended",
		"id", ses.ID, "listener", ses.Listener, "panic", fmt.Sprint(value), "stack", string(stack))
}

// ofPanic is the error of a session whose relay ended with err, which it logs if one of
// the connections panicked.
func (s *Server) ofPanic(ses *Session, err error) error {
	p, ok := errors.AsType[*relay.PanicError](err)
	if !ok {
		return err
	}
	s.logPanic(ses, p.Value, p.Stack)
	return fmt.Errorf("%w: %w", ErrPanic, err)
}
