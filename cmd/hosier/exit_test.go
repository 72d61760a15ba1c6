package main

import (
	"testing"
	"testing/synctest"
	"time"

	"hosier/proxy"
	"hosier/socks"
)

func stoppable() (x *exit, ended func() bool) {
	x = &exit{over: make(chan struct{})}
	x.end = func() { close(x.over) }
	return x, x.isOver
}

// A way out that a reload drops ends when nobody uses it, and not before connections that
// had begun have had their time.
func TestRetire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unused, unusedOver := stoppable()
		used, usedOver := stoppable()
		used.enter()
		unused.retire()
		used.retire()
		time.Sleep(retirement - time.Second)
		unused.enter()
		unused.leave()
		if unusedOver() {
			t.Error("it ended before its time")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !unusedOver() || usedOver() {
			t.Errorf("unused: over is %t; used: %t", unusedOver(), usedOver())
		}
		used.leave()
		if !usedOver() {
			t.Error("it goes on though nobody uses it")
		}
		if used.revive() {
			t.Error("what has ended is revived")
		}
	})
}

// A reload that takes the last one back takes its ways out back, too.
func TestRevive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, over := stoppable()
		x.retire()
		time.Sleep(retirement / 2)
		if !x.revive() {
			t.Fatal("not revived")
		}
		time.Sleep(retirement)
		x.retire() // has all its time anew
		time.Sleep(retirement - time.Second)
		if over() {
			t.Error("an earlier retirement ended it")
		}
	})
}

// A proxy that failed is ready again after a while: without requests nobody would know.
func TestBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, _ := stoppable()
		w := &way{exits: []*exit{x}}
		fails := &proxy.Session{Err: &socks.ProxyError{Proxy: "a", Err: socks.GeneralFailure}}
		w.judge(fails)
		if x.ready() {
			t.Error("ready though it failed")
		}
		w.judge(&proxy.Session{Request: &socks.Request{}, Status: socks.Succeeded})
		if !x.ready() {
			t.Error("not ready though it served")
		}
		w.judge(fails)
		time.Sleep(brokenTime + time.Second)
		if !x.ready() {
			t.Error("not ready for ever")
		}
	})
}
