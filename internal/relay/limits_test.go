package relay

import (
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"
)

// slowReader takes bytes steadily, but so slowly that the relay is mostly stuck in
// a write, and for much longer than the idle limit.
func (s suite) slowReader(t testing.TB, limit time.Duration) {
	const size, piece = 4 << 20, 32 << 10
	e := s.start(t)
	for _, d := range []direction{toServer, toClient} {
		j := s.prepare(t, Pair{Idle: limit, HalfIdle: limit})
		from, to := j.ends(d)
		for _, c := range []net.Conn{j.pair.Client, j.pair.Server, from, to} {
			shrink(t, c)
		}
		j.start(e)
		together(func() {
			send(t, from, newStream(1), size)
			endWriting(t, from)
		}, func() {
			want := newStream(1)
			for left := size; left > 0 && !t.Failed(); left -= piece {
				time.Sleep(limit / 50) // the pace of the reader
				expect(t, to, want, min(piece, left))
			}
			expectEnd(t, to)
			endWriting(t, to)
		})
		if r := j.result(); r.Err != nil || r.Up+r.Down != size {
			t.Errorf("%v: Result = %+v, want all %d bytes", d, r, size)
		}
	}
}

// ends returns the far ends of the way d.
func (j *joined) ends(d direction) (from, to net.Conn) {
	if d == toServer {
		return j.client, j.server
	}
	return j.server, j.client
}

// stalledReader never reads, so that the relay is stuck until the idle limit.
func (s suite) stalledReader(t testing.TB, limit time.Duration) {
	e := s.start(t)
	for _, d := range []direction{toServer, toClient} {
		for _, half := range []bool{false, true} {
			p := Pair{Idle: limit}
			if half {
				p = Pair{HalfIdle: limit}
			}
			j := s.join(t, e, p)
			from, to := j.ends(d)
			if half {
				endWriting(t, to)
				expectEnd(t, from)
			}
			sent, err := flood(from)
			if err == nil {
				t.Error("the sender was not told")
			}
			r := j.result()
			if r.Err != ErrIdle {
				t.Errorf("%v, half closed %t: Result.Err = %v, want ErrIdle", d, half, r.Err)
			}
			if r.Up+r.Down == 0 || r.Up+r.Down > sent {
				t.Errorf("%v: Result = %+v with %d sent", d, r, sent)
			}
		}
	}
}

// backPressure has a reader that does not read for a while: the relay must not take
// in more than socket buffers hold, and must lose nothing.
func (s suite) backPressure(t *testing.T) {
	const size = 64 << 20
	j := s.prepare(t, Pair{})
	// The kernel may let a receive buffer grow to half of size by itself.
	for _, c := range []net.Conn{j.client, j.server, j.pair.Client, j.pair.Server} {
		if secure, ok := c.(*tls.Conn); ok {
			c = secure.NetConn()
		}
		if err := c.(interface{ SetReadBuffer(int) error }).SetReadBuffer(256 << 10); err != nil {
			t.Fatal(err)
		}
	}
	j.start(s.start(t))
	var sent counter
	together(func() {
		b := make([]byte, 64<<10)
		for sent.load() < size {
			n, err := j.client.Write(b)
			if err != nil {
				t.Error(err)
				return
			}
			sent.add(int64(n))
		}
		endWriting(t, j.client)
	}, func() {
		sent.settle()
		if n := sent.load(); n > size/2 {
			t.Errorf("%d bytes were taken in though nobody read", n)
		}
		if n, err := io.Copy(io.Discard, j.server); n != size || err != nil {
			t.Errorf("received %d bytes, %v, of %d", n, err, size)
		}
		endWriting(t, j.server)
	})
	j.want(size, 0, nil)
}

// reset resets one side while nothing moves.
func (s suite) reset(t *testing.T) {
	if !s.network.resets {
		s.abruptEnd(t)
		return
	}
	e := s.start(t)
	for _, d := range []direction{toServer, toClient} {
		j := s.join(t, e, Pair{})
		from, to := j.ends(d)
		send(t, from, newStream(1), 10)
		expect(t, to, newStream(1), 10)
		reset(t, from)
		expectReset(t, to)
		if r := j.result(); !errors.Is(r.Err, syscall.ECONNRESET) || r.Up+r.Down != 10 {
			t.Errorf("Result = %+v, want 10 bytes and a reset", r)
		} else if IsOfClient(r.Err) != (from == j.client) {
			t.Errorf("Result.Err = %v, which is said to be of the other side", r.Err)
		}
	}
}

// abruptEnd is what comes nearest to a reset without TCP: closing unread bytes.
func (s suite) abruptEnd(t *testing.T) {
	e := s.start(t)
	j := s.join(t, e, Pair{})
	send(t, j.client, newStream(1), 10)
	eventually(t, "the bytes are there", func() bool { up, _ := j.relay.Bytes(); return up == 10 })
	j.server.Close()
	if r := j.result(); r.Err == nil {
		t.Error("no error though bytes were thrown away")
	}
}

