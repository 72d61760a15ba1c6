package telemetry

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"hosier/internal/sockstest"
	"hosier/proxy"
	"hosier/socks"
)

// traffic is what a server has moved.
type traffic struct{ up, down atomic.Int64 }

func (b *traffic) moved() (up, down int64) { return b.up.Load(), b.down.Load() }

// A download counts in the minutes in which it moves, not in the one in which it ends, and
// not again in that.
func TestHistoryOfDownload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var all traffic
		tel := New(Options{Moved: all.moved})
		start := time.Now() // which is the begin of a minute
		for tick := range 30 {
			time.Sleep(5 * time.Second)
			all.down.Add(1000 + int64(tick)/12) // another pace each minute
			all.up.Add(1)
			tel.Sample()
		}
		ses := session()
		ses.End, ses.Down, ses.Up = time.Now(), all.down.Load(), all.up.Load()
		tel.Closed(ses)
		tel.Sample()
		got := tel.History()
		if len(got) != 60 {
			t.Fatalf("%d minutes", len(got))
		}
		// The tick at the end of a minute is in the next.
		want := []Minute{
			{At: start, Up: 11, Down: 11 * 1000},
			{At: start.Add(time.Minute), Up: 12, Down: 1000 + 11*1001},
			{At: start.Add(2 * time.Minute), Up: 7, Down: 1001 + 6*1002, Connections: 1, Failed: 1},
		}
		last := got[57:]
		last[2].Handshake, last[2].Connect, last[2].FirstByte = Quantiles{}, Quantiles{}, Quantiles{} // elsewhere
		if diff := cmp.Diff(want, last); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		for i, m := range got[:57] {
			if want := (Minute{At: start.Add(time.Duration(i-57) * time.Minute)}); m != want {
				t.Errorf("minute %d: %+v, want nothing at %v", i, m, want.At)
			}
		}
	})
}

// An hour later a minute is gone, and what took its place begins at nothing.
func TestHistoryForgets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var all traffic
		tel := New(Options{Moved: all.moved})
		closed := func() {
			ses := session()
			ses.End = time.Now()
			tel.Closed(ses)
			all.up.Add(10)
			tel.Sample()
		}
		sum := func() (connections int, up int64) {
			for _, m := range tel.History() {
				connections += m.Connections
				up += m.Up
			}
			return connections, up
		}
		closed()
		time.Sleep(59 * time.Minute)
		closed()
		if n, up := sum(); n != 2 || up != 20 {
			t.Errorf("in the hour: %d connections, %d bytes", n, up)
		}
		time.Sleep(time.Minute)
		if n, up := sum(); n != 1 || up != 10 {
			t.Errorf("a minute later: %d connections, %d bytes", n, up)
		}
		closed() // in the place of the first one
		if n, up := sum(); n != 2 || up != 20 {
			t.Errorf("with another: %d connections, %d bytes", n, up)
		}
		time.Sleep(1000 * time.Hour)
		if n, up := sum(); n != 0 || up != 0 {
			t.Errorf("at the end: %d connections, %d bytes", n, up)
		}
	})
}

// A clock that is set back and forth, a session without times and totals that are late do
// no harm.
func TestHistoryOfBrokenClock(t *testing.T) {
	t.Parallel()
	var h history
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	later := now.AddDate(4, 0, 0).Add(7 * time.Minute)
	h.moved(now, 100, 100)
	h.moved(later, 200, 200)
	h.moved(now, 300, 300)
	h.moved(now, 250, 350) // a look that began before the last one
	h.ended(&proxy.Session{}, false)
	h.ended(&proxy.Session{End: time.Unix(-1, 0)}, true)
	last := h.last(now)[59]
	if last.Up != 200 || last.Down != 250 {
		t.Errorf("up %d, down %d", last.Up, last.Down)
	}
	var up int64
	for _, m := range h.last(later) {
		up += m.Up
	}
	if up != 100 {
		t.Errorf("in four years: up %d", up)
	}
}

