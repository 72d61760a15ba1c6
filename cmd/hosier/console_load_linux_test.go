package main

import (
	"bufio"
	"cmp"
	"context"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hosier/internal/load"
	"hosier/internal/tcptest"
	"hosier/socks"
)

// crowdSize is how many connections are open while the console is looked at.
const crowdSize = 5000

// open begins a request with the token.
func (h *consoleHost) open(tb testing.TB, ctx context.Context, path string) *http.Response {
	tb.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, h.url+path, nil)
	if err != nil {
		tb.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+h.token)
	resp, err := h.client.Do(r)
	if err != nil {
		tb.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		tb.Fatalf("%s: %s", path, resp.Status)
	}
	return resp
}

// firstByte is how long the first byte of a page takes to come.
func (h *consoleHost) firstByte(tb testing.TB, path string) time.Duration {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	began := time.Now()
	resp := h.open(tb, ctx, path) // returns when the head is there
	took := time.Since(began)
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		tb.Fatal(err)
	}
	return took
}

// follow reads a stream of the console, as an open page does, until what it returns is
// called; that returns how many events came.
func (h *consoleHost) follow(tb testing.TB, about string) func() int {
	tb.Helper()
	ctx, cancel := context.WithCancel(tb.Context())
	resp := h.open(tb, ctx, "api/v1/events?"+about)
	events, first, ended := 0, make(chan bool, 1), make(chan bool)
	go func() {
		defer close(ended)
		defer resp.Body.Close()
		lines := bufio.NewReaderSize(resp.Body, 1<<20)
		for {
			line, err := lines.ReadSlice('\n')
			if err != nil && err != bufio.ErrBufferFull {
				return
			}
			if strings.HasPrefix(string(line), "event:") {
				if events++; events == 1 {
					first <- true
				}
			}
		}
	}()
	select {
	case <-first:
	case <-time.After(patience):
		tb.Error("no event came")
	}
	return func() int {
		cancel()
		<-ended
		return events
	}
}

// echoPlainly takes one descriptor: io.Copy between sockets has a pipe while it waits.
func echoPlainly(c net.Conn) {
	io.CopyBuffer(struct{ io.Writer }{c}, struct{ io.Reader }{c}, make([]byte, 512))
}

// openCrowd opens so many connections through the proxy, and has each echo a byte.
func openCrowd(tb testing.TB, proxy, target string, n int) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 2*patience)
	defer cancel()
	const atOnce = 64
	work := make(chan bool)
	var group sync.WaitGroup
	var mu sync.Mutex
	var all []net.Conn
	var failed error
	for range atOnce {
		group.Go(func() {
			for range work {
				c, err := (&socks.Dialer{Proxy: proxy}).DialContext(ctx, "tcp", target)
				if err == nil {
					c.SetDeadline(time.Now().Add(2 * patience))
					_, err = c.Write([]byte{'x'})
				}
				if err == nil {
					_, err = io.ReadFull(c, make([]byte, 1))
				}
				mu.Lock()
				if failed == nil {
					failed = err
				}
				if c != nil {
					all = append(all, c)
				}
				mu.Unlock()
			}
		})
	}
	for range n {
		work <- true
	}
	close(work)
	group.Wait()
	tb.Cleanup(func() {
		for _, c := range all {
			c.Close()
		}
	})
	if failed != nil {
		tb.Fatal(failed)
	}
}

// With 5,000 connections open the console answers soon, and has them all. How soon, the
// benchmark tells; here only a hang is a failure.
func TestConsoleOfManyConnections(t *testing.T) {
	h := startWithConsole(t)
	openCrowd(t, h.addr(), tcptest.Listen(t, echoPlainly), crowdSize)
	for _, path := range []string{"", "connections"} {
		if took := h.firstByte(t, path); took > patience/3 {
			t.Errorf("/%s: the first byte took %v", path, took)
		}
	}
	resp := h.open(t, t.Context(), "connections")
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "5,000") && !strings.Contains(string(text), "5000") {
		t.Errorf("the page does not say how many there are:\n%s", text)
	}
}

