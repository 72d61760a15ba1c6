package relay

import (
	"io"
	"net"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// handLoop is an event loop that a test runs, one round after the other.
type handLoop struct {
	*eventLoop
	t       testing.TB
	release func() // has it run as any other
}

// byHand returns an Engine of a single loop, which nobody runs before the test ends.
func byHand(t testing.TB) (*Engine, handLoop) {
	e := &Engine{Loops: 1}
	ls := &e.loops
	ls.begin.Do(func() {
		ls.all = e.makeLoops()
		ls.made.Store(true)
	})
	if len(ls.all) != 1 {
		t.Fatal("there is no event loop")
	}
	l := ls.all[0]
	release := sync.OnceFunc(func() { go l.run() })
	t.Cleanup(func() {
		release()
		e.Close()
		if n := l.turns.standing.Load(); n != 0 {
			t.Errorf("%d relays are counted after the end of all", n)
		}
	})
	return e, handLoop{l, t, release}
}

// round looks for events and does what they ask for.
func (h handLoop) round() {
	h.t.Helper()
	h.wait()
	if h.look() {
		h.t.Fatal("the loop is to stop")
	}
}

// awaitPost waits until the bell was rung for something.
func (h handLoop) awaitPost() {
	h.t.Helper()
	eventually(h.t, "something was posted", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.posts) > 0
	})
}

// sendOne sends a byte to the server of j, and waits until the loop could read it.
func (h handLoop) sendOne(j *joined) {
	h.t.Helper()
	send(h.t, j.client, newStream(1), 1)
	source := j.relay.runner.(*wire).fds[toClient]
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: source, Events: unix.POLLIN}}, int(patience.Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		if n != 1 {
			h.t.Fatalf("nothing arrived: %v", err)
		}
		return
	}
}

// In a burst of connections a relay that lasts waits for no more than one accept and the
// steps of newcomersBeside newcomers. Where there is none, as many go on as have a turn.
func TestRelaysComeBeforeNewcomers(t *testing.T) {
	for _, test := range []struct {
		name          string
		lasting       bool
		accepts, most int
	}{
		{"beside a relay that lasts", true, 1, newcomersBeside},
		{"alone", false, newcomersTurn, newcomersTurn},
	} {
		t.Run(test.name, func(t *testing.T) {
			const burst = 3 * newcomersTurn
			e, l := byHand(t)
			var j *joined
			if test.lasting {
				j = loopSuite.join(t, e, Pair{})
			}
			tcp, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			for range burst {
				visitor(t, tcp.Addr().String())
			}
			came, begun := 0, 0 // in the loop
			in := e.Listen(tcp)
			var ended sync.WaitGroup
			ended.Go(func() {
				_ = in.Serve(accepted(func(c net.Conn) {
					came++
					e.Go(c, func() { begun++; c.Close() })
				}), true)
			})
			t.Cleanup(func() { l.release(); in.Close(); ended.Wait() })
			l.awaitPost()
			for messages := int64(1); begun < burst; messages++ {
				before, began := came, begun
				if test.lasting {
					l.sendOne(j)
				}
				l.round()
				if came-before > test.accepts || begun-began > test.most {
					t.Fatalf("%d connections were accepted and %d begun in one round", came-before, begun-began)
				}
				if test.lasting {
					if up, _ := j.relay.Bytes(); up != messages {
						t.Fatalf("%d of %d messages passed on after %d connections", up, messages, came)
					}
				}
			}
		})
	}
}

// What relays move that have begun a moment ago waits for its turn as tasks do.
func TestNewRelaysAreNewcomers(t *testing.T) {
	const burst = 10 * newcomersBeside
	e, l := byHand(t)
	lasting := loopSuite.join(t, e, Pair{})
	var fresh []*joined
	s := suite{network: tcpNetwork(), begin: startFromTask}
	for range burst {
		j := s.prepare(t, Pair{})
		started := make(chan struct{})
		go func() { defer close(started); j.start(e) }()
		l.awaitPost()
		l.round() // in which it begins
		<-started
		fresh = append(fresh, j)
	}
	for _, j := range fresh {
		l.sendOne(j)
	}
	for messages, all := int64(1), int64(0); all < burst; messages++ {
		before := all
		l.sendOne(lasting)
		l.round()
		all = 0
		for _, j := range fresh {
			up, _ := j.relay.Bytes()
			all += up
		}
		if all-before > newcomersBeside {
			t.Fatalf("%d new relays moved something in one round", all-before)
		}
		if up, _ := lasting.relay.Bytes(); up != messages {
			t.Fatalf("%d of %d messages passed on beside new relays", up, messages)
		}
	}
}

// A relay that moves bulk moves about one share, and the others have all they wait for, each
// round.
func TestBulkHasTurns(t *testing.T) {
	const others, rounds = 10, 30
	e, l := byHand(t)
	greedy := loopSuite.join(t, e, Pair{})
	var both sync.WaitGroup
	both.Go(func() { flood(greedy.client) })
	both.Go(func() { io.Copy(io.Discard, greedy.server) })
	t.Cleanup(func() { greedy.relay.Close(); both.Wait() })
	for moved := int64(0); moved < 4*share; moved, _ = greedy.relay.Bytes() {
		l.round()
	}
	var small []*joined
	for range others {
		small = append(small, loopSuite.join(t, e, Pair{}))
	}
	start, _ := greedy.relay.Bytes()
	for n := range int64(rounds) {
		for _, j := range small {
			l.sendOne(j)
		}
		before, _ := greedy.relay.Bytes()
		l.round()
		if after, _ := greedy.relay.Bytes(); after-before > share+2*pipeSize {
			t.Errorf("bulk moved %d bytes in one turn", after-before)
		}
		for _, j := range small {
			if up, _ := j.relay.Bytes(); up != n+1 {
				t.Fatalf("%d of %d messages passed on beside bulk", up, n+1)
			}
		}
	}
	if end, _ := greedy.relay.Bytes(); end == start {
		t.Error("bulk had no turn")
	}
}

// A relay that came of a task is new until it has lasted.
func TestNewcomerBecomesLasting(t *testing.T) {
	e := loopSuite.start(t)
	s := suite{network: tcpNetwork(), begin: startFromTask}
	j := s.prepare(t, Pair{})
	j.start(e)
	standing := func() int32 { return e.loops.all[0].turns.standing.Load() }
	send(t, j.client, newStream(1), 1)
	expect(t, j.server, newStream(1), 1)
	if n := standing(); n != 0 {
		t.Fatalf("%d relays last, of one that is new", n)
	}
	for range migrateAfter {
		send(t, j.client, newStream(1), 1)
		expect(t, j.server, newStream(1), 1)
	}
	if n := standing(); n != 1 {
		t.Errorf("%d relays last, of one that has", n)
	}
	j.relay.Close()
	j.result()
	if n := standing(); n != 0 {
		t.Errorf("%d relays last after their end", n)
	}
}

func TestQueue(t *testing.T) {
	var q queue[int]
	var got, want []int
	next := 0
	for range 1000 { // it is never empty, and must not grow for that
		for range 3 {
			q.push(next)
			want = append(want, next)
			next++
		}
		for q.len() > 2 {
			got = append(got, q.pop())
		}
	}
	for q.len() > 0 {
		got = append(got, q.pop())
	}
	if !slices.Equal(got, want) {
		t.Error("not the order in which they came")
	}
	if cap(q.items) > 32 {
		t.Errorf("room for %d, of 5", cap(q.items))
	}
}
