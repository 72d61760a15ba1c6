package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

const (
	// quietPercent is GOGC while little is allocated. A hosier has little in use, some hundred
	// bytes a relay, and what a relay takes is that and its share of garbage. At half as much
	// it takes no less, and a new connection costs some per cent more.
	quietPercent = 75

	// rushHeap is the heap below which nothing is collected during a rush of connections. With
	// a few megabytes in use the collector would otherwise run dozens of times a second.
	rushHeap = 16 << 20

	// mostPercent bounds GOGC: what is in use is known as of the last collection alone.
	mostPercent = 1000

	rushPause = time.Second // two collections within it are a rush
	quietRate = 256 << 10   // bytes a second; less is the end of one
)

// collector has Go's collector run seldom during a rush of connections, and gives back what
// that took once it is quiet again: the garbage of a rush would stay for as long as nothing
// is allocated.
type collector struct {
	read func() (live, allocated uint64) // bytes in use after the last collection; allocated ever
	set  func(percent int)               // debug.SetGCPercent
	free func()                          // debug.FreeOSMemory

	mu        sync.Mutex
	last      time.Time // of the collections
	percent   int       // in force
	allocated uint64    // at the last look
	quiet     *time.Timer
}

// manageHeap starts a collector, unless GOGC is set.
func manageHeap() {
	if os.Getenv("GOGC") != "" {
		return
	}
	c := &collector{read: readHeap, set: func(n int) { debug.SetGCPercent(n) }, free: debug.FreeOSMemory}
	c.use(quietPercent)
	c.await()
}

func readHeap() (live, allocated uint64) {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64(), s[1].Value.Uint64()
}

// await calls collected after the next collection.
func (c *collector) await() {
	runtime.AddCleanup(&struct{ _ *collector }{}, func(c *collector) {
		c.await()
		c.collected(time.Now())
	}, c)
}

// collected notes a collection.
func (c *collector) collected(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rush := c.quiet != nil || now.Sub(c.last) < rushPause
	c.last = now
	if !rush {
		return
	}
	live, allocated := c.read()
	percent := quietPercent
	if live < rushHeap {
		percent = min(max(int(rushHeap*100/max(live, 1))-100, quietPercent), mostPercent)
	}
	if d := percent - c.percent; d < -c.percent/8 || d > c.percent/8 { // each change stops the world
		c.use(percent)
	}
	if c.quiet == nil && percent > quietPercent {
		c.allocated = allocated
		c.quiet = time.AfterFunc(rushPause, c.look)
	}
}

func (c *collector) use(percent int) {
	c.percent = percent
	c.set(percent)
}

// look ends the rush if it is over.
func (c *collector) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	live, allocated := c.read()
	over := allocated-c.allocated < quietRate
	c.allocated = allocated
	switch {
	case !over:
		c.quiet.Reset(rushPause)
		return
	case live < rushHeap: // else this is not worth a collection, and the next one is near
		defer c.free()
	}
	c.quiet, c.last = nil, time.Time{} // the collection of free begins no rush
	c.use(quietPercent)
}
