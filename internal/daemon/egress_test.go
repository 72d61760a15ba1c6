package daemon

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func stoppable() (x *liveEgress, ended func() bool) {
	x = &liveEgress{over: make(chan struct{})}
	x.end = func() { close(x.over) }
	return x, x.isOver
}

// An egress that a reload drops ends when nobody uses it, and not before connections that
// had begun have had their time.
func TestRetire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unused, unusedOver := stoppable()
		used, usedOver := stoppable()
		used.enter()
		unused.retire()
		used.retire()
		time.Sleep(retirement - time.Second)
		unused.enter()
		unused.leave()
		if unusedOver() {
			t.Error("it ended before its time")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !unusedOver() || usedOver() {
			t.Errorf("unused: over is %t; used: %t", unusedOver(), usedOver())
		}
		used.leave()
		if !usedOver() {
			t.Error("it goes on though nobody uses it")
		}
		if used.revive() {
			t.Error("what has ended is revived")
		}
	})
}

// A reload that takes the last one back takes its egresses back, too.
func TestRevive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, over := stoppable()
		x.retire()
		time.Sleep(retirement / 2)
		if !x.revive() {
			t.Fatal("not revived")
		}
		time.Sleep(retirement)
		x.retire() // has all its time anew
		time.Sleep(retirement - time.Second)
		if over() {
			t.Error("an earlier retirement ended it")
		}
	})
}

// A proxy that failed is ready again after a while: without requests nobody would know.
func TestBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, _ := stoppable()
		fails := func() { x.judged(time.Now().Add(brokenTime)) }
		fails()
		if x.ready() {
			t.Error("ready though it failed")
		}
		x.judged(time.Time{})
		if !x.ready() {
			t.Error("not ready though it served")
		}
		fails()
		time.Sleep(brokenTime + time.Second)
		if !x.ready() {
			t.Error("not ready for ever")
		}
	})
}

// An egress that stops working has one line, and one when it works again, however many
// requests there are; one that fails now and then has no more than two a minute.
func TestNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, nil))
		broken := errors.New("is on fire")
		var n news
		lines := func(err error, times int) (warn, info int) {
			out.Reset()
			for range times {
				n.tell(log, "work", err, func() string { return "reason" })
			}
			return strings.Count(out.String(), "level=WARN"), strings.Count(out.String(), "level=INFO")
		}
		for i, step := range []struct {
			sleep      time.Duration
			err        error
			warn, info int
		}{
			{0, nil, 0, 0},
			{0, broken, 1, 0},
			{time.Hour, broken, 0, 0},
			{0, nil, 0, 1},
			{0, nil, 0, 0},
			{0, broken, 1, 0},
			{time.Second, nil, 0, 1},
			{time.Second, broken, 0, 0}, // too soon for another
			{time.Second, nil, 0, 0},    // and so this is no news
			{newsPause, broken, 1, 0},
			{0, nil, 0, 1},
		} {
			time.Sleep(step.sleep)
			if warn, info := lines(step.err, 10); warn != step.warn || info != step.info {
				t.Errorf("step %d: %d and %d lines, want %d and %d", i, warn, info, step.warn, step.info)
			}
		}
	})
}

// A proxy that failed is taken not to work for a time that a clock which is set does not change.
func TestBrokenByMonotonicClock(t *testing.T) {
	x := new(liveEgress)
	x.judged(time.Now().Add(brokenTime))
	if until := *x.broken.Load(); until == until.Round(0) { // in a bubble it has none
		t.Errorf("until %v, without a monotonic reading", until)
	}
	synctest.Test(t, func(t *testing.T) {
		x := new(liveEgress)
		x.judged(time.Now().Add(brokenTime))
		time.Sleep(brokenTime - 1)
		if x.ready() {
			t.Error("ready too early")
		}
		time.Sleep(time.Nanosecond)
		if !x.ready() {
			t.Error("not ready when the time is over")
		}
		x.judged(time.Now().Add(brokenTime))
		x.judged(time.Time{})
		if !x.ready() {
			t.Error("not ready though it works")
		}
	})
}
