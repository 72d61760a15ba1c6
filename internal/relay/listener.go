package relay

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// Listener is a listener that event loops accept from, where it can be had so.
type Listener struct {
	net.Listener
	engine *Engine

	mu     sync.Mutex
	parts  []net.Listener // one for each loop
	closed bool
}

// Handler serves what a [Listener] accepts. Its methods may be called by several goroutines at
// once. Ready and Accepted must not wait.
type Handler interface {
	// Ready reports whether one more connection may be accepted.
	Ready() bool

	// Wait returns true when Ready would, and false if no more connection is to be accepted.
	Wait() bool

	// Accepted takes c, which is the handler's to close; it calls [Engine.Go] to serve it.
	Accepted(c net.Conn)

	// Failed is called with the error of an Accept. It may wait before the next, and returns
	// the error that Serve is to return, or nil to go on.
	Failed(err error) error
}

// Listen makes a Listener of l, which it closes with itself.
func (e *Engine) Listen(l net.Listener) *Listener { return &Listener{Listener: l, engine: e} }

// Serve accepts connections for h until h ends it or the listener fails, and closes the
// listener. InLoops has event loops accept, where there are some and the listener is a plain
// TCP one, so that connections are served in them; h does not notice the difference. Serve
// returns what Failed returned, nil if Wait returned false.
func (l *Listener) Serve(h Handler, inLoops bool) error {
	defer l.Close()
	if !inLoops {
		return acceptOn(l.Listener, h)
	}
	parts := l.split()
	if len(parts) == 0 {
		return acceptOn(l.Listener, h)
	}
	var (
		all   sync.WaitGroup
		once  sync.Once
		first error
	)
	end := func(err error) { // an end in one loop is the end in all
		once.Do(func() { first = err })
		l.Close()
	}
	for _, part := range parts {
		all.Add(1)
		begun := inLoopOf(part, func() {
			defer all.Done()
			end(acceptOn(part, h))
		})
		if !begun {
			all.Done()
			end(net.ErrClosed)
		}
	}
	all.Wait()
	return first
}

// acceptOn is Serve for what one loop accepts from, or no loop.
func acceptOn(l net.Listener, h Handler) error {
	for {
		for !h.Ready() {
			more := false
			aside(l, func() { more = h.Wait() })
			if !more {
				return nil
			}
		}
		c, err := l.Accept()
		if err == nil {
			h.Accepted(c)
			continue
		}
		aside(l, func() { err = h.Failed(err) })
		if err != nil {
			return err
		}
	}
}

// split parts l among the loops, and takes its socket from Go's own poller, which would
// wake a thread for each connection, too.
func (l *Listener) split() []net.Listener {
	parts := l.engine.acceptors(l.Listener)
	if len(parts) == 0 {
		return nil
	}
	l.Listener.Close()
	l.mu.Lock()
	l.parts = parts
	closed := l.closed
	l.mu.Unlock()
	if closed {
		l.Close()
	}
	return parts
}

// Close ends all that accepts from l.
func (l *Listener) Close() error {
	l.mu.Lock()
	l.closed = true
	parts := l.parts
	l.mu.Unlock()
	if len(parts) == 0 {
		return l.Listener.Close()
	}
	for _, part := range parts {
		part.Close()
	}
	return nil
}

// Go calls f, which serves c, and returns before it did: in the event loop that accepted
// c, or in a goroutine if none did. Engine.Close closes c and waits for f.
func (e *Engine) Go(c net.Conn, f func()) {
	if !beginTask(c, f) {
		go f()
	}
}

// aside calls f, which may wait. If l is accepted from in an event loop, that goes on.
func aside(l net.Listener, f func()) {
	if !asideTask(l, f) {
		f()
	}
}

// Leave makes an ordinary goroutine of the caller, which serves c, and returns c as an
// ordinary connection. The c that it was may be used further. If no event loop serves c,
// Leave does nothing.
func Leave(c net.Conn) net.Conn { return leaveTask(c) }

// InLoop reports whether an event loop serves c.
func InLoop(c net.Conn) bool { return inTask(c) }

// Reset closes c, and its peer sees a reset where the kind of c has one. It may be called
// from any goroutine.
func Reset(c net.Conn) {
	closeBelow(c, true)
	c.Close()
}

// RemoteAddrPort returns the address at the other end of c, if it is one of TCP.
func RemoteAddrPort(c net.Conn) (ap netip.AddrPort, ok bool) {
	if ap, ok = remoteOfTask(c); ok {
		return ap, true
	}
	a, ok := c.RemoteAddr().(*net.TCPAddr)
	if ok {
		ap = a.AddrPort()
	}
	return ap, ok
}

// Connect connects to an address over TCP from the event loop that serves c, for a relay
// between the two. The caller has asked InLoop. It ends when the deadline is over, and
// when c is closed.
func Connect(c net.Conn, to netip.AddrPort, deadline time.Time) (conn net.Conn, local netip.AddrPort, err error) {
	conn, local, err = connectTask(c, to, deadline)
	if err != nil {
		return nil, netip.AddrPort{}, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: err}
	}
	return conn, local, nil
}

// Await calls begin, and returns when begin has called ready, which it may do at once or
// later from any goroutine. The event loop that serves c goes on meanwhile. The caller has
// asked InLoop. The error is os.ErrDeadlineExceeded or net.ErrClosed if the deadline was
// over, or c closed, before.
func Await(c net.Conn, deadline time.Time, begin func(ready func())) error {
	return awaitTask(c, deadline, begin)
}
