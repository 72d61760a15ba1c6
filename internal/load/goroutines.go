package load

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// goroutineReactor has a goroutine for each direction of each connection, and one more
// that calls the handlers. It runs on every system.
type goroutineReactor struct {
	events chan func()
	ended  chan struct{} // closed first
	busy   sync.WaitGroup
	tick   func(time.Time)
	broke  error

	mu      sync.Mutex
	closers map[io.Closer]struct{}
	down    bool
}

func newGoroutines() reactor {
	r := &goroutineReactor{events: make(chan func(), 64), ended: make(chan struct{}), closers: map[io.Closer]struct{}{}}
	r.busy.Go(r.loop)
	return r
}

func (r *goroutineReactor) loop() {
	ticks := time.NewTicker(tickEvery)
	defer ticks.Stop()
	for {
		select {
		case f := <-r.events:
			f()
		case now := <-ticks.C:
			if r.tick != nil {
				r.tick(now)
			}
		case <-r.ended:
			return
		}
	}
}

// post has f called; it reports false if the reactor has ended instead.
func (r *goroutineReactor) post(f func()) bool {
	select {
	case r.events <- f:
		return true
	case <-r.ended:
		return false
	}
}

func (r *goroutineReactor) do(f func()) {
	done := make(chan struct{})
	if !r.post(func() { defer close(done); f() }) {
		return
	}
	select {
	case <-done:
	case <-r.ended:
	}
}

func (r *goroutineReactor) onTick(tick func(time.Time)) { r.tick = tick }
func (r *goroutineReactor) err() error                  { return r.broke }

// keep remembers what close has to close; it reports false if that is over.
func (r *goroutineReactor) keep(c io.Closer) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.down {
		r.closers[c] = struct{}{}
	}
	return !r.down
}

func (r *goroutineReactor) drop(c io.Closer) {
	r.mu.Lock()
	delete(r.closers, c)
	r.mu.Unlock()
	c.Close()
}

func (r *goroutineReactor) close() {
	r.mu.Lock()
	if !r.down {
		r.down = true
		close(r.ended)
		for c := range r.closers {
			c.Close()
		}
	}
	r.mu.Unlock()
	r.busy.Wait()
}

func (r *goroutineReactor) listen(at netip.AddrPort, accept func() handler) (netip.AddrPort, error) {
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
	if err != nil {
		return at, err
	}
	if !r.keep(l) {
		return at, errors.Join(net.ErrClosed, l.Close())
	}
	r.busy.Go(func() {
		for {
			nc, err := l.AcceptTCP()
			if err != nil {
				r.post(func() { r.broke = err })
				return
			}
			if !r.keep(nc) {
				nc.Close()
				return
			}
			r.post(func() { newGoroutineConn(r, accept()).start(nc) })
		}
	})
	bound := l.Addr().(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(at.Addr(), bound.Port()), nil
}

func (r *goroutineReactor) dial(from netip.Addr, to netip.AddrPort, h handler) {
	d := net.Dialer{Timeout: maxTime}
	if from.IsValid() {
		d.LocalAddr = &net.TCPAddr{IP: from.AsSlice()}
	}
	c := newGoroutineConn(r, h)
	r.busy.Go(func() {
		nc, err := d.Dial("tcp", to.String())
		if err == nil && !r.keep(nc) {
			nc.Close()
			return
		}
		r.post(func() {
			switch {
			case err == nil && c.shut:
				r.drop(nc)
			case err == nil:
				c.start(nc.(*net.TCPConn))
			case !c.shut:
				c.close()
				h.closed(c, plain(err))
			}
		})
	})
}

// goroutineConn writes by a queue, since the handlers' goroutine must not wait.
type goroutineConn struct {
	r      *goroutineReactor
	nc     *net.TCPConn
	h      handler
	shut   bool
	wanted chan struct{} // there is something in the queue; closed with the connection

	mu      sync.Mutex
	queue   []byte
	blocked bool
}

func newGoroutineConn(r *goroutineReactor, h handler) *goroutineConn {
	return &goroutineConn{r: r, h: h, wanted: make(chan struct{}, 1)}
}

// start runs a connection that the reactor keeps.
func (c *goroutineConn) start(nc *net.TCPConn) {
	c.nc = nc
	c.r.busy.Go(c.readAll)
	c.r.busy.Go(c.writeAll)
	c.h.opened(c)
}

func (c *goroutineConn) readAll() {
	buf := make([]byte, 32<<10)
	for {
		n, err := c.nc.Read(buf)
		c.r.do(func() {
			if n > 0 && !c.shut {
				c.h.received(c, buf[:n])
			}
			if err != nil {
				c.lost(err)
			}
		})
		if err != nil {
			return
		}
	}
}

func (c *goroutineConn) lost(err error) {
	if c.shut {
		return
	}
	c.close()
	if errors.Is(err, io.EOF) {
		err = nil
	}
	c.h.closed(c, plain(err))
}

func (c *goroutineConn) writeAll() {
	var out []byte
	for {
		select {
		case _, open := <-c.wanted:
			if !open {
				return
			}
		case <-c.r.ended:
			return
		}
		c.mu.Lock()
		out, c.queue = c.queue, out[:0]
		blocked := c.blocked
		c.mu.Unlock()
		if _, err := c.nc.Write(out); err != nil {
			c.r.post(func() { c.lost(err) })
			return
		}
		if blocked && !c.r.post(c.unblock) {
			return
		}
	}
}

func (c *goroutineConn) unblock() {
	c.mu.Lock()
	c.blocked = false
	c.mu.Unlock()
	if !c.shut {
		c.h.writable(c)
	}
}

func (c *goroutineConn) soon() {
	c.mu.Lock()
	c.blocked = true
	c.mu.Unlock()
	c.wake()
}

// wake has the queue written.
func (c *goroutineConn) wake() {
	select {
	case c.wanted <- struct{}{}:
	default:
	}
}

func (c *goroutineConn) write(b []byte) (int, error) {
	if c.shut || c.nc == nil {
		return 0, syscall.EPIPE
	}
	c.mu.Lock()
	n := min(len(b), chunk-len(c.queue))
	c.queue = append(c.queue, b[:n]...)
	c.blocked = n < len(b)
	c.mu.Unlock()
	c.wake()
	return n, nil
}

func (c *goroutineConn) close() {
	if c.shut {
		return
	}
	c.shut = true
	close(c.wanted)
	if c.nc != nil {
		c.r.drop(c.nc)
	}
}

// plain takes the addresses off an error, so that those of many connections are one.
func plain(err error) error {
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		return op.Err
	}
	return err
}
