package relay

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// smallBuffer waits for bytes; largeBuffer is borrowed while reads overflow it.
	smallBuffer = 2 << 10
	largeBuffer = 64 << 10

	// lease is how long a large buffer is kept before it is seen whether there is
	// still use for it: a read may wait for hours.
	lease = time.Second

	// writeChunk is how much one Write is given. Only what Write returned is known
	// to have moved, so a slow reader must be able to take a chunk within the idle
	// limit. It is also the size of a TLS record.
	writeChunk = 16 << 10
)

// copier is a relay run by two goroutines, one for each direction.
type copier struct {
	Relay
	engine   *Engine
	conns    [2]net.Conn // the destination of each direction
	halfIdle time.Duration
	writing  [2]atomic.Bool // the destination has not taken yet what it was given

	// For the keeper: what carries each destination, and how much of what it was given
	// has arrived.
	tcp     [2]atomic.Pointer[net.TCPConn]
	arrived [2]int64

	mu    sync.Mutex
	ended int     // directions
	whole [2]bool // by direction: its destination was given its end, in order
	err   error   // the first cause
	over  bool    // the connections are closed or about to be: errors mean nothing now

	closing sync.Once
}

// startCopier sets two goroutines going. On a closed engine they end at once.
func (e *Engine) startCopier(p *Pair) *Relay {
	c := &copier{
		Relay:    Relay{done: p.Done},
		engine:   e,
		conns:    [2]net.Conn{toServer: p.Server, toClient: p.Client},
		halfIdle: p.halfIdle(),
		arrived:  [2]int64{-1, -1}, // a reply may be under way
	}
	c.runner = c
	e.addCopier(c)
	e.limits.watch(&c.timer, p.Idle)
	e.keep()
	if e.isClosed() {
		c.cut(ErrClosed)
	}
	go c.run(toServer, p.ToServer)
	go c.run(toClient, p.ToClient)
	return &c.Relay
}

// addCopier makes c known to Close.
func (e *Engine) addCopier(c *copier) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.copiers == nil {
		e.copiers = make(map[*copier]struct{})
	}
	e.copiers[c] = struct{}{}
}

func (e *Engine) removeCopier(c *copier) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.copiers, c)
}

// run is the life of one direction. A connection may be of a kind that others have written:
// if it panics, that ends the relay.
func (c *copier) run(d direction, early []byte) {
	var fail *failure
	returned := false
	defer func() {
		if !returned {
			fail = panicFailure(recover())
		}
		c.end(fail)
	}()
	fail = c.move(d, early)
	returned = true
}

// move is run without its end.
func (c *copier) move(d direction, early []byte) *failure {
	// If these fail, so do reads and writes, which report it.
	_ = c.conns[d.back()].SetReadDeadline(time.Time{})
	_ = c.conns[d].SetWriteDeadline(time.Time{})
	if tcp, ok := below(c.conns[d]).(*net.TCPConn); ok {
		c.tcp[d].Store(tcp)
	}
	if fail := c.write(d, early); fail != nil {
		return fail
	}
	if fail := c.copy(d); fail != nil {
		return fail
	}
	return c.passEnd(d)
}

// copy moves what the source of d sends until the source ends.
func (c *copier) copy(d direction) *failure {
	small := make([]byte, smallBuffer)
	for {
		n, err := c.moveOnce(d, small)
		if err == nil && n == len(small) {
			err = c.copyLarge(d)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err.(*failure)
		}
	}
}

