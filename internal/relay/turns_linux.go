package relay

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A loop serves the events of relays that have lasted as soon as it sees them: each is a
// small message. All else has turns. Newcomers, which are tasks and the relays that came of
// them a moment ago, go on in the order of their events; so do directions that move bulk,
// by one share each. Between turns the loop looks for events, since a message must not wait
// until a rush of connections is over. Where no relay has lasted there is nothing to look
// for so often.
const (
	// newcomersTurn is how many newcomers go on for one share of bulk. Either takes some
	// hundred microseconds.
	newcomersTurn = 16

	// newcomersBeside is how many go on between two looks for events where relays have
	// lasted. A look costs half a microsecond, and a newcomer twenty.
	newcomersBeside = 2
)

// turns are what waits for its turn in a loop. The zero value is ready for use; all but
// standing is the loop's own.
type turns struct {
	late  queue[newcomer]
	again queue[turn] // of bulk
	let   int         // newcomers that went on since the last turn of bulk

	standing atomic.Int32 // relays of this loop that have lasted
}

// turn is one direction of a relay that has something to do.
type turn struct {
	wire   *wire
	way    direction
	before int // how many bytes it moved in the turn that this one continues
}

// newcomer is a task, or a direction of a new relay.
type newcomer struct {
	task *task
	turn turn // if task is nil
}

// addTask gives t a turn, to begin or to go on, if it has none to come.
func (ts *turns) addTask(t *task) {
	if !t.queued {
		t.queued = true
		ts.late.push(newcomer{task: t})
	}
}

// takeTurns lets newcomers go on, and bulk when it is its turn.
func (l *eventLoop) takeTurns() {
	ts := &l.turns
	atOnce := newcomersTurn
	if ts.standing.Load() > 0 {
		atOnce = newcomersBeside
	}
	for ; atOnce > 0 && ts.late.len() > 0; atOnce-- {
		ts.let++
		l.letIn(ts.late.pop())
	}
	if ts.again.len() > 0 && (ts.late.len() == 0 || ts.let >= newcomersTurn) {
		ts.let = 0
		t := ts.again.pop()
		t.wire.goOn(l, t)
	}
}

func (l *eventLoop) letIn(n newcomer) {
	t := n.task
	if t == nil {
		n.turn.wire.goOn(l, n.turn)
		return
	}
	t.queued = false
	if t.waiting || t.by == nil {
		l.resume(t)
	}
}

// giveWay has an acceptor wait for its next turn once it has accepted as many connections
// as one has.
func (a *acceptor) giveWay() {
	t, most := a.task, newcomersTurn
	if t.loop.turns.standing.Load() > 0 {
		most = 1
	}
	if a.accepted >= most {
		t.loop.turns.addTask(t)
		a.rest()
	}
}

// rest waits for the next turn of a.
func (a *acceptor) rest() {
	a.accepted = 0
	a.task.wait(time.Time{})
}

// next waits for events, or looks for them if there are turns to take.
func (l *eventLoop) next() ([]unix.EpollEvent, error) {
	if l.turns.late.len() > 0 {
		return l.waiter.glance()
	}
	return l.waiter.wait(l.turns.again.len() > 0)
}

// queue is first in, first out. The zero value is empty.
type queue[T any] struct {
	items []T
	first int
}

func (q *queue[T]) len() int { return len(q.items) - q.first }

func (q *queue[T]) push(one T) {
	if q.first > len(q.items)/2 && len(q.items) == cap(q.items) {
		n := copy(q.items, q.items[q.first:])
		clear(q.items[n:])
		q.items, q.first = q.items[:n], 0
	}
	q.items = append(q.items, one)
}

func (q *queue[T]) pop() T {
	var none T
	one := q.items[q.first]
	q.items[q.first] = none
	if q.first++; q.first == len(q.items) {
		q.items, q.first = q.items[:0], 0
	}
	return one
}
