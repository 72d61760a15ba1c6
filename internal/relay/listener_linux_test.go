package relay

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"hosier/internal/tcptest"
)

// startFromTask starts the relay of p as a task does that has come to it, with its own
// sockets.
func startFromTask(e *Engine, p Pair) *Relay {
	l := e.pick()
	if l == nil || e.isClosed() {
		return e.Start(p)
	}
	started := make(chan *Relay)
	t := newTask(l)
	t.start(func() {
		var err error
		for out, c := range []*net.Conn{toServer: &p.Server, toClient: &p.Client} {
			fd, failed := duplicate((*c).(*net.TCPConn))
			(*c).Close()
			if failed == nil {
				*c, failed = t.add(direction(out), int32(fd), netip.AddrPort{})
			}
			if failed != nil {
				err = failed
			}
		}
		if err != nil && !e.isClosed() { // which closes the sockets
			panic(err)
		}
		started <- e.Start(p)
	})
	if !l.post(t, true) {
		e.leave()
		return e.Start(p)
	}
	return <-started
}

// accepted is a [Handler] that takes everything, and ends with the first error.
type accepted func(c net.Conn)

func (accepted) Ready() bool            { return true }
func (accepted) Wait() bool             { return true }
func (f accepted) Accepted(c net.Conn)  { f(c) }
func (accepted) Failed(err error) error { return err }

// handling returns a Handler that serves each connection by serve, in its loop.
func handling(e *Engine, serve func(net.Conn)) Handler {
	return accepted(func(c net.Conn) { e.Go(c, func() { serve(c) }) })
}

// frontend accepts in the loops of an engine, and runs serve for each client.
func frontend(t *testing.T, e *Engine, serve func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	in := e.Listen(l)
	var ended sync.WaitGroup
	ended.Go(func() {
		if err := in.Serve(handling(e, serve), true); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Serve returned %v", err)
		}
	})
	t.Cleanup(func() { in.Close(); ended.Wait() })
	return l.Addr().String()
}

func visitor(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn)
}

// A conversation in a loop leads to a relay there, to one that began outside, or nowhere;
// nothing of it is left.
func TestFront(t *testing.T) {
	files, goroutines := openFiles(t), runtime.NumGoroutine()
	t.Run("many", testFront)
	eventually(t, "descriptors are as before", func() bool { return openFiles(t) <= files })
	eventually(t, "goroutines are as before", func() bool { return runtime.NumGoroutine() <= goroutines })
}

func testFront(t *testing.T) {
	const clients = 200
	target := netip.MustParseAddrPort(tcptest.Listen(t, tcptest.Echo))
	e := &Engine{Loops: 2}
	t.Cleanup(func() { e.Close() })
	var leavers counter
	address := frontend(t, e, func(c net.Conn) {
		var hello [1]byte
		if _, err := io.ReadFull(c, hello[:]); err != nil {
			c.Close()
			return
		}
		if !InLoop(c) {
			t.Error("the loop has lost a client before it left")
		}
		p := Pair{Client: c}
		var err error
		if hello[0] == 'L' {
			leavers.add(1)
			Leave(c)
			p.Server, err = net.Dial("tcp", target.String())
		} else {
			p.Server, _, err = Connect(c, target, time.Now().Add(patience))
		}
		if err == nil {
			_, err = c.Write([]byte{'+'})
		}
		if err != nil {
			t.Error(err)
			c.Close()
			return
		}
		e.Start(p)
	})
	var all []func()
	for i := range clients {
		all = append(all, func() {
			c := visitor(t, address)
			hello := byte('C')
			switch i % 4 {
			case 1:
				hello = 'L'
			case 2:
				return // without a word
			}
			size := 1000 + i*3000
			together(func() {
				c.Write([]byte{hello}) // what follows may come with it, or later
				send(t, c, newStream(byte(i)), size)
				endWriting(t, c)
			}, func() {
				if got := make([]byte, 1); must(t, c, got) && got[0] != '+' {
					t.Errorf("greeted with %q", got)
				}
				expect(t, c, newStream(byte(i)), size)
				expectEnd(t, c)
			})
		})
	}
	together(all...)
	if n := leavers.load(); n != clients/4 {
		t.Errorf("%d left, want %d", n, clients/4)
	}
}

func must(t *testing.T, c net.Conn, b []byte) bool {
	_, err := io.ReadFull(c, b)
	if err != nil {
		t.Error(err)
	}
	return err == nil
}

