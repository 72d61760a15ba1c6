package relay

import (
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
)

// duplex sends random bytes both ways at the same time.
func (s suite) duplex(t *testing.T) {
	const relays, size = 4, 8 << 20
	e := s.start(t)
	var all []func()
	for i := range relays {
		j := s.join(t, e, Pair{})
		up, down := size+i, size-i
		all = append(
			all,
			func() { send(t, j.client, newStream(1), up); endWriting(t, j.client) },
			func() { send(t, j.server, newStream(2), down); endWriting(t, j.server) },
			func() { expect(t, j.server, newStream(1), up); expectEnd(t, j.server) },
			func() { expect(t, j.client, newStream(2), down); expectEnd(t, j.client) },
			func() { j.want(int64(up), int64(down), nil) },
		)
	}
	together(all...)
}

// closeOrders ends the two sides in every order, each by half-closing or by closing
// outright once it has got everything, with and without bytes before.
func (s suite) closeOrders(t *testing.T) {
	e := s.start(t)
	for _, size := range []int{0, 1, 3000, 300_000} {
		for _, clientFirst := range []bool{true, false} {
			for _, outright := range []bool{true, false} {
				t.Run(fmt.Sprintf("size=%d,clientFirst=%t,outright=%t", size, clientFirst, outright), func(t *testing.T) {
					s.closeOrder(t, e, size, clientFirst, outright)
				})
			}
		}
	}
}

func (s suite) closeOrder(t *testing.T, e *Engine, size int, clientFirst, outright bool) {
	j := s.join(t, e, Pair{})
	first, second := j.client, j.server
	if !clientFirst {
		first, second = second, first
	}
	together(
		func() { send(t, first, newStream(1), size) },
		func() { send(t, second, newStream(2), size) },
		func() { expect(t, first, newStream(2), size) },
		func() { expect(t, second, newStream(1), size) },
	)
	if outright {
		first.Close()
	} else {
		endWriting(t, first)
	}
	expectEnd(t, second)
	if outright {
		second.Close()
	} else {
		endWriting(t, second)
		expectEnd(t, first)
	}
	j.want(int64(size), int64(size), nil)
}

// halfClose lets one side end and the other go on, each way.
func (s suite) halfClose(t *testing.T) {
	const before, after = 10_000, 2 << 20
	e := s.start(t)
	for range 20 {
		j := s.join(t, e, Pair{})
		send(t, j.client, newStream(1), before)
		endWriting(t, j.client)
		expect(t, j.server, newStream(1), before)
		expectEnd(t, j.server)
		together(
			func() { send(t, j.server, newStream(2), after); endWriting(t, j.server) },
			func() { expect(t, j.client, newStream(2), after); expectEnd(t, j.client) },
		)
		j.want(before, after, nil)

		j = s.join(t, e, Pair{})
		send(t, j.server, newStream(2), before)
		endWriting(t, j.server)
		expect(t, j.client, newStream(2), before)
		expectEnd(t, j.client)
		together(
			func() { send(t, j.client, newStream(1), after); endWriting(t, j.client) },
			func() { expect(t, j.server, newStream(1), after); expectEnd(t, j.server) },
		)
		j.want(after, before, nil)
	}
}

// early gives the relay bytes to begin with, while both sides send and none reads.
func (s suite) early(t *testing.T) {
	const more = 100_000
	e := s.start(t)
	for _, size := range []int{1, 1460, 64 << 10, 256 << 10, 4 << 20} {
		up, down := newStream(1), newStream(2)
		j := s.join(t, e, Pair{ToServer: up.take(size), ToClient: down.take(size)})
		together(
			func() { send(t, j.client, up, more); endWriting(t, j.client) },
			func() { send(t, j.server, down, more); endWriting(t, j.server) },
			func() { expect(t, j.server, newStream(1), size+more); expectEnd(t, j.server) },
			func() { expect(t, j.client, newStream(2), size+more); expectEnd(t, j.client) },
		)
		j.want(int64(size+more), int64(size+more), nil)
	}
}