// BenchmarkConsoleFirstByte has 5,000 connections open. An operation is one page.
func BenchmarkConsoleFirstByte(b *testing.B) {
	h := startWithConsole(b)
	openCrowd(b, h.addr(), tcptest.Listen(b, echoPlainly), crowdSize)
	for _, path := range []string{"", "connections", "connections?sort=-down&limit=500"} {
		b.Run("/"+path, func(b *testing.B) {
			var all []time.Duration
			for b.Loop() {
				all = append(all, h.firstByte(b, path))
			}
			slices.Sort(all)
			b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "ms-median")
			b.ReportMetric(float64(all[len(all)-1].Microseconds())/1000, "ms-most")
		})
	}
}

// processorTime is what a process took so far (clock_getcpuclockid(3)).
func processorTime(tb testing.TB, pid int) time.Duration {
	tb.Helper()
	const sched = 2 // CPUCLOCK_SCHED
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|sched), &ts); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(ts.Nano())
}

// BenchmarkConsoleStream says what share of a processor an open page takes while 5,000
// connections are open and silent. An operation is two seconds, in which each topic is
// looked at once.
func BenchmarkConsoleStream(b *testing.B) {
	h := startWithConsole(b)
	openCrowd(b, h.addr(), tcptest.Listen(b, echoPlainly), crowdSize)
	for _, about := range []string{"", "about=connections", "about=status&about=history&about=egresses&about=failures&about=leaks"} {
		b.Run(cmp.Or(about, "none"), func(b *testing.B) {
			if about != "" {
				defer h.follow(b, about)()
			}
			before, began := processorTime(b, h.cmd.Process.Pid), time.Now()
			for b.Loop() {
				time.Sleep(2 * time.Second)
			}
			took := processorTime(b, h.cmd.Process.Pid) - before
			b.ReportMetric(100*float64(took)/float64(time.Since(began)), "%cpu")
		})
	}
}

// BenchmarkConsoleOpen says what an open console does to the processor time that hosier
// takes for a connection, with 5,000 more of them open: as the median of the ratios of
// turns that follow one another, with it and without, and beside it what two turns
// without differ by. An operation is a round of three turns.
func BenchmarkConsoleOpen(b *testing.B) {
	h := startWithConsole(b)
	openCrowd(b, h.addr(), tcptest.Listen(b, echoPlainly), crowdSize)
	o := load.Defaults()
	o.Modes, o.Rounds, o.Time = []load.Mode{load.Rate}, 1, 2*time.Second
	server := load.Server{
		Name: "hosier", Addr: netip.MustParseAddrPort(h.addr()),
		Dialect: load.Dialect{Version: socks.V5}, PIDs: []int{h.cmd.Process.Pid},
	}
	turn := func() float64 {
		report, err := load.Run(b.Context(), o, []load.Server{server})
		if err != nil {
			b.Fatal(err)
		}
		line := report.Modes[0].Lines[0]
		if cost := line.Median["cpu_us_conn"]; cost > 0 && line.Failed == 0 {
			return cost
		}
		b.Fatalf("%+v", line)
		return 0
	}
	turn() // to warm up
	var with, without []float64
	for round := 0; b.Loop(); round++ {
		before := turn()
		stop := h.follow(b, "about=connections")
		open := turn()
		if events := stop(); events < 1 {
			b.Fatal("the console showed nothing")
		}
		after := turn()
		with = append(with, open/math.Sqrt(before*after))
		without = append(without, after/before)
	}
	for name, ratios := range map[string][]float64{"ratio-open": with, "ratio-none": without} {
		slices.Sort(ratios)
		b.ReportMetric(ratios[len(ratios)/2], name)
		b.ReportMetric(ratios[len(ratios)*3/4]-ratios[len(ratios)/4], name+"-quartiles")
	}
}
