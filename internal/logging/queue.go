// Package logging is the log of a program whose log must never make anybody wait, and that
// others write into: a [Queue] in front of a writer that may stall or fail, handlers whose
// lines cannot command a terminal ([NewHandler]), and a bound for what repeats ([Fold]).
package logging

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"time"
)

// maxQueued is how many bytes wait at most, beside as many that are being written.
const maxQueued = 256 << 10

// Queue is an [io.Writer] that never blocks and never fails: one goroutine writes what it is
// given to another writer, in order. Lines for which there is no room, because that writer
// stalls, or which it does not take, are dropped; a line in their place says how many, once
// the writer takes lines again. The methods may be called by many goroutines at once.
type Queue struct {
	w      io.Writer
	notice func(lines uint64) []byte

	mu     sync.Mutex
	filled sync.Cond // there is something to write, or the queue is closed
	bytes  []byte
	lost   uint64 // lines that came after bytes, and had no room
	closed bool
	done   chan struct{} // closed when the goroutine has ended

	// Of the goroutine alone.
	spare  []byte
	failed uint64 // lines that w did not take
	torn   bool   // w took a part of a line
}

// NewQueue starts a Queue in front of w. The function notice returns the line, with its
// end, that stands for so many lines that were dropped. Close ends the goroutine.
func NewQueue(w io.Writer, notice func(lines uint64) []byte) *Queue {
	q := &Queue{w: w, notice: notice, done: make(chan struct{})}
	q.filled.L = &q.mu
	go q.run()
	return q
}

// Write queues whole lines. It always returns len(b) and nil.
func (q *Queue) Write(b []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	// Until the goroutine comes by, one that is lost takes along what follows it: so the line
	// about it stands where it was.
	if q.closed || q.lost > 0 || len(q.bytes)+len(b) > maxQueued {
		q.lost += countLines(b)
		return len(b), nil
	}
	q.bytes = append(q.bytes, b...)
	q.filled.Signal()
	return len(b), nil
}

// Close waits until everything is written, but at most for so long, and ends the goroutine
// as soon as the writer lets go of it. What is written to the queue later is dropped. An
// error says that not everything was written in time.
func (q *Queue) Close(wait time.Duration) error {
	q.mu.Lock()
	q.closed = true
	q.filled.Signal()
	q.mu.Unlock()
	limit := time.NewTimer(wait)
	defer limit.Stop()
	select {
	case <-q.done:
		return nil
	case <-limit.C:
		return fmt.Errorf("log: not everything was written within %v", wait)
	}
}

func (q *Queue) run() {
	defer close(q.done)
	for {
		lines, lost, more := q.take()
		if !more {
			return
		}
		q.flush(lines, lost)
	}
}

// take waits for lines, and returns them with the number of those that were lost behind
// them. More is false once the queue is closed and empty.
func (q *Queue) take() (lines []byte, lost uint64, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.bytes) == 0 && q.lost == 0 && !q.closed {
		q.filled.Wait()
	}
	if len(q.bytes) == 0 && (q.closed || q.lost == 0) {
		return nil, 0, false
	}
	lines, lost = q.bytes, q.lost
	q.bytes, q.lost = q.spare[:0], 0
	q.spare = lines
	return lines, lost, true
}

// flush writes lines and the notices about those that are missing before and behind them.
// After a failure it leaves the rest: the next lines come with a notice about all.
func (q *Queue) flush(lines []byte, lost uint64) {
	if q.failed > 0 {
		if q.write(q.notice(q.failed)) > 0 {
			q.failed += countLines(lines) + lost
			return
		}
		q.failed = 0
	}
	if left := q.write(lines); left > 0 {
		q.failed = left + lost
		return
	}
	if lost > 0 && q.write(q.notice(lost)) > 0 {
		q.failed = lost
	}
}

// write writes b, and returns how many lines of it are lost.
func (q *Queue) write(b []byte) uint64 {
	if len(b) == 0 {
		return 0
	}
	if q.torn {
		if _, err := q.w.Write([]byte("\n")); err != nil {
			return countLines(b)
		}
		q.torn = false
	}
	n, err := q.w.Write(b)
	if err == nil {
		return 0
	}
	if n = min(max(n, 0), len(b)); n > 0 {
		q.torn = b[n-1] != '\n'
	}
	return countLines(b[n:])
}

func countLines(b []byte) uint64 {
	n := bytes.Count(b, []byte("\n"))
	if len(b) > 0 && b[len(b)-1] != '\n' {
		n++
	}
	return uint64(n)
}