// earlyThenEnd starts relays whose sides have ended before.
func (s suite) earlyThenEnd(t *testing.T) {
	const size = 256 << 10
	e := s.start(t)
	for range 20 {
		j := s.prepare(t, Pair{ToServer: newStream(1).take(size)})
		endWriting(t, j.client)
		send(t, j.server, newStream(2), 5)
		endWriting(t, j.server)
		j.start(e)
		expect(t, j.server, newStream(1), size)
		expectEnd(t, j.server)
		expect(t, j.client, newStream(2), 5)
		expectEnd(t, j.client)
		j.want(size, 5, nil)
	}
}

// answerFirst has a server that speaks before the relay starts, then waits.
func (s suite) answerFirst(t *testing.T) {
	e := s.start(t)
	for range 50 {
		j := s.prepare(t, Pair{})
		send(t, j.server, newStream(2), 20)
		j.start(e)
		expect(t, j.client, newStream(2), 20)
		send(t, j.client, newStream(1), 7)
		expect(t, j.server, newStream(1), 7)
		j.client.Close()
		j.server.Close()
		if r := j.result(); r.Up != 7 || r.Down != 20 || r.Err != nil {
			t.Fatalf("Result = %+v", r)
		}
	}
}

// relayClose ends a relay by its handle, again and again.
func (s suite) relayClose(t *testing.T) {
	e := s.start(t)
	j := s.join(t, e, Pair{})
	send(t, j.client, newStream(1), 10)
	expect(t, j.server, newStream(1), 10)
	together(j.relay.Close, j.relay.Close)
	j.want(10, 0, ErrClosed)
	j.relay.Close()
	for _, far := range []net.Conn{j.client, j.server} {
		s.expectCut(t, far)
	}

	j = s.join(t, e, Pair{})
	j.relay.Close()
	j.want(0, 0, ErrClosed)
}

// expectCut checks that what c was sent cannot be taken for the whole.
func (s suite) expectCut(t testing.TB, c net.Conn) {
	t.Helper()
	if s.network.resets {
		expectReset(t, c)
		return
	}
	if _, err := c.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("Read: %v, want an end", err)
	}
}

// cutWhileBytesMove ends relays, by each of the ways there are, in the middle of what they move.
func (s suite) cutWhileBytesMove(t *testing.T) {
	for _, way := range []struct {
		name string
		cut  func(*Engine, *Relay)
		want error
	}{
		{"relay", func(_ *Engine, r *Relay) { r.Close() }, ErrClosed},
		{"engine", func(e *Engine, _ *Relay) { e.Close() }, ErrClosed},
		{"idle", func(_ *Engine, r *Relay) { r.runner.cut(ErrIdle) }, ErrIdle}, // as the wheel does
	} {
		for _, d := range []direction{toServer, toClient} {
			t.Run(fmt.Sprintf("%s/%d", way.name, d), func(t *testing.T) {
				e := s.start(t)
				j := s.join(t, e, Pair{})
				from, to := j.ends(d)
				send(t, from, newStream(1), 100_000)
				expect(t, to, newStream(1), 100_000)
				way.cut(e, j.relay)
				s.expectCut(t, to)
				s.expectCut(t, from)
				if r := j.result(); r.Err != way.want {
					t.Errorf("Result.Err = %v, want %v", r.Err, way.want)
				}
			})
		}
	}
}

// cutHalfClosed ends relays in which one direction ended before. The other one is cut short,
// but nothing is taken back of that one.
func (s suite) cutHalfClosed(t *testing.T) {
	const whole = 100_000
	for _, d := range []direction{toServer, toClient} {
		e := s.start(t)
		j := s.join(t, e, Pair{})
		from, to := j.ends(d)
		together(
			func() { send(t, from, newStream(1), whole); endWriting(t, from) },
			func() { expect(t, to, newStream(1), whole); expectEnd(t, to) },
		)
		send(t, to, newStream(2), 10)
		expect(t, from, newStream(2), 10)
		j.relay.Close()
		s.expectCut(t, from)
		if _, err := flood(to); err == nil {
			t.Error("who still sends was not told")
		}
		if r := j.result(); r.Err != ErrClosed {
			t.Errorf("Result.Err = %v, want ErrClosed", r.Err)
		}
	}
}