// visit runs serve for one client of a loop, while the test does talk.
func visit(t *testing.T, serve func(*Engine, net.Conn), talk func(*net.TCPConn)) {
	t.Helper()
	e := &Engine{Loops: 1}
	t.Cleanup(func() { e.Close() })
	done := make(chan struct{})
	address := frontend(t, e, func(c net.Conn) {
		defer close(done)
		defer c.Close()
		serve(e, c)
	})
	talk(visitor(t, address))
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("the task did not end")
	}
}

func TestFrontDeadline(t *testing.T) {
	const limit = 30 * time.Millisecond
	visit(t, func(_ *Engine, c net.Conn) {
		for range 2 { // that of the first must not end the second
			begun := time.Now()
			c.SetReadDeadline(begun.Add(limit))
			_, err := c.Read(make([]byte, 1))
			if took := time.Since(begun); !errors.Is(err, os.ErrDeadlineExceeded) || took < limit {
				t.Errorf("read ended after %v with %v", took, err)
			}
		}
		c.SetReadDeadline(time.Time{})
		if _, err := c.Write([]byte{1}); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Error(err)
		}
	}, func(c *net.TCPConn) {
		io.ReadFull(c, make([]byte, 1))
		c.Write([]byte{1})
	})
}

// A client that does not read holds its task up, and nothing else, until its deadline.
func TestFrontWriteWaits(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789"), 1<<20)
	full := make(chan struct{})
	visit(t, func(_ *Engine, c net.Conn) {
		n, err := 0, error(nil)
		for n == 0 { // a busy machine may come to the deadline before the first byte
			c.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
			if n, err = c.Write(big); n == len(big) || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("wrote %d of %d bytes, %v", n, len(big), err)
				break
			}
		}
		close(full)
		c.SetWriteDeadline(time.Now().Add(patience))
		if k, err := c.Write(big[n:]); k != len(big)-n || err != nil {
			t.Errorf("wrote %d bytes, %v", k, err)
		}
	}, func(c *net.TCPConn) {
		<-full
		got, err := io.ReadAll(c)
		if err != nil || !bytes.Equal(got, big) {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
	})
}

// Closing from outside ends what a task waits for.
func TestFrontClosedFromOutside(t *testing.T) {
	for name, wait := range map[string]func(*Engine, net.Conn) error{
		"read": func(_ *Engine, c net.Conn) error {
			_, err := c.Read(make([]byte, 1))
			return err
		},
		"write": func(_ *Engine, c net.Conn) error {
			_, err := c.Write(make([]byte, 100<<20))
			return err
		},
		"connect": func(_ *Engine, c net.Conn) error {
			_, _, err := Connect(c, full(t), time.Now().Add(patience))
			return err
		},
		"left": func(_ *Engine, c net.Conn) error {
			_, err := Leave(c).Read(make([]byte, 1))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			visit(t, func(e *Engine, c net.Conn) {
				time.AfterFunc(20*time.Millisecond, func() { c.Close() })
				if err := wait(e, c); !errors.Is(err, net.ErrClosed) {
					t.Errorf("ended with %v", err)
				}
			}, func(*net.TCPConn) {})
		})
	}
}

// full is the address of a listener that takes no more connections, and refuses none.
func full(t *testing.T) netip.AddrPort {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := errors.Join(
		syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}),
		syscall.Listen(fd, 0),
	); err != nil {
		t.Fatal(err)
	}
	at := localAddr(int32(fd))
	visitor(t, at.String())
	return at
}

func TestFrontConnectFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().(*net.TCPAddr).AddrPort()
	l.Close()
	busy := full(t)
	visit(t, func(_ *Engine, c net.Conn) {
		if _, _, err := Connect(c, closed, time.Now().Add(patience)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("connecting to a closed port: %v", err)
		}
		_, _, err := Connect(c, busy, time.Now().Add(20*time.Millisecond))
		if timeout := net.Error(nil); !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("connecting to a full listener: %v", err)
		}
	}, func(*net.TCPConn) {})
}

// Closing an engine ends conversations as it ends relays.
func TestFrontEngineClose(t *testing.T) {
	e := &Engine{Loops: 2}
	begun := make(chan struct{}, 20)
	var ended counter
	address := frontend(t, e, func(c net.Conn) {
		begun <- struct{}{}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read ended with %v", err)
		}
		c.Close()
		ended.add(1)
	})
	for range cap(begun) {
		visitor(t, address)
		<-begun
	}
	e.Close()
	if n := ended.load(); n != int64(cap(begun)) {
		t.Errorf("%d of %d conversations had ended", n, cap(begun))
	}
}

