// Package relay moves bytes both ways between two connections until both
// directions have ended. It knows nothing of SOCKS.
//
// An [Engine] is given a [Pair] of connections and calls back once when the relay
// is over. The two directions end separately: the end of what one side sends is
// passed on as the end of what the other side receives, and the way back stays
// open. A reset on one side resets the other. A relay in which nothing moves ends
// after a limit, and so does, after a limit of its own, one that is half closed.
// A relay that is ended from here, by a limit or by Close, resets both sides, so that
// none takes a part for the whole; but a side that has been given the other's end keeps
// what is still under way to it. Unix sockets have no reset and are closed.
//
// What leads to a relay, such as a handshake, may run in the event loop that will run the
// relay, which saves the wake-ups of threads that are more than half of what a short connection
// costs. It is straight-line code all the same: where it would have to wait for its connection,
// the loop goes on with something else. The life of such a connection:
//
//	l := engine.Listen(tcp)     // l owns tcp
//	l.Serve(handler, true)      // each loop accepts, and calls Accepted with c: c is the handler's
//	engine.Go(c, f)             // f serves c, in the loop of c. It must not wait for anything but c
//	Await(c, deadline, begin)   // f waits for an answer from elsewhere, and the loop goes on
//	Connect(c, to, deadline)    // f gets a connection of the same loop, which is f's to close
//	Leave(c)                    // f is an ordinary goroutine from here on, and may wait for anything
//	engine.Start(Pair{c, ...})  // both connections are the relay's. f returns
//	Done(result)                // both are closed, and the relay is forgotten
//
// Without a loop (another listener, another system, after Leave) Go starts a goroutine, InLoop
// is false, and the rest is the same.
//
// Two engines stand behind the same few lines. The portable one has two goroutines
// for each relay and takes any [net.Conn]. On Linux two plain TCP or Unix stream
// sockets are handed to an event loop instead, where an idle relay holds its two
// descriptors and a small record: no goroutine, timer, buffer or pipe. Engine
// chooses; callers cannot tell the difference but by what it costs.
package relay

