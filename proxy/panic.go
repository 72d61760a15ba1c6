package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"hosier/internal/relay"
	"hosier/socks"
)

// ErrPanic is the end of a connection for which code that the server was given panicked, or
// ended its goroutine (runtime.Goexit, which testing.T.FailNow calls). It wraps what was
// panicked with if that is an error.
var ErrPanic = errors.New("proxy: panic in code that the server was given")

// abandon ends a conversation in which such code panicked with value, or called
// runtime.Goexit if that is nil. Serve calls it, deferred. A request that awaits its reply
// gets one.
func (t *tracked) abandon(value any) {
	t.mu.Lock()
	talk := t.talk
	over := talk == nil || talk.over
	t.mu.Unlock()
	if over { // it was Closed that ended the goroutine
		return
	}
	s, ses, c := t.server, &talk.session, talk.conn
	s.logPanic(ses, value, debug.Stack())
	err := ErrPanic
	if cause, ok := value.(error); ok {
		err = fmt.Errorf("%w: %w", ErrPanic, cause)
	}
	defer t.finish(ses, err)
	defer func() { _ = recover() }() // c may be what panics
	if talk.owed == nil {
		c.Close()
		return
	}
	ses.Status = socks.GeneralFailure
	c.SetDeadline(time.Now().Add(replyTimeout))
	c.Write(talk.owed.appendReply(talk.reply[:0], ses.Request, ses.Status, socks.Addr{}, err))
	s.hangUp(c)
}

// tell calls Closed.
func (s *Server) tell(ses *Session) {
	if s.Closed == nil {
		return
	}
	returned := false
	defer func() {
		if !returned {
			s.logPanic(ses, recover(), debug.Stack())
		}
	}()
	s.Closed(ses)
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