// A relay that lasts does not stay where it was accepted if that is not its turn.
func TestRelaysSettleOverLoops(t *testing.T) {
	const relays = 8
	e := suite{newOne: newLoops}.start(t)
	s := suite{network: tcpNetwork(), begin: func(e *Engine, p Pair) *Relay {
		e.loops.next.Store(1) // all in the same
		return startFromTask(e, p)
	}}
	var all []*joined
	for range relays {
		all = append(all, s.join(t, e, Pair{}))
	}
	for i := range 3 * migrateAfter {
		for _, j := range all {
			send(t, j.client, newStream(byte(i)), 10)
			expect(t, j.server, newStream(byte(i)), 10)
		}
	}
	in := map[*eventLoop]int{}
	for _, j := range all {
		w := j.relay.runner.(*wire)
		w.mu.Lock()
		in[w.loop]++
		w.mu.Unlock()
		j.relay.Close()
		j.result()
	}
	for _, n := range in {
		if n < relays/4 || n > relays*3/4 {
			t.Errorf("%d of %d relays are in one loop", n, relays)
		}
	}
}

// What a loop runs ends its goroutine, as testing.T.FailNow does: that connection is closed, the
// loop goes on, and Close returns.
func TestTaskEndsItsGoroutine(t *testing.T) {
	for name, leave := range map[string]bool{"in the loop": false, "outside": true} {
		t.Run(name, func(t *testing.T) {
			e := &Engine{Loops: 1}
			defer e.Close()
			address := frontend(t, e, func(c net.Conn) {
				one := make([]byte, 1)
				if _, err := io.ReadFull(c, one); err != nil {
					c.Close()
					return
				}
				if one[0] == 'x' {
					if leave {
						c = Leave(c)
					}
					defer c.Close()
					runtime.Goexit()
				}
				c.Write(one)
				c.Close()
			})
			before := visitor(t, address)
			for range 3 {
				c := visitor(t, address)
				c.Write([]byte("x"))
				expectEnd(t, c)
			}
			before.Write([]byte("y"))
			if b, err := io.ReadAll(before); string(b) != "y" || err != nil {
				t.Errorf("got %q, %v from a connection that began before", b, err)
			}
		})
	}
}

// Reset is seen as one, from inside the loop and from outside.
func TestReset(t *testing.T) {
	for name, leave := range map[string]bool{"in the loop": false, "outside": true} {
		t.Run(name, func(t *testing.T) {
			e := &Engine{Loops: 1}
			defer e.Close()
			c := visitor(t, frontend(t, e, func(c net.Conn) {
				io.ReadFull(c, make([]byte, 1)) // or it has not connected yet
				if leave {
					Leave(c)
				}
				Reset(c)
			}))
			c.Write([]byte("x"))
			expectReset(t, c)
		})
	}
}

// Closing an engine closes the sockets of tasks under their feet: whatever these ask of one
// must not be asked of a number that may be another's by then. The race detector sees it.
func TestFrontClosedWhileConnecting(t *testing.T) {
	target := netip.MustParseAddrPort(tcptest.Listen(t, tcptest.Echo))
	for range 10 {
		e := &Engine{Loops: 2}
		connected := make(chan struct{}, 4)
		address := frontend(t, e, func(c net.Conn) {
			defer c.Close()
			for n := 0; ; n++ {
				s, _, err := Connect(c, target, time.Now().Add(patience))
				if err != nil {
					if !errors.Is(err, net.ErrClosed) {
						t.Errorf("ended with %v", err)
					}
					return
				}
				s.Close()
				if n == 3 {
					connected <- struct{}{}
				}
			}
		})
		for range cap(connected) {
			visitor(t, address)
		}
		for range cap(connected) {
			<-connected
		}
		e.Close()
	}
}

// A task that leaves its loop when no descriptor is to be had keeps its connection.
func TestLeaveWithoutDescriptors(t *testing.T) {
	for name, use := range map[string]func(*testing.T, *Engine, net.Conn, *net.TCPConn){
		"talk":       talkInFile,
		"reset":      func(t *testing.T, _ *Engine, c net.Conn, far *net.TCPConn) { Reset(c); expectReset(t, far) },
		"relay":      relayOfFile,
		"deadline":   deadlineOfFile,
		"from afar":  closeFileFromAfar,
		"closed far": closedFarOfFile,
	} {
		t.Run(name, func(t *testing.T) {
			before := openFiles(t)
			e := &Engine{Loops: 1}
			left := make(chan net.Conn)
			done := make(chan struct{})
			far := visitor(t, frontend(t, e, func(c net.Conn) {
				if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
					t.Error(err)
				}
				ordinary := c
				withoutNewFiles(t, func() { ordinary = Leave(c) })
				if _, ok := ordinary.(*fileConn); !ok {
					t.Errorf("left with a %T: there was a descriptor", ordinary)
				}
				left <- ordinary
				<-done
			}))
			far.Write([]byte("x"))
			c := <-left
			use(t, e, c, far)
			c.Close()
			if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("write after closing: %v", err)
			}
			close(done)
			far.Close()
			e.Close()
			eventually(t, "descriptors are as before", func() bool { return openFiles(t) <= before+1 }) // the listener's
		})
	}
}

