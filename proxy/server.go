package proxy

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"

	"hosier/internal/relay"
)

// ErrServerClosed is returned by [Server.Serve] after Shutdown or Close.
var ErrServerClosed = errors.New("proxy: server closed")

// Server serves SOCKS and HTTP CONNECT clients. Without a Policy that has a Route every
// request is refused, so that no zero value is an open proxy. The fields must not change
// once the server serves. A Server must not be copied.
//
// A panic in a function or a method that the server was given (those of its fields, of the
// Policy and of the Egress, and of connections that these return) ends the connection for
// which it was called, as in net/http, and is logged with its stack; a request that awaits
// its reply gets one. The same holds for runtime.Goexit, but not in Allow of a request, which is
// called by other goroutines as well. Closed is called for that session
// as for any other, with [ErrPanic]. A panic in Closed itself is logged, and Closed is not
// called again.
type Server struct {
	// Policy is what holds for every client, where PolicyFor is nil.
	Policy Policy

	// PolicyFor chooses what holds for the connection that has begun; Client, Listener
	// and ID of the session are set. The connection keeps that policy to its end. If it
	// is nil the connection is closed without a byte.
	PolicyFor func(*Session) *Policy

	// NonBlocking says that PolicyFor, Identify, Admit, Known and Route, like Closed, return
	// without waiting for anything but the connection. Connections of plain TCP listeners may
	// then be served in an event loop, which costs half as much, instead of a goroutine each;
	// Prepare, Verify, Before and Dial may wait nevertheless. Such a listener belongs to the
	// server: CloseListener closes it.
	NonBlocking bool

	// MaxConns is how many connections are served at once, also before they have said
	// anything; no limit if 0. A few more are answered with [ErrFull]; beyond those, clients
	// wait to be accepted. The last sixteenth goes only to clients, and users, that have few
	// of the others, so that none can take all.
	MaxConns int

	// Closed is told each session at its end, from a goroutine that it must not block.
	// Nil is not told.
	Closed func(*Session)

	// Log gets what concerns the server as a whole, such as running out of descriptors, and
	// panics; slog.Default() if nil. No client, target or password stands in it, unless
	// code panics with one.
	Log *slog.Logger

	ids       ids
	readers   sync.Pool // of *bufio.Reader, for handshakes
	heads     sync.Pool // of *bufio.Reader, for heads of HTTP
	exchanges sync.Pool // of *exchange, of those that became relays
	relays    relay.Engine

	mu        sync.Mutex
	room      sync.Cond // a connection ended, or the server closed
	listeners map[*relay.Listener]struct{}
	open      ring
	places    places
	ctx       context.Context // ends with Close
	cancel    context.CancelFunc
	down      bool // Shutdown or Close was called

	movedUp, movedDown int64 // bytes of connections that have ended
	toldUp, toldDown   int64 // by Moved

	stages stages
}

func (s *Server) log() *slog.Logger {
	if s.Log == nil {
		return slog.Default()
	}
	return s.Log
}

// start makes the parts that a zero Server lacks. s.mu is held.
func (s *Server) start() {
	if s.listeners == nil {
		s.listeners = make(map[*relay.Listener]struct{})
		s.room.L = &s.mu
		s.ctx, s.cancel = context.WithCancel(context.Background())
	}
}

// Serve accepts clients from l until Shutdown or Close, and then returns
// [ErrServerClosed]; it closes l in any case. It may be called for several listeners at
// once. Running out of something, such as descriptors, pauses it; a connection that the
// system does not let in is lost alone. Serve ends with any error that is no
// [syscall.Errno], and where there is no listener: EBADF, EINVAL, ENOTSOCK.
func (s *Server) Serve(l net.Listener) error {
	in := s.relays.Listen(l)
	defer in.Close()
	s.mu.Lock()
	s.start()
	if s.down {
		s.mu.Unlock()
		return ErrServerClosed
	}
	s.listeners[in] = struct{}{}
	s.mu.Unlock()
	defer s.forget(in)
	name := ListenerName(l.Addr())
	err := in.Serve(&acceptor{Server: s, listener: name, pause: backoff{log: s.log(), listener: name}}, s.NonBlocking)
	return cmp.Or(err, ErrServerClosed)
}

// acceptor is the [relay.Handler] of one listener.
type acceptor struct {
	*Server
	listener string // its name
	pause    backoff
}

