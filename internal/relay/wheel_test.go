package relay

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// sleeper is a relay that does nothing but be cut.
type sleeper struct {
	Relay
	t    *testing.T
	due  time.Time // when it must be cut; never if zero
	cuts int
}

func (s *sleeper) cut(err error) {
	s.cuts++
	if late := time.Since(s.due); err != ErrIdle || s.due.IsZero() || late < 0 || late >= tick {
		s.t.Errorf("cut with %v, %v after it was due", err, late)
	}
}

func newWheel() *wheel {
	w := new(wheel)
	w.begin()
	return w
}

func newSleeper(t *testing.T) *sleeper {
	s := &sleeper{t: t}
	s.runner = s
	return s
}

// TestWheel moves a wheel through days of relays that come, move bytes, change their
// limits and go.
func TestWheel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, random := newWheel(), rand.New(rand.NewPCG(1, 2))
		var all []*sleeper
		for range 3000 {
			time.Sleep(time.Duration(random.Int64N(int64(1) << random.IntN(38))))
			synctest.Wait()
			s := newSleeper(t)
			if len(all) > 0 && random.IntN(3) > 0 {
				s = all[random.IntN(len(all))]
			}
			switch limit := time.Duration(random.Int64N(int64(1) << random.IntN(48))); {
			case s.cuts > 0:
			case random.IntN(10) == 0:
				w.forget(&s.timer)
				s.due = time.Time{}
			case s.due.IsZero() || random.IntN(4) == 0:
				s.due = time.Now().Add(limit)
				if limit == 0 {
					s.due = time.Time{}
				}
				w.watch(&s.timer, limit)
				all = append(all, s)
			default:
				s.due = time.Now().Add(s.limit)
				w.touch(&s.timer)
			}
		}
		time.Sleep(1 << 49)
		synctest.Wait()
		cut := 0
		for _, s := range all {
			if !s.due.IsZero() && s.cuts != 1 {
				t.Errorf("cut %d times", s.cuts)
			}
			cut += s.cuts
		}
		if cut < 100 || w.relays != 0 {
			t.Errorf("%d were cut, %d are left", cut, w.relays)
		}
	})
}

// A wheel with nothing to do must not wake the program.
func TestWheelRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWheel()
		s := newSleeper(t)
		w.watch(&s.timer, time.Hour)
		w.forget(&s.timer)
		if w.timer.Stop() {
			t.Error("the timer of an empty wheel runs")
		}
	})
}

// Limits beyond what a wheel spans are kept, if not to the tick.
func TestWheelLongLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWheel()
		s := newSleeper(t)
		w.watch(&s.timer, 1<<63-1)
		time.Sleep(1000 * time.Hour)
		synctest.Wait()
		if s.cuts != 0 || w.relays != 1 {
			t.Errorf("%d cuts, %d relays", s.cuts, w.relays)
		}
		w.forget(&s.timer)
	})
}

func BenchmarkWheel(b *testing.B) {
	for _, n := range []int{1000, 50_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			w := newWheel()
			all := make([]timer, n)
			for i := range all {
				w.watch(&all[i], time.Hour)
			}
			for i := 0; b.Loop(); i++ {
				w.forget(&all[i%n])
				w.watch(&all[i%n], time.Hour)
			}
		})
	}
}
