package relay

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// bell is an epoll descriptor with one event to come: that somebody rang.
type bell struct {
	t      *testing.T
	waiter *waiter
	rung   int
}

func newBell(t *testing.T, mayRaw bool) *bell {
	e := &Engine{Loops: 1}
	l, err := newLoop(e)
	if err != nil {
		t.Fatal(err)
	}
	l.waiter.mayRaw = mayRaw
	t.Cleanup(func() {
		l.waiter.unpark()
		unix.Close(l.waiter.epoll)
		unix.Close(l.wakeFD)
	})
	return &bell{t: t, waiter: &l.waiter, rung: l.wakeFD}
}

func (b *bell) ring() {
	if _, err := unix.Write(b.rung, []byte{0, 0, 0, 0, 0, 0, 0, 1}); err != nil {
		b.t.Error(err)
	}
}

// hear waits until the bell rings.
func (b *bell) hear() {
	b.t.Helper()
	events, err := b.waiter.wait(false)
	if err != nil || len(events) != 1 || events[0].Fd != wakeSlot {
		b.t.Fatalf("wait = %v, %v", events, err)
	}
	if _, err := unix.Read(b.rung, make([]byte, 8)); err != nil {
		b.t.Fatal(err)
	}
}

// ringLater rings after a pause, from another goroutine.
func (b *bell) ringLater(pause time.Duration) { time.AfterFunc(pause, b.ring) }

func TestWaiterGetsHotAndCold(t *testing.T) {
	if !preemptible() {
		t.Skip("without such signals no waiter goes raw")
	}
	b := newBell(t, true)
	if b.waiter.raw {
		t.Error("raw from the start")
	}
	eventually(t, "events one after the other make it raw", func() bool {
		for range hotStreak + 1 {
			b.ring()
			b.hear()
		}
		return b.waiter.raw
	})
	if b.waiter.parked != nil {
		t.Error("raw, and still in Go's poller")
	}
	b.ringLater(time.Millisecond)
	b.hear() // in a raw wait, or in a parked one if it took too long
	for pause := 50 * time.Millisecond; b.waiter.raw; pause *= 2 {
		if pause > patience {
			t.Fatal("never parked")
		}
		b.ringLater(pause)
		b.hear()
	}
}

func TestWaiterStaysCold(t *testing.T) {
	for name, b := range map[string]*bell{
		"asked to":          newBell(t, false),
		"nothing to spare":  newBell(t, true),
		"events are scarce": newBell(t, true),
	} {
		t.Run(name, func(t *testing.T) {
			if name == "nothing to spare" {
				b.waiter.busy = 1 << 20
			}
			for range 2 * hotStreak {
				if name == "events are scarce" {
					b.ringLater(2 * shortWait)
				} else {
					b.ring()
				}
				b.hear()
			}
			if b.waiter.raw {
				t.Error("raw")
			}
		})
	}
}

func TestWaiterWithoutDescriptors(t *testing.T) {
	b := newBell(t, true)
	b.ringLater(time.Millisecond)
	withoutNewFiles(t, b.hear)
	if b.waiter.parked != nil {
		t.Error("there was a descriptor")
	}
	b.ringLater(time.Millisecond)
	b.hear()
	if b.waiter.parked == nil {
		t.Error("does not wait as goroutines do")
	}
}

func TestPreemptible(t *testing.T) {
	for setting, want := range map[string]bool{
		"":                                 true,
		"asyncpreemptoff=1":                false,
		"gctrace=0,asyncpreemptoff=1":      false,
		"asyncpreemptoff=0,madvdontneed=1": true,
	} {
		t.Setenv("GODEBUG", setting)
		if got := preemptible(); got != want {
			t.Errorf("GODEBUG=%q: %t, want %t", setting, got, want)
		}
	}
}
