package limits

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hosier/internal/tcptest"
)

// endless is a connection that always has something and takes everything, at once.
type endless struct {
	net.Conn // nil
	closed   int
	ended    bool
}

func (e *endless) Read(b []byte) (int, error)       { return len(b), nil }
func (e *endless) Write(b []byte) (int, error)      { return len(b), nil }
func (e *endless) Close() error                     { e.closed++; return nil }
func (e *endless) SetDeadline(time.Time) error      { return nil }
func (e *endless) SetReadDeadline(time.Time) error  { return nil }
func (e *endless) SetWriteDeadline(time.Time) error { return nil }

// endlessHalf can be half closed.
type endlessHalf struct{ endless }

func (e *endlessHalf) CloseWrite() error { e.ended = true; return nil }

// forTenSeconds runs each direction of each connection for ten seconds and returns what
// all moved, and what each moved after the first second, when whoever came first has
// used up what the silence before had left.
func forTenSeconds(l *Limiter, user string, conns int, ways ...func(net.Conn) (int, error)) (total int, shares []int) {
	moved := make([]int, conns*len(ways))
	shares = make([]int, len(moved))
	start := time.Now()
	end := start.Add(10 * time.Second)
	var all sync.WaitGroup
	for i := range conns {
		c := l.Conn(&endless{}, user)
		var both sync.WaitGroup
		for j, way := range ways {
			both.Go(func() {
				c.SetDeadline(end)
				for {
					n, err := way(c)
					if err != nil {
						return
					}
					moved[i*len(ways)+j] += n
					if time.Since(start) > time.Second {
						shares[i*len(ways)+j] += n
					}
				}
			})
		}
		all.Go(func() {
			both.Wait()
			c.Close()
		})
	}
	all.Wait()
	for _, n := range moved {
		total += n
	}
	return total, shares
}

func reads(size int) func(net.Conn) (int, error) {
	b := make([]byte, size) // nobody looks at it
	return func(c net.Conn) (int, error) { return c.Read(b) }
}

func writes(size int) func(net.Conn) (int, error) {
	b := make([]byte, size)
	return func(c net.Conn) (int, error) { return c.Write(b) }
}

func TestBytesPerSecond(t *testing.T) {
	t.Parallel()
	for _, rate := range []int64{20_000, 1_000_000, 200_000_000} {
		for _, conns := range []int{1, 2, 10} {
			for name, ways := range map[string][]func(net.Conn) (int, error){
				"read":  {reads(1 << 20)},
				"write": {writes(int(rate) / 1000)},
				"both":  {reads(1 << 20), writes(int(rate) / 1000)},
			} {
				t.Run(fmt.Sprintf("%d/%d/%s", rate, conns, name), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						l := newLimiter(Limits{BytesPerSecond: rate})
						total, shares := forTenSeconds(l, "alice", conns, ways...)
						if off := float64(total)/float64(10*rate) - 1; math.Abs(off) > 0.05 {
							t.Errorf("%d bytes in 10 s: %.1f %% off", total, 100*off)
						}
						fair := float64(9*rate) / float64(len(shares))
						for _, n := range shares {
							if off := float64(n)/fair - 1; math.Abs(off) > 0.05 {
								t.Errorf("one moved %d in 9 s: %.1f %% off its share", n, 100*off)
							}
						}
						time.Sleep(time.Second)
						l.users.sweep(time.Now())
						wantEmpty(t, l)
					})
				})
			}
		}
	}
}

// Users do not slow each other.
func TestUsersApart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(Limits{BytesPerSecond: 100_000})
		var all sync.WaitGroup
		for _, user := range []string{"alice", "bob"} {
			all.Go(func() {
				if n, _ := forTenSeconds(l, user, 1, reads(4096)); n < 950_000 || n > 1_050_000 {
					t.Errorf("%s moved %d", user, n)
				}
			})
		}
		all.Wait()
	})
}

// Many short connections are held to the rate, too.
func TestShortConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(Limits{BytesPerSecond: 100_000})
		total, start := 0, time.Now()
		for time.Since(start) < 10*time.Second {
			c := l.Conn(&endless{}, "alice")
			n, _ := c.Read(make([]byte, 100_000))
			total += n
			c.Close()
		}
		if total < 950_000 || total > 1_050_000 {
			t.Errorf("%d bytes in 10 s", total)
		}
	})
}

// An idle connection takes nothing from the others, and has its turn at once.
func TestIdleConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(Limits{BytesPerSecond: 100_000})
		c := l.Conn(&endless{}, "alice")
		defer c.Close()
		c.Read(make([]byte, 1))
		done := make(chan int)
		go func() {
			total, _ := forTenSeconds(l, "alice", 3, reads(4096))
			done <- total
		}()
		time.Sleep(5 * time.Second)
		start := time.Now()
		c.Write(make([]byte, 100))
		c.Read(make([]byte, 100))
		if waited := time.Since(start); waited > 100*time.Millisecond {
			t.Errorf("it waited %v", waited)
		}
		if total := <-done; total < 950_000 {
			t.Errorf("the others moved %d", total)
		}
	})
}

// tired returns a connection whose next Read and Write wait for some seconds.
func tired(t *testing.T) net.Conn {
	t.Helper()
	l := newLimiter(Limits{BytesPerSecond: 10})
	other := l.Conn(&endless{}, "alice")
	defer other.Close()
	if n, err := other.Read(make([]byte, 100)); n != 100 || err != nil {
		t.Fatal(n, err)
	}
	return l.Conn(&endlessHalf{}, "alice")
}

