package relay

import (
	"errors"
	"runtime"
	"testing"
)

// ending is how one side of a scheduled relay leaves.
type ending byte

const (
	endsThenReads ending = iota // half-closes, reads to the end
	readsThenEnds               // reads to the end, then closes
	closesUnread                // closes at once, whatever was not read
	resets
	endings
)

// side is what one side of a scheduled relay does.
type side struct {
	early  int
	writes []int
	pauses bool // gives way to others between writes
	lazy   bool // reads only once it has written all
	ending ending
}

// parseSide reads a side from the front of a fuzzer's bytes. Every input is a side.
func parseSide(b []byte) (side, []byte) {
	next := func() int {
		if len(b) == 0 {
			return 0
		}
		v := b[0]
		b = b[1:]
		return int(v)
	}
	flags := next()
	s := side{
		early:  next() << (flags & 7) << 3,
		pauses: flags&8 != 0,
		lazy:   flags&16 != 0,
		ending: ending(flags>>5) % endings,
	}
	for range next() % 32 {
		v := next()
		s.writes = append(s.writes, v<<(v&11))
	}
	return s, b
}

// size is how much a side sends.
func (s side) size() int {
	n := s.early
	for _, w := range s.writes {
		n += w
	}
	return n
}

// orderly says that the side takes all it is sent and leaves by itself.
func (s side) orderly() bool { return s.ending == endsThenReads || s.ending == readsThenEnds }

// runSchedule plays two sides against a relay and checks what must hold whatever
// they do: what arrives is a beginning of what was sent, all of it if both sides are
// orderly; the counts agree; the relay ends by itself.
func (s suite) runSchedule(t testing.TB, e *Engine, client, server side) {
	if client.ending == readsThenEnds && server.ending == readsThenEnds {
		server.ending = endsThenReads // or each would wait for the other
	}
	if !s.network.resets {
		client.ending, server.ending = client.ending%resets, server.ending%resets
	}
	up, down := newStream(1), newStream(2)
	j := s.prepare(t, Pair{
		ToServer: up.take(client.early), ToClient: down.take(server.early),
		Idle: patience / 2, HalfIdle: patience / 2,
	})
	j.start(e)
	var gotUp, gotDown int
	together(
		func() { gotDown = s.play(j, toServer, client, up, server.size()) },
		func() { gotUp = s.play(j, toClient, server, down, client.size()) },
	)
	r := j.result()
	if r.Err == ErrIdle {
		t.Errorf("the relay did not end by itself: %+v %+v", client, server)
	}
	if r.Up < int64(gotUp) || r.Up > int64(client.size()) || r.Down < int64(gotDown) || r.Down > int64(server.size()) {
		t.Errorf("Result = %+v; sent %d up, %d down; received %d, %d", r, client.size(), server.size(), gotUp, gotDown)
	}
	if client.orderly() && server.orderly() &&
		(r.Err != nil || gotUp != client.size() || gotDown != server.size()) {
		t.Errorf("Result = %+v; sent %d up, %d down; received %d, %d", r, client.size(), server.size(), gotUp, gotDown)
	}
}

// play does what one side does: writes on the way d, and reads what comes back. It
// returns how much it received.
func (s suite) play(j *joined, d direction, me side, out stream, incoming int) (got int) {
	c, _ := j.ends(d)
	back := newStream(byte(2 - d))
	read := func() {
		var err error
		if got, err = compare(c, back, incoming+1); errors.Is(err, errDiffers) {
			j.t.Error(err)
		}
	}
	write := func() {
		for _, n := range me.writes {
			if _, err := c.Write(out.take(n)); err != nil {
				return // the other side may leave early
			}
			if me.pauses {
				runtime.Gosched()
			}
		}
		if me.ending == endsThenReads {
			_ = c.(Conn).CloseWrite() // likewise
		}
	}
	leave := func() {
		if me.ending == resets {
			reset(j.t, c)
		} else {
			c.Close()
		}
	}
	lazy := me.lazy && me.size()-me.early < 32<<10 // more might not fit into what nobody reads
	switch {
	case me.orderly() && lazy:
		write()
		read()
		leave()
	case me.orderly():
		together(write, read)
		leave()
	case lazy:
		write()
		leave()
	default:
		together(read, func() { write(); leave() })
	}
	return got
}

// schedules plays random sides.
func (s suite) schedules(t *testing.T) {
	e := s.start(t)
	bytes, n := newStream(7), 150
	if testing.Short() {
		n = 40
	}
	for range n {
		client, rest := parseSide(bytes.take(64))
		server, _ := parseSide(rest)
		s.runSchedule(t, e, client, server)
	}
}

// FuzzSchedule plays the sides that the fuzzer thinks of over every engine.
func FuzzSchedule(f *testing.F) {
	all := suites()
	f.Fuzz(func(t *testing.T, which byte, schedule []byte) {
		client, rest := parseSide(schedule)
		server, _ := parseSide(rest)
		s := all[int(which)%len(all)]
		s.runSchedule(t, s.start(t), client, server)
	})
}