import (
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Why a relay ended other than by its two sides.
var (
	// ErrIdle says that nothing moved for as long as Pair.Idle or Pair.HalfIdle allows.
	ErrIdle = errors.New("relay idle for too long")
	// ErrClosed says that Relay.Close or Engine.Close ended the relay.
	ErrClosed = errors.New("relay closed")
)

// defaultHalfIdle bounds a relay with one side closed and the other silent, which
// would otherwise live for ever.
const defaultHalfIdle = 5 * time.Minute

// deadIdle takes the place of HalfIdle once writing to a side has failed. What that
// side sent before may still be passed on; but if the other does not take it, being
// stuck itself in what it sends, there is nothing to wait for.
const deadIdle = time.Second

// Conn is a stream whose two directions end separately, such as *net.TCPConn,
// *net.UnixConn and *tls.Conn. A connection without CloseWrite may be relayed too;
// see [Pair].
type Conn interface {
	net.Conn
	CloseWrite() error
}

// Pair is two connections to be joined, and what was read from them already.
//
// Both connections must be set. From [Engine.Start] on they belong to the relay,
// which clears their deadlines and closes them; the caller must not use them again,
// but for LocalAddr and RemoteAddr.
//
// A connection without CloseWrite cannot be told that the other side has ended
// without being closed. As a client it is closed then, since a client waits to
// learn that the answer is complete; as a server it is left open for its answer,
// which HalfIdle bounds.
type Pair struct {
	Client, Server net.Conn

	// ToServer and ToClient are sent before anything that is read. They must not
	// be changed after Start, and are not kept once they have been sent.
	ToServer, ToClient []byte

	// Idle ends a relay in which no byte moved, in either direction, for so long.
	// A peer that takes bytes slowly moves them. No limit if 0 or less.
	Idle time.Duration

	// HalfIdle takes the place of Idle once one direction has ended. If 0 or less
	// it is 5 minutes, or Idle where that is shorter.
	HalfIdle time.Duration

	// Done is called exactly once, after both connections are closed, from a
	// goroutine of the engine. It must not block, and must not call Engine.Close.
	// It may call Engine.Start, and end its goroutine (runtime.Goexit). May be nil.
	Done func(Result)
}

// halfIdle returns the idle limit of a half closed relay.
func (p *Pair) halfIdle() time.Duration {
	switch {
	case p.HalfIdle > 0:
		return p.HalfIdle
	case p.Idle > 0:
		return min(p.Idle, defaultHalfIdle)
	default:
		return defaultHalfIdle
	}
}

// idleAfter returns the idle limit of a relay in which a direction ended with fail, or
// in order if that is nil.
func idleAfter(fail *failure, halfIdle time.Duration) time.Duration {
	if fail != nil {
		return min(halfIdle, deadIdle)
	}
	return halfIdle
}

// Result says how a relay ended.
type Result struct {
	// Up and Down count the bytes that the server and the client were given, early
	// ones included. Given means accepted by the connection: a peer that resets may
	// not have read them all.
	Up, Down int64

	// First is when the client was first given something; zero if it never was. It has a
	// monotonic clock reading.
	First time.Time

	// Err is nil if both directions ended as their senders wished, ErrIdle or
	// ErrClosed if the relay was ended from here, and otherwise the first failure:
	// what the relay was doing, and the cause, without addresses.
	Err error
}

// Engine runs relays. Its zero value is ready for use. All methods may be called by
// several goroutines at the same time. An Engine must not be copied, and its fields
// must not be changed once Start has been called. Once it has run a relay it may hold
// goroutines and descriptors until Close.
type Engine struct {
	// Loops is the number of event loops, where the system has them. If 0 or less it
	// is one less than GOMAXPROCS at the first Start, but at least 1.
	Loops int

	// PlainWait has event loops wait for events as goroutines do. Otherwise a busy
	// loop hides its waiting from Go's scheduler, which makes small messages somewhat
	// cheaper and keeps a processor of Go's from other goroutines for up to 10 ms. A
	// loop does so only while GOMAXPROCS is above the number of loops, and not if
	// GODEBUG has asyncpreemptoff=1.
	PlainWait bool

	portable bool // no event loops; for tests

	mu      sync.Mutex
	fewer   sync.Cond // running fell
	running int       // relays whose Done has not returned
	copiers map[*copier]struct{}
	closed  bool

	closing sync.Once
	limits  wheel
	loops   eventLoops
	large   sync.Pool // of *[largeBuffer]byte
}

// Start joins the two connections and returns at once. On an engine that has been
// closed it closes both, and Done is called with ErrClosed.
func (e *Engine) Start(p Pair) *Relay {
	e.enter()
	if r := e.startTask(&p); r != nil {
		return r
	}
	p.Client, p.Server = Leave(p.Client), Leave(p.Server)
	if r := e.startInLoop(&p); r != nil {
		return r
	}
	return e.startCopier(&p)
}

// Close ends every relay with ErrClosed. It returns when the Done functions of all
// relays started before have returned and what the engine holds is released. It
// always returns nil.
func (e *Engine) Close() error {
	e.closing.Do(func() {
		e.mu.Lock()
		e.closed = true
		for c := range e.copiers {
			go c.cut(ErrClosed) // closing a connection may take its time
		}
		e.mu.Unlock()
		e.loops.cut(ErrClosed)

		e.mu.Lock()
		e.fewer.L = &e.mu
		for e.running > 0 {
			e.fewer.Wait()
		}
		e.mu.Unlock()
		e.loops.stop()
	})
	return nil
}

// enter counts a relay that is about to start.
func (e *Engine) enter() {
	e.limits.begin()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running++
}

// leave counts a relay whose Done has returned.
func (e *Engine) leave() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running--
	e.fewer.Broadcast()
}

// isClosed reports whether Close was called. A relay that was made known to Close
// before it is told no will be ended by Close.
func (e *Engine) isClosed() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.closed
}