// copyLarge moves what the source of d sends through a borrowed buffer, for as long
// as the small one would not do.
func (c *copier) copyLarge(d direction) error {
	large := c.engine.borrow()
	defer c.engine.giveBack(large)

	// The deadline ends the lease also where the source falls silent. A connection
	// that knows no deadlines keeps the buffer then, which costs only memory.
	src := c.conns[d.back()]
	_ = src.SetReadDeadline(time.Now().Add(lease))
	defer src.SetReadDeadline(time.Time{})
	for {
		n, err := c.moveOnce(d, large[:])
		if fail, ok := err.(*failure); ok && fail.read && errors.Is(fail.cause, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil || n <= smallBuffer {
			return err
		}
	}
}

// moveOnce reads once through b and writes what it read. The error is io.EOF when the
// source has ended, and a *failure otherwise.
func (c *copier) moveOnce(d direction, b []byte) (n int, err error) {
	n, err = c.conns[d.back()].Read(b)
	if fail := c.write(d, b[:n]); fail != nil {
		return n, fail
	}
	if err != nil && err != io.EOF {
		err = readFailure(d, err)
	}
	return n, err
}

// write gives b to the destination of d, and counts what was taken.
func (c *copier) write(d direction, b []byte) *failure {
	if len(b) == 0 {
		return nil
	}
	c.engine.limits.touch(&c.timer)
	c.writing[d].Store(true)
	for len(b) > 0 {
		n, err := c.conns[d].Write(b[:min(len(b), writeChunk)])
		if n > 0 {
			c.count(c.engine, d, n)
			c.engine.limits.touch(&c.timer)
		}
		if err != nil {
			return writeFailure(d, err)
		}
		b = b[n:]
	}
	c.writing[d].Store(false)
	return nil
}

// passEnd tells the destination of d that the source has ended.
func (c *copier) passEnd(d direction) *failure {
	c.mu.Lock()
	last := c.ended == 1
	c.mu.Unlock()
	if last {
		return nil // closing the connections tells it
	}
	if half, ok := c.conns[d].(Conn); ok {
		if err := half.CloseWrite(); err != nil {
			return writeFailure(d, err)
		}
		c.mu.Lock()
		c.whole[d] = true
		c.mu.Unlock()
	} else if d == toClient {
		c.stop(nil, inOrder)
	}
	return nil
}

// manner is how the connections of a relay are closed.
type manner int

const (
	// complete closes connections that have each been given their end, as they wish.
	complete manner = iota
	// inOrder ends them, but says nothing that might block.
	inOrder
	// cutOff resets those that have not been given their end, or have taken it already.
	cutOff
	// failed resets both.
	failed
)

// end is the last thing a direction does; the later one finishes the relay.
//
// A source that failed is gone, so nothing can reach it either: all ends at once. A
// destination that failed may have sent an answer before, which still lies in its
// receive buffer: the way back goes on until that is at its end, or stands still.
func (c *copier) end(fail *failure) {
	if fail != nil && fail.read {
		c.stop(fail, failed)
	}
	c.mu.Lock()
	if fail != nil && c.err == nil && !c.over {
		c.err = fail
	}
	c.ended++
	last := c.ended == 2
	if !last && !c.over {
		c.engine.limits.watch(&c.timer, idleAfter(fail, c.halfIdle))
	}
	c.mu.Unlock()
	if last {
		c.finish()
	}
}

// finish closes what is open and reports the end.
func (c *copier) finish() {
	c.mu.Lock()
	c.over = true
	err := c.err
	c.mu.Unlock()
	how := complete
	if err != nil {
		how = failed
	}
	defer func() {
		c.engine.limits.forget(&c.timer)
		c.engine.removeCopier(c)
		c.report(c.engine, err)
	}()
	c.close(how)
}

// cut ends the relay with err if it has not ended.
func (c *copier) cut(err error) { c.stop(err, cutOff) }

// stop closes both connections under the feet of the goroutines that use them,
// which ends the relay.
func (c *copier) stop(err error, how manner) {
	c.mu.Lock()
	over := c.over
	c.over = true
	if !over && c.err == nil {
		c.err = err
	}
	c.mu.Unlock()
	if !over {
		c.close(how)
	}
}

// close closes both connections, once; a second caller waits for the first. Unless
// the relay ended as both sides wished, a peer must not take what it got for all
// there was to get: it is reset if it has not taken what it was given, if the other side
// failed, and if the relay was ended from here before both directions had ended.
func (c *copier) close(how manner) {
	c.closing.Do(func() {
		defer c.shut(toClient, how)
		c.shut(toServer, how)
	})
}

// shut closes the destination of d. If that panics there is nobody left to report it to.
func (c *copier) shut(d direction, how manner) {
	defer func() { _ = recover() }()
	c.mu.Lock()
	whole := c.whole[d]
	c.mu.Unlock()
	conn := c.conns[d]
	switch {
	case how == failed, c.writing[d].Load(), how == cutOff && !(whole && mayHaveUnsent(conn)):
		closeBelow(conn, true)
	case how != complete:
		closeBelow(conn, false)
	}
	conn.Close()
}

// mayHaveUnsent reports whether the peer of c may not have taken yet what it was given. A
// reset would take that back.
func mayHaveUnsent(c net.Conn) bool {
	s, ok := below(c).(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return true
	}
	unsent := true
	err = raw.Control(func(fd uintptr) { unsent = hasUnsent(int(fd)) })
	return err != nil || unsent
}

// below returns what carries c.
func below(c net.Conn) net.Conn {
	for {
		carried, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c
		}
		c = carried.NetConn()
	}
}

// closeBelow closes what carries c, so that closing c itself sends nothing: not
// what TLS says at the end of complete data, which also might block.
func closeBelow(c net.Conn, reset bool) {
	c = below(c)
	if tcp, ok := c.(interface{ SetLinger(sec int) error }); ok && reset {
		_ = tcp.SetLinger(0) // if it fails the peer sees an end without a reset
	}
	c.Close()
}

// borrow lends a large buffer.
func (e *Engine) borrow() *[largeBuffer]byte {
	if b, ok := e.large.Get().(*[largeBuffer]byte); ok {
		return b
	}
	return new([largeBuffer]byte)
}

func (e *Engine) giveBack(b *[largeBuffer]byte) { e.large.Put(b) }