func TestWaitEnds(t *testing.T) {
	t.Parallel()
	for name, way := range map[string]func(net.Conn) (int, error){"read": reads(1), "write": writes(1)} {
		for _, c := range []struct {
			name string
			end  func(net.Conn)
			want error
			when time.Duration
		}{
			{"close", func(c net.Conn) { time.Sleep(time.Second); c.Close() }, net.ErrClosed, time.Second},
			{"deadline before", func(c net.Conn) { c.SetDeadline(time.Now().Add(2 * time.Second)) }, os.ErrDeadlineExceeded, 2 * time.Second},
			{"deadline meanwhile", func(c net.Conn) { time.Sleep(time.Second); c.SetDeadline(time.Now()) }, os.ErrDeadlineExceeded, time.Second},
			{"deadline sooner", func(c net.Conn) {
				c.SetDeadline(time.Now().Add(4 * time.Second))
				time.Sleep(time.Second)
				c.SetReadDeadline(time.Now().Add(time.Second))
				c.SetWriteDeadline(time.Now().Add(time.Second))
			}, os.ErrDeadlineExceeded, 2 * time.Second},
			{"deadline taken away", func(c net.Conn) {
				c.SetDeadline(time.Now().Add(time.Second))
				time.Sleep(time.Second / 2)
				c.SetDeadline(time.Time{})
				time.Sleep(3 * time.Second)
				c.Close()
			}, net.ErrClosed, 3500 * time.Millisecond},
			{"deadline of the other way", func(c net.Conn) {
				if name == "read" {
					c.SetWriteDeadline(time.Now())
				} else {
					c.SetReadDeadline(time.Now())
				}
				time.Sleep(time.Second)
				c.Close()
			}, net.ErrClosed, time.Second},
		} {
			t.Run(name+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					conn := tired(t)
					defer conn.Close()
					defer time.Sleep(5 * time.Second) // for the end of c.end
					start := time.Now()
					go c.end(conn)
					n, err := way(conn)
					if n != 0 || !errors.Is(err, c.want) {
						t.Errorf("%d, %v, want %v", n, err, c.want)
					}
					if waited := time.Since(start); waited != c.when {
						t.Errorf("after %v, want %v", waited, c.when)
					}
					var timeout net.Error
					if c.want == os.ErrDeadlineExceeded && (!errors.As(err, &timeout) || !timeout.Timeout()) {
						t.Errorf("%v is no timeout", err)
					}
				})
			})
		}
	}
}

// A limit that is taken away at a reload holds nobody who comes then.
func TestSetLetsGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(Limits{BytesPerSecond: 1000})
		c := l.Conn(&endless{}, "alice")
		defer c.Close()
		c.Read(make([]byte, 1000))
		l.Set(Limits{})
		if n, err := c.Read(make([]byte, 1<<20)); n != 1<<20 || err != nil {
			t.Error(n, err)
		}
		l.Set(Limits{BytesPerSecond: 1000})
		start := time.Now()
		if _, err := c.Write(make([]byte, 2000)); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took < 1500*time.Millisecond || took > 2100*time.Millisecond {
			t.Errorf("2000 bytes at 1000 a second took %v", took)
		}
	})
}

func TestNoWrapper(t *testing.T) {
	t.Parallel()
	bare := &endless{}
	if c := newLimiter(Limits{ConnsPerUser: 1}).Conn(bare, "alice"); c != net.Conn(bare) {
		t.Errorf("without a limit: %T", c)
	}
	if c := newLimiter(Limits{BytesPerSecond: 1}).Conn(bare, ""); c != net.Conn(bare) {
		t.Errorf("without a user: %T", c)
	}
	if c := (&Limiter{}).Conn(bare, "alice"); c != net.Conn(bare) {
		t.Errorf("of a zero Limiter: %T", c)
	}
}

func TestWrapper(t *testing.T) {
	t.Parallel()
	l := newLimiter(Limits{BytesPerSecond: 1000})
	whole, half := &endless{}, &endlessHalf{}
	c := l.Conn(whole, "alice")
	if _, ok := c.(closeWriter); ok {
		t.Error("there is a CloseWrite that the connection does not have")
	}
	d := l.Conn(half, "alice")
	if err := d.(closeWriter).CloseWrite(); err != nil || !half.ended {
		t.Errorf("CloseWrite: %v, %v", err, half.ended)
	}
	if got := d.(interface{ NetConn() net.Conn }).NetConn(); got != net.Conn(half) {
		t.Errorf("NetConn is %v", got)
	}
	for _, one := range []net.Conn{c, c, d, d} { // the relay closes twice
		one.Close()
	}
	if whole.closed != 2 || half.closed != 2 {
		t.Errorf("%d and %d closes arrive", whole.closed, half.closed)
	}
	wantEmpty(t, l)
}

// The real thing: nothing is lost, and the end of one way leaves the other open.
func TestOverTCP(t *testing.T) {
	t.Parallel()
	bare, err := net.Dial("tcp", tcptest.Listen(t, tcptest.Echo))
	if err != nil {
		t.Fatal(err)
	}
	c := newLimiter(Limits{BytesPerSecond: 64 << 20}).Conn(bare, "alice")
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	const size = 1 << 20
	go func() {
		c.Write(make([]byte, size))
		c.(closeWriter).CloseWrite()
	}()
	if n, err := io.Copy(io.Discard, c); n != size || err != nil {
		t.Errorf("%d bytes came back, want %d: %v", n, size, err)
	}
}