// Relay is a handle on a relay that was started. Its methods may be called at any
// time, also after the relay ended, and by several goroutines at the same time.
type Relay struct {
	timer                 // in the limits of its engine
	moved [2]atomic.Int64 // by direction
	first atomic.Int64    // when the client was first given something, on the clock of the wheel
	done  func(Result)
}

// runner is what an engine adds to a Relay.
type runner interface {
	// cut ends the relay with err, unless it is ending already. It may call Done.
	cut(err error)
}

// cutAll cuts all with err, also if one of their Done functions ends the goroutine.
func cutAll(all []runner, err error) {
	next := 0
	defer func() {
		if next < len(all) {
			cutAll(all[next+1:], err)
		}
	}()
	for ; next < len(all); next++ {
		all[next].cut(err)
	}
}

// Bytes returns how many bytes the server (up) and the client (down) were given so
// far. What moves at this moment may not be counted yet; the counts in Result are
// exact.
func (r *Relay) Bytes() (up, down int64) {
	return r.moved[toServer].Load(), r.moved[toClient].Load()
}

// count notes that the destination of d took n bytes, which are more than none. A clock that is
// set meanwhile changes nothing.
func (r *Relay) count(e *Engine, d direction, n int) {
	if r.moved[d].Add(int64(n)) == int64(n) && d == toClient {
		r.first.Store(max(int64(e.limits.elapsed()), 1))
	}
}

// Close ends the relay with ErrClosed. It does not wait: Done is called when both
// connections are closed. Once the relay has ended it does nothing.
func (r *Relay) Close() {
	go r.runner.cut(ErrClosed) // the caller may hold what Done needs
}

// report tells of the end of r, a relay of e; both connections are closed.
func (r *Relay) report(e *Engine, err error) {
	defer e.leave()
	if r.done != nil {
		res := Result{Err: err}
		res.Up, res.Down = r.Bytes()
		if ns := r.first.Load(); ns != 0 {
			res.First = e.limits.begun.Add(time.Duration(ns))
		}
		r.done(res)
	}
}

// direction names one of the two ways through a relay by the side it leads to.
type direction int

const (
	toServer direction = iota
	toClient
)

// back returns the other way.
func (d direction) back() direction { return 1 - d }

// failure is an operation on one of the two connections that failed.
type failure struct {
	what   string
	read   bool // it was a read
	client bool // of or to the client
	cause  error
}

// PanicError is the cause of the end of a relay one of whose connections has panicked, or
// ended the goroutine that used it.
type PanicError struct {
	Value any // nil if it was runtime.Goexit
	Stack []byte
}

func (p *PanicError) Error() string {
	if p.Value == nil {
		return "runtime.Goexit"
	}
	return fmt.Sprintf("panic: %v", p.Value)
}

// panicFailure is called, deferred, where the panic was. It counts as one of reading, since
// nothing is to be expected of that connection any more.
func panicFailure(value any) *failure {
	return &failure{what: "use of a connection", read: true, cause: &PanicError{value, debug.Stack()}}
}

// IsOfClient reports whether err, of a [Result], says that the connection to the client
// failed.
func IsOfClient(err error) bool {
	f := (*failure)(nil)
	return errors.As(err, &f) && f.client
}

func readFailure(d direction, cause error) *failure {
	return &failure{what: [...]string{"read from client", "read from server"}[d], read: true, client: d == toServer, cause: cause}
}

func writeFailure(d direction, cause error) *failure {
	return &failure{what: [...]string{"write to server", "write to client"}[d], client: d == toClient, cause: cause}
}

// Error tells side and cause, but no addresses: whoever logs them decides that.
func (f *failure) Error() string {
	cause := f.cause
	if op := (*net.OpError)(nil); errors.As(cause, &op) {
		cause = op.Err
	}
	return f.what + ": " + cause.Error()
}

func (f *failure) Unwrap() error { return f.cause }
