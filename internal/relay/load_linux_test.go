package relay

import (
	"errors"
	"net"
	"testing"
	"time"
)

// How many loops accept, as they work.
func TestShare(t *testing.T) {
	e := &Engine{Loops: 3}
	e.loops.all = e.makeLoops() // which nobody runs
	ls := &e.loops
	defer func() {
		for _, l := range ls.all {
			go l.run()
		}
		ls.stop()
	}()
	now := time.Duration(0)
	// after has all loops work so much of some windows, and tells how many accept then.
	after := func(windows int, worked ...int64) int {
		for range windows {
			now += window
			for i, w := range worked {
				ls.all[i].work.worked.Store(w)
				ls.all[i].work.until.Store(int64(now))
			}
			ls.share(now)
		}
		return 1 + int(ls.acceptance.helpers.Load())
	}
	for _, step := range []struct {
		name    string
		windows int
		worked  []int64
		want    int
	}{
		{"at rest", 10, []int64{0, 0, 0}, 1},
		{"busy, but it sleeps", 10, []int64{needsHelp - 1, 0, 0}, 1},
		{"never sleeps", 1, []int64{1000, 0, 0}, 2},
		{"two never sleep", 1, []int64{1000, 1000, 0}, 3},
		{"there are no more", 5, []int64{1000, 1000, 1000}, 3},
		{"busy enough for three", 5 * trial, []int64{900, 900, 900}, 3},
		{"easy, but not for long", trial, []int64{500, 500, 500}, 3},
		{"busy in between", 1, []int64{900, 900, 900}, 3},
		{"easy, but again not for long", trial, []int64{500, 500, 500}, 3},
		{"easy for long", 1, []int64{500, 500, 500}, 2},
		{"two can do it", 5 * trial, []int64{800, 800, 0}, 2},
		{"one can", trial + 1, []int64{600, 600, 0}, 1},
		{"what those work that do not accept is nothing to it", 5, []int64{900, 1000, 1000}, 1},
	} {
		if n := after(step.windows, step.worked...); n != step.want {
			t.Fatalf("%s: %d loops accept, want %d", step.name, n, step.want)
		}
	}
	after(1, 1000, 0, 0)
	now += 3 * window // nobody woke
	ls.all[1].work.worked.Store(1000)
	ls.all[1].work.until.Store(int64(now))
	if ls.share(now); ls.acceptance.helpers.Load() != 1 {
		t.Error("a loop that sleeps is taken for busy")
	}
}

// A loop that is to help accepts what the first one does not come to, and only then.
func TestHelp(t *testing.T) {
	e := &Engine{Loops: 2}
	defer e.Close()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	in := e.Listen(tcp)
	loops := make(chan *eventLoop)
	resume := make(chan struct{})
	ended := make(chan error)
	go func() {
		ended <- in.Serve(accepted(func(c net.Conn) {
			l := c.(*sock).task.loop
			e.Go(c, func() { c.Close() })
			loops <- l // and nothing else moves in this loop
			<-resume
		}), true)
	}()
	dial := func() {
		t.Helper()
		c, err := net.Dial("tcp", tcp.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	dial()
	first := <-loops
	if first.place != 0 {
		t.Fatalf("loop %d accepts, of one", first.place)
	}
	dial() // the first loop does not come to it
	e.loops.acceptance.helpers.Store(1)
	e.loops.all[1].wakeAcceptors()
	if l := <-loops; l.place != 1 {
		t.Fatalf("loop %d accepts, which is busy", l.place)
	}
	e.loops.acceptance.helpers.Store(0)
	e.loops.all[1].wakeAcceptors()
	resume <- struct{}{} // one of the two
	resume <- struct{}{}
	for range 20 {
		dial()
		if l := <-loops; l.place != 0 {
			t.Errorf("loop %d accepts, which is not to help any more", l.place)
		}
		resume <- struct{}{}
	}
	in.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}
