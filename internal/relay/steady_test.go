package relay

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// steadily runs a test that is about a limit of time. On a machine that stood still for a
// part of that its failure says nothing, and it is run again with a longer one.
func steadily(t *testing.T, limit time.Duration, test func(testing.TB, time.Duration)) {
	t.Helper()
	for tries := 1; ; tries++ {
		a := &attempt{TB: t}
		pause := watchPauses()
		a.run(func() { test(a, limit) })
		longest := pause()
		switch {
		case len(a.said) == 0:
			return
		case longest < limit/10 || tries == 4:
			t.Fatalf("with a limit of %v, and a machine that stood still for %v at most:\n%s", limit, longest, strings.Join(a.said, "\n"))
		}
		t.Logf("the machine stood still for %v, which is much of %v: again", longest, limit)
		limit = max(4*limit, 20*longest)
	}
}

// watchPauses measures for how long a goroutine that wants to run does not. What it returns
// ends that and tells the longest time.
func watchPauses() (longest func() time.Duration) {
	const each = 2 * time.Millisecond
	stop, told := make(chan struct{}), make(chan time.Duration)
	go func() {
		ticker := time.NewTicker(each)
		defer ticker.Stop()
		most, last := time.Duration(0), time.Now()
		for {
			select {
			case <-ticker.C:
				now := time.Now()
				most, last = max(most, now.Sub(last)-each), now
			case <-stop:
				told <- max(most, time.Since(last)-each)
				return
			}
		}
	}()
	return func() time.Duration {
		close(stop)
		return <-told
	}
}

// attempt is a test that may be run again: it keeps to itself what it says.
type attempt struct {
	testing.TB
	mu   sync.Mutex
	said []string
}

func (a *attempt) run(f func()) {
	done := make(chan struct{})
	go func() { // FailNow ends it
		defer close(done)
		f()
	}()
	<-done
}

func (a *attempt) say(text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.said = append(a.said, text)
}

func (a *attempt) Error(args ...any)                 { a.say(fmt.Sprint(args...)) }
func (a *attempt) Errorf(format string, args ...any) { a.say(fmt.Sprintf(format, args...)) }
func (a *attempt) Fail()                             { a.say("failed") }
func (a *attempt) FailNow()                          { a.Fail(); runtime.Goexit() }
func (a *attempt) Fatal(args ...any)                 { a.Error(args...); runtime.Goexit() }
func (a *attempt) Fatalf(format string, args ...any) { a.Errorf(format, args...); runtime.Goexit() }

func (a *attempt) Failed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.said) > 0
}
