package limits

import (
	"net"
	"os"
	"sync"
	"time"
)

// A piece is what a connection moves before it waits for its turn: the bytes of 10 ms,
// within bounds. A larger one would be a burst; a smaller one a system call for next to
// nothing.
const (
	piecesPerSecond = 100
	leastPiece      = 128
	mostPiece       = 64 << 10
)

// slack is how late a turn may be used without loss, since timers are late, and so the time
// whose bytes a user who was silent may move at once.
const slack = 100 * time.Millisecond

// pace is the rate of one user. It keeps, in place of tokens, the time at which all that
// moved will have been paid for.
type pace struct {
	mu   sync.Mutex
	paid time.Time
}

func (p *pace) paidUntil() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.paid
}

// charge takes n bytes and returns when they will have been paid for. Those who come one
// after the other get times one after the other: a turn for each, whoever they are.
func (p *pace) charge(n int, rate int64) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paid = later(p.paid, time.Now().Add(-slack)).Add(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
	return p.paid
}

// Paces reports whether Conn returns anything but what it is given.
func (l *Limiter) Paces() bool { return l.rate.Load() > 0 }

// Conn makes of c a connection that takes part in the user's bytes a second. Without such a
// limit, or a user, it is c itself. It must be closed; that closes c.
//
// What is read and what is written count together. All connections of the user get the
// same share while they want it. Each moves a piece and then waits until that is paid for:
// a Read or Write that waits returns when the connection is closed or its deadline passes,
// and none that has moved bytes waits before it returns. CloseWrite is there if c has it,
// NetConn is c.
func (l *Limiter) Conn(c net.Conn, user string) net.Conn {
	if user == "" || !l.Paces() {
		return c
	}
	l.mu.Lock()
	u := l.users.hold(user, time.Now())
	l.mu.Unlock()
	p := &paced{Conn: c, limiter: l, user: u, closed: make(chan struct{})}
	if half, ok := c.(closeWriter); ok {
		return &pacedHalf{p, half}
	}
	return p
}

type closeWriter interface{ CloseWrite() error }

// paced is a connection that waits for its turn.
type paced struct {
	net.Conn
	limiter *Limiter
	user    *party[string]
	in, out lane

	closing sync.Once
	closed  chan struct{}
}

// pacedHalf is one that can be half closed.
type pacedHalf struct {
	*paced
	half closeWriter
}

func (c *pacedHalf) CloseWrite() error { return c.half.CloseWrite() }

// lane is one direction of a connection.
type lane struct {
	mu       sync.Mutex // one Read, or Write, at a time
	began    bool
	moved    int       // of the piece that it is at: small reads are not to get a smaller share
	turn     time.Time // when what this lane moved is paid for
	deadline deadline
}

// NetConn returns the connection that this one is made of.
func (c *paced) NetConn() net.Conn { return c.Conn }

func (c *paced) Read(b []byte) (int, error) { return c.move(&c.in, b, c.Conn.Read) }

func (c *paced) Write(b []byte) (n int, err error) {
	for {
		more, err := c.move(&c.out, b[n:], c.Conn.Write)
		n += more
		if err != nil || n == len(b) {
			return n, err
		}
	}
}

// move moves at most one piece of b when it is the lane's turn.
func (c *paced) move(l *lane, b []byte, do func([]byte) (int, error)) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rate := c.limiter.rate.Load()
	if rate <= 0 {
		return do(b)
	}
	if l.moved >= piece(rate) || !l.began {
		if err := c.await(l); err != nil {
			return 0, err
		}
	}
	n, err := do(b[:min(len(b), piece(rate)-l.moved)])
	if n > 0 {
		l.moved += n
		l.turn = c.user.bytes.charge(n, rate)
	}
	return n, err
}

func piece(rate int64) int { return int(min(max(rate/piecesPerSecond, leastPiece), mostPiece)) }

// await waits for the lane's turn. A lane that has not moved anything yet waits until all
// others have paid, or many short connections would not be held to the rate.
func (c *paced) await(l *lane) error {
	if !l.began {
		l.began, l.turn = true, c.user.bytes.paidUntil()
	}
	for {
		until, changed := l.deadline.watch()
		now := time.Now()
		wait := l.turn.Sub(now)
		switch left := until.Sub(now); {
		case wait <= 0:
			l.moved = 0
			return nil
		case until.IsZero():
		case left <= 0:
			return os.ErrDeadlineExceeded
		default:
			wait = min(wait, left)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-changed:
		case <-c.closed:
			timer.Stop()
			return net.ErrClosed
		}
		timer.Stop()
	}
}

func (c *paced) Close() error {
	err := c.Conn.Close()
	c.closing.Do(func() {
		close(c.closed)
		c.limiter.mu.Lock()
		defer c.limiter.mu.Unlock()
		c.limiter.users.release(c.user, time.Now())
	})
	return err
}

func (c *paced) SetDeadline(t time.Time) error {
	c.in.deadline.set(t)
	c.out.deadline.set(t)
	return c.Conn.SetDeadline(t)
}

func (c *paced) SetReadDeadline(t time.Time) error {
	c.in.deadline.set(t)
	return c.Conn.SetReadDeadline(t)
}

func (c *paced) SetWriteDeadline(t time.Time) error {
	c.out.deadline.set(t)
	return c.Conn.SetWriteDeadline(t)
}

// deadline is the time by which a lane must not wait any longer; none if it is zero.
type deadline struct {
	mu      sync.Mutex
	at      time.Time
	changed chan struct{} // closed when at is no longer true; nil if nobody watches
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = t
	if d.changed != nil {
		close(d.changed)
		d.changed = nil
	}
}

func (d *deadline) watch() (at time.Time, changed <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.changed == nil {
		d.changed = make(chan struct{})
	}
	return d.at, d.changed
}