// Ready is Wait from where one must not wait.
func (a *acceptor) Ready() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.down && !a.isFull()
}

// Wait returns when one more connection may be accepted, and false if none will.
func (a *acceptor) Wait() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for !a.down && a.isFull() {
		a.room.Wait()
	}
	return !a.down
}

func (a *acceptor) Accepted(c net.Conn) {
	a.pause.over()
	a.ServeConn(c, a.listener)
}

func (a *acceptor) Failed(err error) error {
	switch {
	case a.isDown():
		return ErrServerClosed
	case endsListener(err):
		return err
	}
	a.pause.wait(a.ctx, err)
	return nil
}

// ServeConn serves one connection that was accepted elsewhere, by the name of listener,
// and returns at once. After Close it closes c; after Shutdown it serves c, since what was
// accepted before may come only now.
func (s *Server) ServeConn(c net.Conn, listener string) {
	t, ctx := s.begin(c, Session{Client: clientAddr(c), Listener: listener})
	if t == nil {
		c.Close()
		return
	}
	s.relays.Go(c, func() { s.guard(t, func() { s.serveMixed(ctx, t) }) })
}

func (s *Server) forget(l *relay.Listener) {
	s.mu.Lock()
	delete(s.listeners, l)
	s.mu.Unlock()
	s.room.Broadcast()
}

// CloseListener ends what Serve does with l, and closes it. Connections go on.
func (s *Server) CloseListener(l net.Listener) error {
	s.mu.Lock()
	var in net.Listener = l
	for each := range s.listeners {
		if each.Listener == l {
			in = each
		}
	}
	s.mu.Unlock()
	return in.Close()
}

func (s *Server) isDown() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down
}

// Shutdown stops accepting and waits until every connection has ended. When ctx ends
// first it returns ctx's error, and what is left goes on; Close ends it.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stopAccepting()
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock() // or the wake-up could come between a look at ctx and the wait
		defer s.mu.Unlock()
		s.room.Broadcast()
	})
	defer stop()
	return s.wait(ctx)
}

// Close stops accepting, ends every connection at once and returns when all sessions
// have been told. It must not be called from Closed. It always returns nil.
func (s *Server) Close() error {
	s.stopAccepting()
	s.cancel()
	s.mu.Lock()
	all := s.open.all()
	s.mu.Unlock()
	for _, c := range all {
		c.close()
	}
	s.wait(context.Background())
	return s.relays.Close()
}

// Sessions returns what is known now of each connection that is open, in no order. End
// is zero, and Up and Down are what moved so far. One that begins or ends meanwhile may or
// may not be there.
func (s *Server) Sessions() []Session {
	all := make([]Session, 0, s.Open())
	s.walk(nil, func(c *conn) { all = append(all, c.snapshot()) })
	return all
}

// Open returns how many connections are open.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open.len
}

// Moved returns how many payload bytes went to targets (up) and to clients (down) so far,
// of open connections, too. Neither ever falls.
func (s *Server) Moved() (up, down int64) {
	s.walk(func() { up, down = s.movedUp, s.movedDown }, func(c *conn) {
		u, d := c.bytes()
		up += u
		down += d
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	// Connections that ended before they were looked at count the next time.
	s.toldUp, s.toldDown = max(s.toldUp, up), max(s.toldDown, down)
	return s.toldUp, s.toldDown
}

// End ends the connections of which match says so, at once, and returns how many these
// are. It does not wait for their sessions to be told. The cause is what their Err will be;
// if it is nil, that is an error of the connection.
func (s *Server) End(cause error, match func(*Session) bool) int {
	ended := s.matching(match)
	for _, c := range ended {
		c.end(cause)
	}
	return len(ended)
}

func (s *Server) matching(match func(*Session) bool) (all []*conn) {
	s.walk(nil, func(c *conn) {
		if ses := c.snapshot(); match(&ses) {
			all = append(all, c)
		}
	})
	return all
}

func (s *Server) stopAccepting() {
	s.mu.Lock()
	s.start()
	s.down = true
	for l := range s.listeners {
		l.Close()
	}
	s.mu.Unlock()
	s.room.Broadcast()
}

func (s *Server) wait(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.open.len+len(s.listeners) > 0 { // a listener may be about to hand over what it accepted
		if err := ctx.Err(); err != nil {
			return err
		}
		s.room.Wait()
	}
	return nil
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
