package relay

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// keepAlivePeriod is how long a peer is silent before it is asked whether it is there, and
// how long between two such questions; as in package net.
const keepAlivePeriod = 15 * time.Second

// keepAlive asks for keep-alive. What fails lets a peer that is gone be missed later.
func keepAlive(fd int32) {
	const period = int32(keepAlivePeriod / time.Second)
	_ = setOption(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	_ = setOption(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, period)
	_ = setOption(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, period)
}

// noDelay has small messages sent at once. What fails costs speed.
func noDelay(fd int32) { _ = setOption(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) }

// keeper asks for keep-alive on the sockets that loops have connected, once a period: most
// relays are over before that would have been of use, and it takes three system calls.
//
// Whoever starts a relay holds its lock, so the keeper must not hold its own while it waits
// for that of a relay.
type keeper struct {
	mu    sync.Mutex
	timer *time.Timer // nil while there is nothing to look after
	fresh bool        // a relay has begun since the last look did
}

// begin makes the keeper look after the relays of e.
func (k *keeper) begin(e *Engine) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fresh = true
	if k.timer == nil {
		k.timer = time.AfterFunc(keepAlivePeriod, func() { k.look(e) })
	}
}

// look looks after all relays, and goes on while there are any.
func (k *keeper) look(e *Engine) {
	k.mu.Lock()
	k.fresh = false
	k.mu.Unlock()
	relays := 0
	for _, l := range e.loops.all {
		for w := range l.wires.relays {
			w.keepAlive()
			relays++
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.timer == nil: // it was stopped
	case relays > 0 || k.fresh:
		k.timer.Reset(keepAlivePeriod)
	default:
		k.timer = nil
	}
}

func (k *keeper) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.timer != nil {
		k.timer.Stop()
		k.timer = nil
	}
}

func (w *wire) keepAlive() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.kept && !w.over {
		keepAlive(w.fds[toServer])
		w.kept = true
	}
}

// relays are those that are there. Others may come and go meanwhile.
func (t *table) relays(yield func(*wire) bool) {
	blocks := t.blocks.Load()
	if blocks == nil {
		return
	}
	for _, b := range *blocks {
		for i := range b {
			if w := b[i].wire.Load(); w != nil && !yield(w) {
				return
			}
		}
	}
}
