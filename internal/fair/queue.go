package fair

import "container/list"

// Queue has values that wait for a turn. Parties take turns, whatever the number of values
// of each: one that had its turn comes again after all others. Its zero value is empty. It
// has no lock of its own.
type Queue[T any] struct {
	// NewestFirst has a party that begins to wait come before the others, and its latest
	// value before its earlier ones. Where each waits for a limited time this serves some
	// in time under overload, in place of all too late.
	NewestFirst bool

	lines map[Party]*line[T]
	turns list.List // of *line[T], the next at the front
	len   int
}

// line is what waits of one party.
type line[T any] struct {
	party  Party
	values list.List // of T, the next at the front
	turn   *list.Element
}

// Waiting is a value's place in a [Queue].
type Waiting[T any] struct {
	line *line[T]
	at   *list.Element
}

// Len returns how many values wait.
func (q *Queue[T]) Len() int { return q.len }

// Push has v wait for a turn of p.
func (q *Queue[T]) Push(p Party, v T) *Waiting[T] {
	l := q.lines[p]
	if l == nil {
		l = &line[T]{party: p}
		if q.lines == nil {
			q.lines = map[Party]*line[T]{}
		}
		q.lines[p] = l
		l.turn = push(&q.turns, l, q.NewestFirst)
	}
	q.len++
	return &Waiting[T]{l, push(&l.values, v, q.NewestFirst)}
}

func push(l *list.List, v any, front bool) *list.Element {
	if front {
		return l.PushFront(v)
	}
	return l.PushBack(v)
}

// Remove takes a value out that has not been returned by [Queue.Next], nor removed.
func (q *Queue[T]) Remove(w *Waiting[T]) {
	w.line.values.Remove(w.at)
	q.len--
	if w.line.values.Len() == 0 {
		q.turns.Remove(w.line.turn)
		delete(q.lines, w.line.party)
	}
}

// Next takes out and returns the value whose turn it is. It offers take the first value of
// each party, in the order of their turns, until take accepts one; ok is false if it accepts
// none. A party that is passed over keeps its turn.
func (q *Queue[T]) Next(take func(Party, T) bool) (v T, ok bool) {
	for e := q.turns.Front(); e != nil; e = e.Next() {
		l := e.Value.(*line[T])
		at := l.values.Front()
		if v = at.Value.(T); take(l.party, v) {
			q.turns.MoveToBack(e)
			q.Remove(&Waiting[T]{l, at})
			return v, true
		}
	}
	var none T
	return none, false
}
