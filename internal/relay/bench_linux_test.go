package relay

import (
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// The benchmarks compare forwarders with plain io.Copy in the same run, in turns, and
// report medians of ratios: absolute times say little on a shared machine. The kinds
// to compare are those of forwarders; RELAY_BENCH lists others than the default.
// Round trips are best measured on one core: taskset -c 1 go test -bench RoundTrip.
func benchKinds() []string {
	if list := os.Getenv("RELAY_BENCH"); list != "" {
		return strings.Split(list, ",")
	}
	return []string{"loops"}
}

// With -short a benchmark only shows that it runs: make benchmarks takes minutes.
func inShort(full, short int) int {
	if testing.Short() {
		return short
	}
	return full
}

// benchSpan is how long one turn exchanges messages.
func benchSpan() time.Duration { return time.Duration(inShort(500, 20)) * time.Millisecond }

// compareKinds runs measure in turns on the yardstick and on each kind. It reports the
// yardstick's median, and for each kind the median ratio and the second lowest and
// highest.
func compareKinds(b *testing.B, target, unit string, measure func(*forwarder) float64) {
	b.Helper()
	yard := startForwarder(b, "iocopy", target)
	turns := inShort(7, 3)
	kinds := benchKinds()
	var others []*forwarder
	for _, kind := range kinds {
		others = append(others, startForwarder(b, kind, target))
	}
	measure(yard) // warm up
	for b.Loop() {
		base := make([]float64, 0, turns)
		ratios := make([][]float64, len(others))
		for range turns {
			y := measure(yard)
			base = append(base, y)
			for i, f := range others {
				ratios[i] = append(ratios[i], measure(f)/y)
			}
		}
		slices.Sort(base)
		b.ReportMetric(base[turns/2], unit+"-iocopy")
		for i, kind := range kinds {
			slices.Sort(ratios[i])
			b.ReportMetric(ratios[i][turns/2], kind+"-ratio")
			b.ReportMetric(ratios[i][1], kind+"-low")
			b.ReportMetric(ratios[i][turns-2], kind+"-high")
		}
	}
	b.ReportMetric(0, "ns/op") // would be the time of the whole comparison
}

// BenchmarkRoundTrip measures a forwarder's processor time for 64 bytes there and back.
func BenchmarkRoundTrip(b *testing.B) {
	target := serveTCP(b, echo)
	compareKinds(b, target, "us", func(f *forwarder) float64 {
		c := dialTCP(b, f.address)
		defer c.Close()
		message := make([]byte, 64)
		trips := 0
		before := f.used("now").CPU
		for end := time.Now().Add(benchSpan()); time.Now().Before(end); trips++ {
			exchange(b, c, message)
		}
		return float64(f.used("now").CPU-before) / 1e3 / float64(trips)
	})
}

// BenchmarkRoundTripAdded measures by how much a forwarder makes a round trip longer.
func BenchmarkRoundTripAdded(b *testing.B) {
	target := serveTCP(b, echo)
	median := func(address string) time.Duration {
		c := dialTCP(b, address)
		defer c.Close()
		message := make([]byte, 64)
		var took []time.Duration
		for end := time.Now().Add(benchSpan()); time.Now().Before(end); {
			begun := time.Now()
			exchange(b, c, message)
			took = append(took, time.Since(begun))
		}
		slices.Sort(took)
		return took[len(took)/2]
	}
	compareKinds(b, target, "us", func(f *forwarder) float64 {
		return float64(median(f.address)-median(target)) / 1e3
	})
}

// BenchmarkMessages measures a forwarder's processor time for 64 bytes there and back
// with 16 relays at once.
func BenchmarkMessages(b *testing.B) {
	target := serveTCP(b, echo)
	compareKinds(b, target, "us", func(f *forwarder) float64 {
		const relays = 16
		before := f.used("now").CPU
		trips := make([]int, relays)
		var wg sync.WaitGroup
		for i := range relays {
			wg.Go(func() {
				c := dialTCP(b, f.address)
				defer c.Close()
				message := make([]byte, 64)
				for end := time.Now().Add(benchSpan()); time.Now().Before(end); trips[i]++ {
					exchange(b, c, message)
				}
			})
		}
		wg.Wait()
		all := 0
		for _, n := range trips {
			all += n
		}
		return float64(f.used("now").CPU-before) / 1e3 / float64(all)
	})
}

// BenchmarkSparse measures a forwarder's processor time for a lone message now and then.
func BenchmarkSparse(b *testing.B) {
	target := serveTCP(b, echo)
	compareKinds(b, target, "us", func(f *forwarder) float64 {
		trips := inShort(20, 2)
		c := dialTCP(b, f.address)
		defer c.Close()
		message := make([]byte, 64)
		before := f.used("now").CPU
		for range trips {
			time.Sleep(25 * time.Millisecond)
			exchange(b, c, message)
		}
		return float64(f.used("now").CPU-before) / 1e3 / float64(trips)
	})
}

// BenchmarkIdle measures what an idle relay that has moved some bytes holds.
func BenchmarkIdle(b *testing.B) {
	relays := inShort(2000, 100)
	for b.Loop() {
		for _, kind := range append([]string{"iocopy"}, benchKinds()...) {
			target := serveTCP(b, echo)
			f := startForwarder(b, kind, target)
			message := make([]byte, 64)
			exchange(b, dialTCP(b, f.address), message) // what the first relay needs, all share
			before := f.used("settled")
			open := make([]net.Conn, relays)
			for i := range open {
				open[i] = dialTCP(b, f.address)
				exchange(b, open[i], message)
			}
			after := f.used("settled")
			b.ReportMetric(float64(after.RSS-before.RSS)/float64(relays), "B/relay-"+kind)
			b.ReportMetric(float64(after.Files-before.Files)/float64(relays), "files/relay-"+kind)
			for _, c := range open {
				c.Close()
			}
		}
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkShort measures processor time for a relay that lives for one exchange.
func BenchmarkShort(b *testing.B) {
	target := serveTCP(b, echo)
	compareKinds(b, target, "us", func(f *forwarder) float64 {
		workers, each := 16, inShort(100, 5)
		before := f.used("now").CPU
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				message := make([]byte, 1)
				for range each {
					c := dialTCP(b, f.address)
					exchange(b, c, message)
					c.Close()
				}
			})
		}
		wg.Wait()
		return float64(f.used("now").CPU-before) / 1e3 / float64(workers*each)
	})
}

// echo sends back what it gets, without splicing.
func echo(c net.Conn) { io.Copy(struct{ io.Writer }{c}, c) }

// exchange sends a message and waits for its echo.
func exchange(b testing.TB, c net.Conn, message []byte) {
	if _, err := c.Write(message); err != nil {
		b.Error(err)
	}
	if _, err := io.ReadFull(c, message); err != nil {
		b.Error(err)
	}
}

func dialTCP(b testing.TB, address string) net.Conn {
	c, err := dial(address)
	if err != nil {
		b.Fatal(err)
	}
	return c
}

// serveTCP serves each connection with f until the benchmark ends.
func serveTCP(b testing.TB, f func(net.Conn)) (address string) {
	l, err := listen()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				f(c)
			}()
		}
	}()
	return l.Addr().String()
}