// cutBehindEnd ends relays when one side has ended and the other not yet taken all of that.
func (s suite) cutBehindEnd(t *testing.T) {
	if !s.network.resets {
		return // such a network keeps what it has
	}
	for _, d := range []direction{toServer, toClient} {
		e := s.start(t)
		j := s.prepare(t, Pair{})
		from, to := j.ends(d)
		shrink(t, to)
		for _, near := range []net.Conn{j.pair.Client, j.pair.Server} {
			if err := below(near).(*net.TCPConn).SetWriteBuffer(208 << 10); err != nil { // the system doubles it
				t.Error(err)
			}
		}
		j.start(e)
		const size = 256 << 10 // more than the reader's kernel takes, less than the relay's holds
		send(t, from, newStream(1), size)
		endWriting(t, from)
		eventually(t, "the relay has passed all on", func() bool {
			up, down := j.relay.Bytes()
			return up+down == size && isHalfClosed(j.relay)
		})
		j.relay.Close()
		if r := j.result(); r.Err != ErrClosed {
			t.Errorf("Result.Err = %v, want ErrClosed", r.Err)
		}
		expect(t, to, newStream(1), size)
		expectEnd(t, to)
	}
}

// goexitInDone has Done functions end their goroutine, as testing.T.FailNow does: other relays go
// on, and Close returns.
func (s suite) goexitInDone(t *testing.T) {
	e := s.start(t)
	other := s.join(t, e, Pair{})
	begin := func(p Pair) *joined {
		j := s.prepare(t, p)
		j.pair.Done = func(r Result) {
			j.done <- r
			runtime.Goexit()
		}
		j.start(e)
		return j
	}
	for range 4 { // on each loop
		j := begin(Pair{})
		endWriting(t, j.client)
		endWriting(t, j.server)
		j.want(0, 0, nil)
		j = begin(Pair{})
		j.relay.Close()
		j.want(0, 0, ErrClosed)
	}
	for _, j := range []*joined{begin(Pair{Idle: tick}), begin(Pair{Idle: tick})} {
		j.want(0, 0, ErrIdle)
	}
	send(t, other.client, newStream(1), 10)
	expect(t, other.server, newStream(1), 10)
	last := []*joined{begin(Pair{}), begin(Pair{})}
	e.Close()
	for _, j := range append(last, other) {
		if r := j.result(); r.Err != ErrClosed {
			t.Errorf("Result.Err = %v, want ErrClosed", r.Err)
		}
	}
}

// engineClose ends relays that are idle, that flow and that are stuck.
func (s suite) engineClose(t *testing.T) {
	e := s.start(t)
	idle, flowing, stuck := s.join(t, e, Pair{}), s.join(t, e, Pair{}), s.join(t, e, Pair{})
	half := s.join(t, e, Pair{})
	endWriting(t, half.client)
	expectEnd(t, half.server)

	var background sync.WaitGroup
	background.Go(func() { flood(flowing.client) })
	background.Go(func() { io.Copy(io.Discard, flowing.server) })
	background.Go(func() { flood(stuck.server) })
	eventually(t, "bytes flow", func() bool {
		up, _ := flowing.relay.Bytes()
		_, down := stuck.relay.Bytes()
		return up > 1<<20 && down > 0
	})

	together(func() { e.Close() }, func() { e.Close() })
	for _, j := range []*joined{idle, flowing, stuck, half} {
		select {
		case r := <-j.done:
			if r.Err != ErrClosed {
				t.Errorf("Result.Err = %v, want ErrClosed", r.Err)
			}
		default:
			t.Error("Engine.Close returned before Done was called")
		}
	}
	background.Wait()
}

// startClosed starts a relay on a closed engine.
func (s suite) startClosed(t *testing.T) {
	e := s.start(t)
	e.Close()
	j := s.join(t, e, Pair{ToServer: []byte("early")})
	j.want(0, 0, ErrClosed)
	s.expectCut(t, j.client)
}

// startWhileClosing starts relays while the engine is being closed.
func (s suite) startWhileClosing(t *testing.T) {
	for range 10 {
		e := s.start(t)
		var all []*joined
		for range 20 {
			all = append(all, s.prepare(t, Pair{}))
		}
		together(
			func() {
				for _, j := range all {
					j.start(e)
				}
			},
			func() {
				runtime.Gosched()
				e.Close()
			},
		)
		for _, j := range all {
			j.want(0, 0, ErrClosed)
		}
	}
}