func talkInFile(t *testing.T, _ *Engine, c net.Conn, far *net.TCPConn) {
	if l, r := far.LocalAddr().String(), c.RemoteAddr().String(); l != r {
		t.Errorf("remote address is %s, want %s", r, l)
	}
	if l, r := c.LocalAddr().String(), far.RemoteAddr().String(); l != r {
		t.Errorf("local address is %s, want %s", l, r)
	}
	const size = 1 << 20
	together(
		func() { send(t, c, newStream(1), size) },
		func() { send(t, far, newStream(2), size) },
		func() { expect(t, c, newStream(2), size) },
		func() { expect(t, far, newStream(1), size) },
	)
	endWriting(t, c)
	expectEnd(t, far)
	endWriting(t, far)
	expectEnd(t, c)
}

func relayOfFile(t *testing.T, e *Engine, c net.Conn, far *net.TCPConn) {
	target := netip.MustParseAddrPort(tcptest.Listen(t, tcptest.Echo))
	server, err := net.Dial("tcp", target.String())
	if err != nil {
		t.Error(err)
		return
	}
	ended := make(chan Result, 1)
	r := e.Start(Pair{Client: c, Server: server, Done: func(r Result) { ended <- r }})
	if !inLoop(r) {
		t.Error("the relay is not in the loop, though there are descriptors again")
	}
	send(t, far, newStream(1), 100_000)
	endWriting(t, far)
	expect(t, far, newStream(1), 100_000)
	expectEnd(t, far)
	if r := <-ended; r.Err != nil || r.Up != 100_000 || r.Down != 100_000 {
		t.Errorf("Result = %+v", r)
	}
}

func deadlineOfFile(t *testing.T, _ *Engine, c net.Conn, _ *net.TCPConn) {
	c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	_, err := c.Read(make([]byte, 1))
	if timeout := net.Error(nil); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("read ended with %v", err)
	}
}

func closeFileFromAfar(t *testing.T, _ *Engine, c net.Conn, _ *net.TCPConn) {
	time.AfterFunc(10*time.Millisecond, func() { c.Close() })
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read ended with %v", err)
	}
}

func closedFarOfFile(t *testing.T, _ *Engine, c net.Conn, far *net.TCPConn) {
	far.SetLinger(0)
	far.Close()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read ended with %v", err)
	}
}

// An engine that was closed before a listener's loops begin does not leave Serve waiting.
func TestServeOfClosedEngine(t *testing.T) {
	e := &Engine{Loops: 1}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	parts := e.acceptors(l)
	if len(parts) != 1 {
		t.Fatalf("%d acceptors, want 1", len(parts))
	}
	e.Close()
	if inLoopOf(parts[0], func() { t.Error("called in a loop that has ended") }) {
		t.Error("a loop that has ended began a task")
	}
	if !parts[0].(*acceptor).isClosed() {
		t.Error("the acceptor is open")
	}
	if e.running != 0 {
		t.Errorf("%d tasks are running", e.running)
	}
}

// A deadline that is set from outside ends what a loop's connection waits for.
func TestDeadlineFromOutside(t *testing.T) {
	e := &Engine{}
	t.Cleanup(func() { e.Close() })
	conns, ended := make(chan net.Conn), make(chan error)
	address := frontend(t, e, func(c net.Conn) {
		defer c.Close()
		c.SetDeadline(time.Now().Add(time.Hour))
		conns <- c
		_, err := c.Read(make([]byte, 1))
		ended <- err
		full := make([]byte, 64<<10)
		c.SetDeadline(time.Time{})
		conns <- c
		for err = nil; err == nil; {
			_, err = c.Write(full)
		}
		ended <- err
	})
	visitor(t, address)
	for _, set := range []func(net.Conn, time.Time) error{net.Conn.SetReadDeadline, net.Conn.SetDeadline} {
		c := <-conns
		time.Sleep(5 * time.Millisecond) // it waits by now, mostly; either way it ends
		set(c, time.Unix(1, 0))
		if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("ended with %v", err)
		}
	}
}
