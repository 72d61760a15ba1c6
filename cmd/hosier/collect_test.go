package main

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestCollector has collections come at different times, and looks at GOGC.
func TestCollector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var live, allocated uint64 // guarded by c.mu, like what follows
		percent, freed := 0, 0
		c := &collector{
			read: func() (uint64, uint64) { return live, allocated },
			set:  func(n int) { percent = n },
			free: func() { freed++ },
		}
		c.use(quietPercent)
		expect := func(when string, wantPercent, wantFreed int) {
			t.Helper()
			synctest.Wait()
			c.mu.Lock()
			defer c.mu.Unlock()
			if percent != wantPercent || freed != wantFreed {
				t.Errorf("%s: GOGC is %d, freed %d times, want %d and %d", when, percent, freed, wantPercent, wantFreed)
			}
		}
		collect := func(inUse uint64) {
			c.mu.Lock()
			live, allocated = inUse, allocated+4<<20
			c.mu.Unlock()
			c.collected(time.Now())
		}
		for range 5 {
			time.Sleep(2 * time.Second)
			collect(2 << 20)
		}
		expect("collections far apart", quietPercent, 0)
		time.Sleep(100 * time.Millisecond)
		collect(2 << 20)
		expect("a rush", 700, 0)
		for range 20 {
			time.Sleep(300 * time.Millisecond)
			c.mu.Lock()
			allocated += 1 << 20
			c.mu.Unlock()
		}
		expect("a rush without collections", 700, 0)
		collect(4 << 20)
		expect("more in use", 300, 0)
		collect(1)
		expect("next to nothing in use", mostPercent, 0)
		collect(64 << 20)
		expect("much in use", quietPercent, 0)
		collect(2 << 20)
		expect("little again", 700, 0)
		time.Sleep(2 * time.Second)
		expect("quiet", quietPercent, 1)
		time.Sleep(time.Hour)
		collect(2 << 20)
		expect("a collection later", quietPercent, 1)
		time.Sleep(100 * time.Millisecond)
		collect(64 << 20)
		expect("a rush with much in use", quietPercent, 1)
		time.Sleep(time.Hour)
		expect("quiet with much in use", quietPercent, 1)
	})
}
