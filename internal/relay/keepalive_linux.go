package relay

import (
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// keepAlivePeriod is how long a peer is silent before it is asked whether it is there, and
// how long between two such questions; as in package net.
const keepAlivePeriod = 15 * time.Second

// deadSilence is how long a peer that owes an answer may be silent. The keeper looks once a
// period, so it finds that out after 135 to 150 s; keep-alive takes 150 s, which is when nine
// questions have had none.
const deadSilence = 9 * keepAlivePeriod

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
// It also finds the peers that are gone while bytes are on their way to them. Keep-alive
// asks nothing then, and the kernel tries for a quarter of an hour. TCP_USER_TIMEOUT is no
// remedy: it also ends connections to peers that are there, but do not read for a while.
//
// Whoever starts a relay holds its lock, so the keeper must not hold its own while it waits
// for that of a relay.
type keeper struct {
	mu    sync.Mutex
	timer *time.Timer // nil while there is nothing to look after
	fresh bool        // a relay has begun since the last look did

	silence time.Duration // in place of deadSilence if not 0; for tests
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
	silence := k.silence
	if silence == 0 {
		silence = deadSilence
	}
	relays := 0
	if e.loops.made.Load() {
		for _, l := range e.loops.all {
			for w := range l.wires.relays {
				w.keepAlive(silence)
				relays++
			}
		}
	}
	e.mu.Lock()
	copiers := slices.Collect(maps.Keys(e.copiers))
	e.mu.Unlock()
	for _, c := range copiers {
		c.findGone(silence)
	}
	relays += len(copiers)
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

// keep has the keeper look after the relays of e.
func (e *Engine) keep() { e.loops.keeper.begin(e) }

// keepAlive does what the keeper does for one relay.
func (w *wire) keepAlive(silence time.Duration) {
	w.mu.Lock()
	if !w.over && w.care&isKept == 0 {
		keepAlive(w.fds[toServer])
		w.care |= isKept
	}
	for d := range w.ways {
		if w.over || w.care&(underWay<<d) == 0 {
			continue
		}
		switch state := stateOf(int(w.fds[d]), silence); state {
		case arrived:
			w.care &^= underWay << d
		case gone:
			w.stop(writeFailure(direction(d), unix.ETIMEDOUT))
		}
	}
	if w.over && !w.released {
		go w.unlock() // a Done function must not end the goroutine of the keeper
		return
	}
	w.unlock()
}

// care is what the keeper has to know of a wire.
type care uint8

const (
	isKept   care = 1 << iota // the server's side has keep-alive
	underWay                  // not all bytes may have arrived; shifted by the direction

	// fresh is what is so when a relay begins: a reply may be under way to the client.
	fresh = underWay<<toServer | underWay<<toClient
)

// findGone does for a copier what keepAlive does for a wire.
func (c *copier) findGone(silence time.Duration) {
	for d := range c.conns {
		tcp, moved := c.tcp[d].Load(), c.moved[d].Load()
		if tcp == nil || moved == c.arrived[d] {
			continue
		}
		state := arrived
		if raw, err := tcp.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { state = stateOf(int(fd), silence) }) // of a closed one there is nothing to know
		}
		switch state {
		case arrived:
			c.arrived[d] = moved
		case gone:
			go c.stop(writeFailure(direction(d), unix.ETIMEDOUT), failed)
		}
	}
}

// state is what is known of the bytes that a socket was given.
type state int

const (
	arrived state = iota // all, as far as the system knows
	onTheWay
	gone // the peer does not answer
)

// stateOf asks the system. It does not know of sockets that are none of TCP, nor need it.
func stateOf(fd int, silence time.Duration) state {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return arrived
	}
	return stateIn(info, silence)
}

// stateIn judges by what was asked and not answered, as well as by the time: the kernel asks a
// peer that does not read ever more seldom, at last once in two minutes, and one answer of these
// may be lost.
func stateIn(info *unix.TCPInfo, silence time.Duration) state {
	heard := time.Duration(info.Last_ack_recv) * time.Millisecond
	switch {
	case info.Unacked == 0 && info.Notsent_bytes == 0:
		return arrived
	case heard >= silence && max(info.Retransmits, info.Probes) >= 2:
		return gone
	}
	return onTheWay
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