// What a quantile says is in the step of the right one.
func TestQuantiles(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		largest := rapid.Int64Range(1, 400_000_000_000).Draw(t, "largest")
		all := rapid.SliceOfN(rapid.Int64Range(1, largest), 1, 200).Draw(t, "durations in ns")
		var s spread
		for _, ns := range all {
			s.add(time.Duration(ns))
		}
		slices.Sort(all)
		q := s.quantiles()
		if q.P50 > q.P95 {
			t.Fatalf("%v is more than %v", q.P50, q.P95)
		}
		for p, ms := range map[int]float64{50: q.P50, 95: q.P95} {
			got := time.Duration(ms * float64(time.Millisecond))
			exact := min(time.Duration(all[(len(all)*p+99)/100-1]), (maxMicros+1)*time.Microsecond)
			if off := max(exact/8, time.Microsecond); got < exact-off || got > exact+off {
				t.Fatalf("p%d is said to be %v, and is %v", p, got, exact)
			}
		}
	})
	var none, zero spread
	zero.add(0) // a step that was not come to
	if none.quantiles() != (Quantiles{}) || zero.quantiles() != (Quantiles{}) {
		t.Error("nothing has quantiles")
	}
}

// Each step begins where the one before ends.
func TestSteps(t *testing.T) {
	t.Parallel()
	end := 0.0
	for i := range spreadLen {
		low, high := bounds(i)
		if low != end || stepOf(uint64(low)) != i || stepOf(uint64(high)-1) != i || high-low > max(low/8, 1) {
			t.Errorf("step %d goes from %v to %v, after %v", i, low, high, end)
		}
		end = high
	}
	if end != maxMicros+1 || stepOf(1<<63) != spreadLen-1 {
		t.Errorf("the last step ends at %v", end)
	}
}

// Readers and connections that end do not get into each other's way.
func TestHistoryAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // all in one minute
		const many, each = 8, 100
		var all traffic
		tel := New(Options{Moved: all.moved})
		var group sync.WaitGroup
		for range many {
			group.Go(func() {
				for range each {
					ses := session()
					ses.End = time.Now()
					all.up.Add(ses.Up)
					tel.Closed(ses)
					tel.Sample()
					tel.History()
				}
			})
		}
		group.Wait()
		if m := tel.History()[59]; m.Connections != many*each || m.Failed != many*each || m.Up != many*each*session().Up {
			t.Errorf("got %+v", m)
		}
	})
}

// All that a history takes, whatever happens.
func TestHistorySize(t *testing.T) {
	t.Parallel()
	if got := unsafe.Sizeof(history{}); got > 160<<10 {
		t.Errorf("%d bytes", got)
	}
}

// A server's own numbers: what an open connection moves is there at once, and stays the
// same when it ends.
func TestHistoryOfServer(t *testing.T) {
	t.Parallel()
	w := sockstest.NewWorld(t)
	closed := make(chan struct{})
	s := &proxy.Server{}
	tel := New(Options{Moved: s.Moved})
	s.Closed = func(ses *proxy.Session) {
		tel.Closed(ses)
		close(closed)
	}
	to := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(w.Echo)}
	address := sockstest.Serve(t, s, &sockstest.Egress{DialFunc: func(context.Context, *socks.Request) (net.Conn, socks.Addr, error) {
		c, err := net.DialTCP("tcp", nil, to)
		return c, socks.Addr{}, err
	}})
	c, err := (&socks.Dialer{Proxy: address}).Dial("tcp", "echo.test:80")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sum := func() (up, down int64, ended int) {
		for _, m := range tel.History() {
			up, down, ended = up+m.Up, down+m.Down, ended+m.Connections
		}
		return up, down, ended
	}
	const size = 10_000
	for round := int64(1); round <= 2; round++ {
		c.Write(make([]byte, size))
		if _, err := io.CopyN(io.Discard, c, size); err != nil {
			t.Fatal(err)
		}
		// The client may have a byte a moment before it is counted.
		up, down, ended := sum()
		for deadline := time.Now().Add(20 * time.Second); up != round*size || down != round*size; up, down, ended = sum() {
			if time.Now().After(deadline) {
				t.Fatalf("round %d: up %d, down %d", round, up, down)
			}
			time.Sleep(time.Millisecond)
		}
		if ended != 0 {
			t.Errorf("round %d: %d have ended", round, ended)
		}
	}
	c.Close()
	<-closed
	if up, down, ended := sum(); up != 2*size || down != 2*size || ended != 1 {
		t.Errorf("at the end: up %d, down %d, %d ended", up, down, ended)
	}
}
