package relay

import (
	"io"
	"net"
	"slices"
	"testing"
	"time"
)

const bulkStreams = 4

// bulkPart is what one stream moves.
func bulkPart() int { return inShort(512, 16) << 20 }

// bulkLoad sends much through forwarders, to or from a target that waits to be asked.
type bulkLoad struct {
	b        *testing.B
	up       bool
	target   string
	received chan int
}

func newBulkLoad(b *testing.B, up bool) *bulkLoad {
	l := &bulkLoad{b: b, up: up, received: make(chan int, bulkStreams)}
	l.target = serveTCP(b, func(c net.Conn) {
		switch _, err := c.Read(make([]byte, 1)); {
		case err != nil:
		case up:
			l.received <- consume(c)
		default:
			produce(c)
		}
	})
	return l
}

// run sends one part through f on each stream.
func (l *bulkLoad) run(f *forwarder) {
	for range bulkStreams {
		go func() {
			c := dialTCP(l.b, f.address)
			defer c.Close()
			if _, err := c.Write([]byte("?")); err != nil {
				l.b.Error(err)
			}
			if l.up {
				produce(c)
				io.Copy(io.Discard, c)
			} else {
				l.received <- consume(c)
			}
		}()
	}
	for range bulkStreams {
		if n := <-l.received; n != bulkPart() {
			l.b.Errorf("received %d bytes, want %d", n, bulkPart())
		}
	}
}

func produce(c net.Conn) {
	piece := make([]byte, 256<<10)
	for range bulkPart() / len(piece) {
		if _, err := c.Write(piece); err != nil {
			return // the other side counts what it gets
		}
	}
	c.(Conn).CloseWrite()
}

func consume(c net.Conn) (total int) {
	piece := make([]byte, 256<<10)
	for {
		n, err := c.Read(piece)
		total += n
		if err != nil {
			return total
		}
	}
}

// BenchmarkDownload and BenchmarkUpload measure processor time for a GiB in 4 streams.
func BenchmarkDownload(b *testing.B) { benchmarkBulk(b, false) }
func BenchmarkUpload(b *testing.B)   { benchmarkBulk(b, true) }

func benchmarkBulk(b *testing.B, up bool) {
	load := newBulkLoad(b, up)
	compareKinds(b, load.target, "cpu-s/GiB", func(f *forwarder) float64 {
		before := f.used("now").CPU
		load.run(f)
		return (f.used("now").CPU - before).Seconds() * (1 << 30) / float64(bulkStreams*bulkPart())
	})
}

// BenchmarkDownloadTime measures the time a GiB takes in 4 streams.
func BenchmarkDownloadTime(b *testing.B) {
	load := newBulkLoad(b, false)
	compareKinds(b, load.target, "s/GiB", func(f *forwarder) float64 {
		begun := time.Now()
		load.run(f)
		return time.Since(begun).Seconds() * (1 << 30) / float64(bulkStreams*bulkPart())
	})
}

// BenchmarkDownloadAmongIdle measures which part of the rate is left to bulk transfers
// of an ordinary user when there are many idle relays: the kernel bounds what pipes
// such a user may have.
func BenchmarkDownloadAmongIdle(b *testing.B) {
	idle, turns := inShort(2500, 100), inShort(5, 1)
	load := newBulkLoad(b, false)
	rate := func(f *forwarder) float64 {
		begun := time.Now()
		load.run(f)
		return 1 / time.Since(begun).Seconds()
	}
	uid := uint32(60_000)
	for b.Loop() {
		for _, kind := range append([]string{"iocopy"}, benchKinds()...) {
			alone := startOrdinary(b, uid, kind, load.target)
			crowded := startOrdinary(b, uid+1, kind, load.target)
			uid += 2
			open := make([]net.Conn, idle)
			for i := range open {
				open[i] = dialTCP(b, crowded.address)
			}
			rate(alone)
			var kept []float64
			for range turns {
				kept = append(kept, rate(crowded)/rate(alone))
			}
			slices.Sort(kept)
			b.ReportMetric(kept[turns/2], kind+"-kept")
			for _, c := range open {
				c.Close()
			}
		}
	}
	b.ReportMetric(0, "ns/op")
}
