package load

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// turn is one server's go at one mode.
type turn struct {
	ctx     context.Context
	o       *Options
	server  *Server
	way     *way
	direct  *way // to the origin, past every server
	origin  *origin
	clients reactor

	values Values
	fails  failures
	made   int   // relays that came to stand
	bytes  int64 // payload that arrived, in the measured time
}

// errNothing ends a turn of which there is nothing to tell but its failures.
var errNothing = errors.New("the server did none of what was asked")

// work is how each mode does a turn. It leaves no relay open.
type work struct {
	run     func(*turn) error
	apart   bool // the clients have a reactor of their own
	once    bool // one turn is enough for each server, on a fresh one if there is a way to have it
	oneCore bool // Options.CPU counts
}

func modes() map[Mode]work {
	return map[Mode]work{
		Rate: {run: runRate},
		Down: {run: func(t *turn) error { return runBulk(t, false) }, apart: true},
		Up:   {run: func(t *turn) error { return runBulk(t, true) }, apart: true},
		RTT:  {run: runRTT, apart: true, oneCore: true},
		Idle: {run: runIdle, once: true},
	}
}

// drive has begin called on the reactor of the clients, and then tick, now and then,
// until that reports the end. It must end within limit and the time for an answer.
func (t *turn) drive(limit time.Duration, begin func(time.Time), tick func(time.Time) bool) error {
	done := make(chan struct{})
	var err error
	latest := time.Now().Add(limit + 2*t.o.Timeout)
	t.clients.do(func() {
		begin(time.Now())
		t.clients.onTick(func(now time.Time) {
			ended := tick(now)
			switch {
			case t.ctx.Err() != nil:
				err = t.ctx.Err()
			case t.clients.err() != nil:
				err = t.clients.err()
			case now.After(latest) && !ended:
				err = fmt.Errorf("no end after %v", limit+2*t.o.Timeout)
			case !ended:
				return
			}
			t.clients.onTick(nil)
			close(done)
		})
	})
	<-done
	return err
}

// drop ends relays; their user hears nothing.
func (t *turn) drop(relays []*relay) {
	t.clients.do(func() {
		for _, r := range relays {
			if r != nil {
				r.end()
			}
		}
	})
}

// charge puts the processor time that the server took since before under key, in µs for
// each of n.
func (t *turn) charge(key string, before usage, n int) {
	if now, err := measure(t.server.PIDs, false); err == nil && before.ok {
		t.values.per(key, micros(now.cpuSince(before)), float64(n))
	}
}

// cpu is the time before something that is to be charged.
func (t *turn) cpu() usage {
	u, err := measure(t.server.PIDs, false)
	u.ok = err == nil
	return u
}

// settle waits until the origin sees none of the relays any more, so that one turn's
// end is not another's load. A server that keeps connections whose client has gone is
// found out here.
func (t *turn) settle() {
	for end := time.Now().Add(t.o.Timeout); ; {
		left := t.origin.open.Load()
		if left == 0 || t.ctx.Err() != nil {
			return
		}
		if time.Now().After(end) {
			t.fails[fmt.Sprintf("relays still open at the origin %v after their clients closed", t.o.Timeout)] += int(left)
			t.origin.abandon()
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}
