package relay

import (
	"errors"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"
)

// TestRelay runs one suite over every engine and every kind of connection. What
// takes time rather than work is done by all at once in the end.
func TestRelay(t *testing.T) {
	files, goroutines := openFiles(t), runtime.NumGoroutine()
	for _, s := range suites() {
		t.Run(s.name(), func(t *testing.T) {
			for _, c := range cases {
				t.Run(c.name, func(t *testing.T) { c.test(s, t) })
			}
		})
	}
	t.Run("timed", func(t *testing.T) {
		for _, s := range suites() {
			for _, c := range timedCases {
				t.Run(s.name()+"/"+c.name, func(t *testing.T) {
					t.Parallel()
					steadily(t, c.limit, func(t testing.TB, limit time.Duration) { c.test(s, t, limit) })
				})
			}
		}
	})
	eventually(t, "descriptors are as before", func() bool { return openFiles(t) <= files })
	eventually(t, "goroutines are as before", func() bool { return runtime.NumGoroutine() <= goroutines })
}

var cases = []struct {
	name string
	test func(suite, *testing.T)
}{
	{"duplex", suite.duplex},
	{"close-orders", suite.closeOrders},
	{"half-close", suite.halfClose},
	{"early", suite.early},
	{"early-then-end", suite.earlyThenEnd},
	{"answer-first", suite.answerFirst},
	{"back-pressure", suite.backPressure},
	{"reset", suite.reset},
	{"reset-in-flood", suite.resetInFlood},
	{"reset-when-stuck", suite.resetWhenStuck},
	{"refusing-peer", suite.refusingPeer},
	{"relay-close", suite.relayClose},
	{"cut-while-bytes-move", suite.cutWhileBytesMove},
	{"cut-half-closed", suite.cutHalfClosed},
	{"cut-behind-end", suite.cutBehindEnd},
	{"goexit-in-done", suite.goexitInDone},
	{"engine-close", suite.engineClose},
	{"start-closed", suite.startClosed},
	{"start-while-closing", suite.startWhileClosing},
	{"schedules", suite.schedules},
	{"many", suite.many},
}

var timedCases = []struct {
	name  string
	limit time.Duration
	test  func(suite, testing.TB, time.Duration)
}{
	{"slow-reader", time.Second, suite.slowReader},
	{"stalled-reader", 300 * time.Millisecond, suite.stalledReader},
	{"idle", 200 * time.Millisecond, suite.idle},
	{"busy-one-way", time.Second, suite.busyOneWay},
	{"half-idle", 200 * time.Millisecond, suite.halfIdle},
}

// suite is a way to make engines and the connections to run them on.
type suite struct {
	engine  string
	newOne  func() *Engine
	network network
	begin   func(*Engine, Pair) *Relay // in place of Start
}

func (s suite) name() string { return s.engine + "/" + s.network.name }

// start returns an Engine that is closed when the test ends.
func (s suite) start(t testing.TB) *Engine {
	e := s.newOne()
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("Engine.Close: %v", err)
		}
	})
	return e
}

// joined is a relay with the two ends that a test holds.
type joined struct {
	t              testing.TB
	client, server net.Conn
	pair           Pair
	begin          func(*Engine, Pair) *Relay
	relay          *Relay
	done           chan Result
}

// patience is how long a test waits for what must happen.
const patience = 60 * time.Second

// prepare makes two connections for a relay of p. The test closes its ends.
func (s suite) prepare(t testing.TB, p Pair) *joined {
	t.Helper()
	j := &joined{t: t, pair: p, begin: s.begin, done: make(chan Result, 2)}
	j.pair.Client, j.client = s.network.pair(t)
	j.pair.Server, j.server = s.network.pair(t)
	for _, far := range []net.Conn{j.client, j.server} {
		t.Cleanup(func() { far.Close() })
		far.SetDeadline(time.Now().Add(patience))
	}
	// A relay must not suffer from what a handshake left behind.
	j.pair.Client.SetDeadline(time.Now().Add(20 * time.Millisecond))
	j.pair.Done = func(r Result) { j.done <- r }
	return j
}

func (j *joined) start(e *Engine) {
	if j.begin == nil {
		j.begin = (*Engine).Start
	}
	j.relay = j.begin(e, j.pair)
}

// join prepares and starts a relay of p.
func (s suite) join(t testing.TB, e *Engine, p Pair) *joined {
	t.Helper()
	j := s.prepare(t, p)
	j.start(e)
	return j
}

// result waits for the end of the relay.
func (j *joined) result() Result {
	j.t.Helper()
	select {
	case r := <-j.done:
		if up, down := j.relay.Bytes(); up != r.Up || down != r.Down {
			j.t.Errorf("Bytes() = %d, %d after the end, Result has %d, %d", up, down, r.Up, r.Down)
		}
		select {
		case <-j.done:
			j.t.Error("Done called twice")
		default:
		}
		return r
	case <-time.After(patience):
		j.t.Fatal("the relay did not end")
		panic("unreachable")
	}
}

// want waits for the end of the relay and checks it.
func (j *joined) want(up, down int64, err error) {
	j.t.Helper()
	r := j.result()
	if r.Up != up || r.Down != down {
		j.t.Errorf("Result has %d up, %d down; want %d, %d", r.Up, r.Down, up, down)
	}
	if !errors.Is(r.Err, err) {
		j.t.Errorf("Result.Err = %v, want %v", r.Err, err)
	}
	if r.Down > 0 && r.First == r.First.Round(0) {
		j.t.Errorf("Result.First is %v, which moves when the clock is set", r.First)
	}
	if r.First.IsZero() == (r.Down > 0) || time.Until(r.First) > 0 || r.Down > 0 && time.Since(r.First) > 10*patience {
		j.t.Errorf("Result.First is %v, with %d bytes down", r.First, r.Down)
	}
}

// eventually waits until cond holds: for what the kernel or the scheduler finishes
// shortly after the call that caused it has returned.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<16)
			stacks = stacks[:runtime.Stack(stacks, true)]
			t.Fatalf("not so: %s\n%s", what, stacks)
		}
		time.Sleep(time.Millisecond)
	}
}

// openFiles counts the descriptors of this process, where the system tells.
func openFiles(t testing.TB) int {
	dir, err := os.ReadDir("/proc/self/fd")
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return len(dir)
}

// together runs functions at the same time and waits for all.
func together(fs ...func()) {
	var wg sync.WaitGroup
	for _, f := range fs {
		wg.Go(f)
	}
	wg.Wait()
}
