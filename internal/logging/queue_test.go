package logging

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gate is a writer that stalls while it is shut, takes at most so many bytes, or fails.
type gate struct {
	mu   sync.Mutex
	open sync.Cond
	shut bool
	room int // bytes that it takes before it fails; negative for any number
	text bytes.Buffer
}

func newGate() *gate {
	g := &gate{room: -1}
	g.open.L = &g.mu
	return g
}

func (g *gate) Write(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.shut {
		g.open.Wait()
	}
	if g.room >= 0 && len(b) > g.room {
		n := g.room
		g.text.Write(b[:n])
		g.room = 0
		return n, errors.New("no room")
	}
	if g.room >= 0 {
		g.room -= len(b)
	}
	return g.text.Write(b)
}

func (g *gate) set(shut bool, room int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut, g.room = shut, room
	g.open.Broadcast()
}

func (g *gate) String() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.text.String()
}

func notice(n uint64) []byte { return fmt.Appendf(nil, "(%d)\n", n) }

func mustClose(t *testing.T, q *Queue) {
	t.Helper()
	if err := q.Close(time.Minute); err != nil {
		t.Error(err)
	}
}

// Everything arrives in order, and before Close returns.
func TestQueueOrder(t *testing.T) {
	g := newGate()
	q := NewQueue(g, notice)
	var want strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&want, "line %d\n", i)
		fmt.Fprintf(q, "line %d\n", i)
	}
	mustClose(t, q)
	if g.String() != want.String() {
		t.Errorf("got %d bytes, want %d", len(g.String()), want.Len())
	}
	if n, err := q.Write([]byte("late\n")); n != 5 || err != nil {
		t.Errorf("after Close: %d, %v", n, err)
	}
}

// While the writer stalls nobody waits, memory is bounded, and a line in the place of those
// that were dropped says how many.
func TestQueueStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		g.set(true, -1)
		q := NewQueue(g, notice)
		line := []byte(strings.Repeat("x", 1023) + "\n")
		q.Write([]byte("first\n"))
		synctest.Wait() // the goroutine is writing it
		const sent = 1000
		for range sent {
			q.Write(line)
		}
		q.Write([]byte("short\n")) // would have room, but not its place
		if n := cap(q.bytes) + cap(q.spare); n > 2*(maxQueued+maxQueued/2) {
			t.Errorf("%d bytes are held", n)
		}
		g.set(false, -1)
		synctest.Wait()
		q.Write([]byte("last\n"))
		mustClose(t, q)
		kept := maxQueued / len(line)
		want := "first\n" + strings.Repeat(string(line), kept) + fmt.Sprintf("(%d)\nlast\n", sent-kept+1)
		if got := g.String(); got != want {
			t.Errorf("got %d bytes that end in %q, want %d", len(got), got[max(0, len(got)-40):], len(want))
		}
	})
}

// Nobody waits for a writer that does not come back for longer than Close is given.
func TestQueueClose(t *testing.T) {
	g := newGate()
	g.set(true, -1)
	q := NewQueue(g, notice)
	q.Write([]byte("a\n"))
	if err := q.Close(time.Millisecond); err == nil {
		t.Error("no error")
	}
	g.set(false, -1)
	<-q.done
}

// What a writer refuses is lost with its number of lines, and no line continues half of
// another.
func TestQueueFailing(t *testing.T) {
	for name, c := range map[string]struct {
		room int
		want string
	}{
		"nothing is taken":   {0, "(3)\nc\n"},
		"a line and a half":  {3, "a\nb\n(2)\nc\n"},
		"two lines of three": {4, "a\nb\n(1)\nc\n"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate()
				g.set(false, c.room)
				q := NewQueue(g, notice)
				q.Write([]byte("a\nb\nlonger\n"))
				synctest.Wait()
				g.set(false, -1)
				q.Write([]byte("c\n"))
				mustClose(t, q)
				if got := g.String(); got != c.want {
					t.Errorf("got %q, want %q", got, c.want)
				}
			})
		})
	}
}

// Of a writer that fails for long all is counted, with the notices that failed, too.
func TestQueueFailingLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		g.set(false, 0)
		q := NewQueue(g, notice)
		for range 10 {
			q.Write([]byte("lost\n"))
			synctest.Wait()
		}
		g.set(false, -1)
		q.Write([]byte("c\n"))
		mustClose(t, q)
		if got := g.String(); got != "(10)\nc\n" {
			t.Errorf("got %q", got)
		}
	})
}