// resetInFlood resets one side while bytes rush through.
func (s suite) resetInFlood(t *testing.T) {
	if !s.network.resets {
		s.abruptEnd(t)
		return
	}
	e := s.start(t)
	for round := range 10 {
		j := s.join(t, e, Pair{})
		source, sink := j.ends(direction(round % 2))
		dying, living := source, sink
		if round%4 >= 2 {
			dying, living = sink, source
		}
		var background sync.WaitGroup
		background.Go(func() { flood(source) })
		if _, err := io.CopyN(io.Discard, sink, int64(1+rand.IntN(4<<20))); err != nil {
			t.Fatal(err)
		}
		reset(t, dying)
		if living == sink {
			expectReset(t, living)
		}
		if r := j.result(); !errors.Is(r.Err, syscall.ECONNRESET) && !errors.Is(r.Err, syscall.EPIPE) {
			t.Errorf("Result.Err = %v, want a reset", r.Err)
		} else if IsOfClient(r.Err) != (dying == j.client) {
			t.Errorf("Result.Err = %v, which is said to be of the other side", r.Err)
		}
		background.Wait()
	}
}

// resetWhenStuck resets a side when neither side reads any more and both directions
// are full. That must not wait for the idle limit.
func (s suite) resetWhenStuck(t *testing.T) {
	if !s.network.resets {
		return // see abruptEnd
	}
	e := s.start(t)
	j := s.join(t, e, Pair{Idle: time.Hour, HalfIdle: time.Hour})
	var floods sync.WaitGroup
	var sent [2]counter
	for d, c := range []net.Conn{toServer: j.client, toClient: j.server} {
		floods.Go(func() {
			b := make([]byte, 64<<10)
			for {
				n, err := c.Write(b)
				sent[d].add(int64(n))
				if err != nil {
					return
				}
			}
		})
	}
	sent[toServer].settle()
	sent[toClient].settle()
	reset(t, j.server)
	if r := j.result(); !errors.Is(r.Err, syscall.ECONNRESET) && !errors.Is(r.Err, syscall.EPIPE) {
		t.Errorf("Result.Err = %v, want a reset", r.Err)
	}
	floods.Wait()
}

// refusingPeer answers and goes away without reading all that it is sent: the
// answer must still arrive.
func (s suite) refusingPeer(t *testing.T) {
	const answer = 100_000
	e := s.start(t)
	j := s.join(t, e, Pair{})
	send(t, j.server, newStream(2), answer)
	endWriting(t, j.server)
	expect(t, j.client, newStream(2), answer)
	expectEnd(t, j.client)
	j.server.Close()
	if _, err := flood(j.client); err == nil {
		t.Error("the client was not told that nobody reads")
	}
	if r := j.result(); r.Err == nil || r.Down != answer {
		t.Errorf("Result = %+v, want a failure and %d down", r, answer)
	}
}

// idle leaves a relay alone.
func (s suite) idle(t testing.TB, limit time.Duration) {
	e := s.start(t)
	for _, early := range [][]byte{nil, []byte("hello")} {
		begun := time.Now()
		j := s.join(t, e, Pair{Idle: limit, ToClient: early})
		r := j.result()
		if r.Err != ErrIdle || r.Down != int64(len(early)) {
			t.Errorf("Result = %+v, want ErrIdle", r)
		}
		if took := time.Since(begun); took < limit {
			t.Errorf("ended after %v, limit %v", took, limit)
		}
	}
}

// busyOneWay moves bytes in one direction for longer than the limit.
func (s suite) busyOneWay(t testing.TB, limit time.Duration) {
	e := s.start(t)
	j := s.join(t, e, Pair{Idle: limit})
	for range 15 {
		time.Sleep(limit / 10) // the pace of the sender
		send(t, j.server, newStream(2), 1)
		expect(t, j.client, newStream(2), 1)
	}
	j.want(0, 15, ErrIdle)
}

// halfIdle leaves half closed relays alone.
func (s suite) halfIdle(t testing.TB, limit time.Duration) {
	e := s.start(t)
	for _, d := range []direction{toServer, toClient} {
		for _, p := range []Pair{{HalfIdle: limit}, {Idle: limit}, {Idle: time.Hour, HalfIdle: limit}} {
			j := s.join(t, e, p)
			begun := time.Now()
			from, to := j.ends(d)
			endWriting(t, from)
			expectEnd(t, to)
			j.want(0, 0, ErrIdle)
			if took := time.Since(begun); took < limit/2 {
				t.Errorf("ended after %v, limit %v", took, limit)
			}
		}
	}
}

// many runs many relays at once: over TCP, on each of the two engines, 10,000 or as many
// as descriptors allow.
func (s suite) many(t *testing.T) {
	most := 1000
	switch {
	case s.network.name == "tls":
		most = 100 // handshakes, not relays, would be what this measures
	case s.network.name == "tcp" && (s.engine == "loops" || s.engine == "goroutines") && !testing.Short():
		most = 10_000
	}
	n := min(most, (fileLimit()-openFiles(t)-200)/4)
	if s.network.name == "tcp" {
		s.network = crowdNetwork(t)
	}
	e := s.start(t)
	all := make([]*joined, n)
	for i := range all {
		all[i] = s.join(t, e, Pair{Idle: time.Hour})
	}
	t.Logf("%d relays", n)
	const workers = 16
	each := func(f func(i int, j *joined)) {
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for i := w; i < n; i += workers {
					f(i, all[i])
				}
			})
		}
		wg.Wait()
	}
	each(func(i int, j *joined) { send(t, j.client, newStream(byte(i)), 100+i%3000) })
	each(func(i int, j *joined) { expect(t, j.server, newStream(byte(i)), 100+i%3000) })
	each(func(i int, j *joined) { send(t, j.server, newStream(byte(i+1)), 1000); j.server.Close() })
	each(func(i int, j *joined) { expect(t, j.client, newStream(byte(i+1)), 1000); expectEnd(t, j.client) })
	each(func(i int, j *joined) { j.client.Close(); j.want(int64(100+i%3000), 1000, nil) })
}
