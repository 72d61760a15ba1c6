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
		if _, err := far.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
			t.Errorf("Read after Relay.Close: %v, want an end", err)
		}
	}

	j = s.join(t, e, Pair{})
	j.relay.Close()
	j.want(0, 0, ErrClosed)
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
	if _, err := j.client.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("Read: %v, want an end", err)
	}
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
