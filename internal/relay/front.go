package relay

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// What leads to a relay, such as a handshake, may run in the event loop that will run the
// relay. It is straight-line code all the same, which is called by [Engine.Go] and uses
// its connection as any other code would; where it would have to wait for the client, the
// loop goes on with something else. It must not wait for anything but its connections,
// since nothing else in that loop moves meanwhile: first it calls [Leave], and from then
// on is an ordinary goroutine.
//
// That saves the wake-ups of threads that Go's scheduler makes to serve a connection by a
// goroutine, which are more than half of what a short connection costs.

// Listener is a listener that event loops accept from, where it can be had so.
type Listener struct {
	net.Listener
	engine *Engine

	mu     sync.Mutex
	parts  []net.Listener // one for each loop
	closed bool
}

// Listen makes a Listener of l, which it closes with itself.
func (e *Engine) Listen(l net.Listener) *Listener { return &Listener{Listener: l, engine: e} }

// Each calls f in each event loop with a listener to accept from, which f may use in no
// other way but to wait [Aside]. For a listener that is not a plain TCP one, and where
// there are no loops, it calls f once, with that listener, and connections are ordinary.
// Each returns when f has returned everywhere, with the first error; an error in one
// place closes the listener for all.
func (l *Listener) Each(f func(net.Listener) error) error {
	parts := l.split()
	if len(parts) == 0 {
		return f(l.Listener)
	}
	var (
		all   sync.WaitGroup
		once  sync.Once
		first error
	)
	fail := func(err error) {
		once.Do(func() { first = err })
		l.Close()
	}
	for _, part := range parts {
		all.Add(1)
		begun := inLoopOf(part, func() {
			defer all.Done()
			if err := f(part); err != nil {
				fail(err)
			}
		})
		if !begun {
			all.Done()
			fail(net.ErrClosed)
		}
	}
	all.Wait()
	return first
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

// Aside calls f, which may wait. If l is accepted from in an event loop, that goes on.
func Aside(l net.Listener, f func()) {
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
