package relay

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// bulk is how many KiB must come through without a pause before bytes are spliced.
	bulk = 255

	// trickle is how little there is at a wake-up for it to count as a pause.
	trickle = 16 << 10

	// share is after how much a direction lets others have their turn. The read that reaches
	// it may take a whole pipe, and another pipe may have waited from before. With reads of
	// a share at most, bulk beside many small messages was slower, and those no faster.
	share = 256 << 10

	// smallCargo is how much is copied to a buffer of its own size to wait for its
	// destination. More keeps the buffer it was read into.
	smallCargo = 8 << 10
)

// migrateAfter is how many events a relay has in the loop that accepted its client. One
// that lasts longer is given a loop in turn: the loops accept unequally, and most relays
// that are short do not come to that.
const migrateAfter = 64

// wire is a relay run by an event loop. There may be a million, so each of its bytes counts:
// 8 more than the 176 would cost 16. What an event says is only a hint, see
// table; whoever holds mu may do anything with a wire, from any goroutine.
type wire struct {
	Relay
	mu       sync.Mutex
	loop     *eventLoop
	halfIdle time.Duration
	err      error    // the first cause
	fds      [2]int32 // the destination of each direction
	slot     int32
	care     care
	stays    uint8 // how many events it stays with the loop that accepted the client
	over     bool  // nothing moves any more
	released bool  // the descriptors are closed
	ways     [2]way
}

// way is the state of one direction.
type way struct {
	cargo    *cargo // read, and not yet taken by the destination; mostly nil
	run      uint8  // KiB since the last pause, at most bulk
	readable bool   // the source may have more
	eager    bool   // the source's end or urgent data may follow what a short read gives
	full     bool   // the destination takes nothing
	armed    bool   // events tell when the destination takes something
	copies   bool   // splicing does not work here
	queued   bool   // it has a turn to come
	ended    bool
}

// cargo is what waits for a destination, in a pipe or in memory.
type cargo struct {
	bytes  []byte
	buffer *[largeBuffer]byte // to be given back, if bytes are part of it
	pipe   *pipe
}

// startInLoop hands p to an event loop, or returns nil if p is not for one.
func (e *Engine) startInLoop(p *Pair) *Relay {
	client, server := streamSocket(p.Client), streamSocket(p.Server)
	if e.portable || client == nil || server == nil || e.isClosed() {
		return nil
	}
	l := e.pick()
	if l == nil {
		return nil
	}
	toClientFD, err := duplicate(client)
	if err != nil {
		return nil
	}
	toServerFD, err := duplicate(server)
	if err != nil {
		unix.Close(toClientFD)
		return nil
	}
	w := &wire{
		Relay:    Relay{done: p.Done},
		loop:     l,
		halfIdle: p.halfIdle(),
		fds:      [2]int32{toServer: int32(toServerFD), toClient: int32(toClientFD)},
		care:     fresh | isKept, // or not, as package net was asked
	}
	w.runner = w
	w.start(p)
	return &w.Relay
}

// start takes the place of the connections of p, whose sockets w has.
func (w *wire) start(p *Pair) {
	w.mu.Lock()
	// This ends their registration with Go's own poller. The sockets stay open.
	p.Client.Close()
	p.Server.Close()
	w.loop.wires.add(w)
	w.loop.turns.standing.Add(1)
	w.loop.engine.limits.watch(&w.timer, p.Idle)
	if err := w.watchBoth(); err != nil {
		w.stop(err)
	}
	w.sendFirst(p)
	w.loop.engine.keep()
	if w.loop.engine.isClosed() {
		w.stop(ErrClosed)
	}
	if w.over {
		go w.unlock() // Start's caller may hold what Done needs
		return
	}
	w.unlock()
}

// sendFirst sends what p says comes first.
func (w *wire) sendFirst(p *Pair) {
	for d, early := range [][]byte{toServer: p.ToServer, toClient: p.ToClient} {
		if len(early) > 0 && !w.over {
			w.ways[d].cargo = &cargo{bytes: early}
			w.unload(direction(d))
		}
	}
}

// watch asks the loop for events of the destination of d.
func (w *wire) watch(op int, d direction) error {
	return w.loop.watch(op, w.fds[d], w.slot, d, w.ways[d].armed)
}

// unlock ends whatever was done to w. If that was the end of w, it reports so.
func (w *wire) unlock() {
	last := w.over && !w.released
	if last {
		w.release()
	}
	e, err := w.loop.engine, w.err
	w.mu.Unlock()
	if last {
		w.report(e, err)
	}
}

// serve does what an event asks for. It concerns the socket that is the destination
// of out and the source of the other way.
func (w *wire) serve(l *eventLoop, out direction, events uint32) {
	const end = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
	w.mu.Lock()
	defer w.unlock()
	if w.over || w.migrate(l) {
		return
	}
	in := out.back()
	if events&(unix.EPOLLPRI|end) != 0 {
		w.ways[in].eager = true
	}
	if events&(unix.EPOLLIN|unix.EPOLLPRI|end) != 0 {
		w.ways[in].readable = true
		w.ready(l, in)
	}
	if w.ways[out].cargo != nil && events&(unix.EPOLLOUT|end) != 0 {
		w.ways[out].full = false
		w.ready(l, out)
	}
	if events&unix.EPOLLERR != 0 {
		w.checkError(out)
	}
}

// ready has the direction d, for which there is something to do, do it: at once, but a
// relay that is new, and one that moves bulk, when its turn comes.
func (w *wire) ready(l *eventLoop, d direction) {
	switch way := &w.ways[d]; {
	case way.queued:
	case w.stays > 0:
		way.queued = true
		l.turns.late.push(newcomer{turn: turn{wire: w, way: d}})
	case way.run >= bulk:
		way.queued = true
		l.turns.again.push(turn{wire: w, way: d})
	default:
		w.pump(l, d, 0)
	}
}

// goOn has a direction whose turn it is do what there is to do.
func (w *wire) goOn(l *eventLoop, t turn) {
	w.mu.Lock()
	defer w.unlock()
	w.ways[t.way].queued = false
	if !w.over && (t.before == 0 || !w.migrate(l)) { // its event was counted, its turns are not yet
		w.pump(l, t.way, t.before)
	}
}

// migrate gives w to another loop if it has lasted, and reports whether it did. That loop
// is told of all there is to do.
func (w *wire) migrate(l *eventLoop) bool {
	if w.stays == 0 || w.ways[toServer].queued || w.ways[toClient].queued {
		return false
	}
	if w.stays--; w.stays > 0 {
		return false
	}
	to := l.engine.pick()
	to.turns.standing.Add(1)
	if to == l {
		return false
	}
	before := w.slot
	w.loop = to
	to.wires.add(w)
	if w.watchBoth() != nil { // for want of room in an epoll: it stays, and may try no more
		w.unwatchBoth(to)
		to.wires.remove(w.slot)
		w.loop, w.slot = l, before
		to.turns.standing.Add(-1)
		l.turns.standing.Add(1)
		return false
	}
	w.unwatchBoth(l)
	l.wires.remove(before)
	return true
}

// watchBoth has the loop of w watch both sockets.
func (w *wire) watchBoth() error {
	for d := range w.ways {
		if err := w.watch(unix.EPOLL_CTL_ADD, direction(d)); err != nil {
			return &failure{what: "watch for events", cause: err}
		}
	}
	return nil
}

// unwatchBoth undoes watchBoth.
func (w *wire) unwatchBoth(l *eventLoop) {
	for _, fd := range w.fds {
		// If it fails the loop has events of nothing, which it bears.
		_ = epollCtl(l.waiter.epoll, unix.EPOLL_CTL_DEL, fd, nil)
	}
}

// checkError ends the relay if the destination of out was reset and reading will not
// come upon that: what it sent before is stuck, or had an end.
func (w *wire) checkError(out direction) {
	in := &w.ways[out.back()]
	if w.over || in.cargo == nil && !in.ended {
		return
	}
	errno, err := unix.GetsockoptInt(int(w.fds[out]), unix.SOL_SOCKET, unix.SO_ERROR)
	switch {
	case err != nil || errno == 0:
	case in.ended:
		w.stop(writeFailure(out, unix.Errno(errno)))
	default:
		w.stop(readFailure(out.back(), unix.Errno(errno)))
	}
}

// pump moves bytes until the source is dry, the destination full, or others have
// waited long enough. It goes on after so many bytes were moved without a pause.
func (w *wire) pump(l *eventLoop, d direction, before int) {
	way := &w.ways[d]
	moved := 0
	for !w.over && !way.ended {
		if way.cargo != nil && !w.unload(d) {
			return
		}
		if !way.readable {
			break
		}
		if moved >= share {
			way.queued = true
			l.turns.again.push(turn{w, d, moved})
			return
		}
		moved += w.load(l, d)
	}
	if before+moved < trickle {
		way.run = 0
	}
}

// load reads once from the source of d and passes on what it read. It returns how
// much that was.
func (w *wire) load(l *eventLoop, d direction) int {
	way := &w.ways[d]
	var n int
	if way.run >= bulk && !way.copies {
		n = w.splice(d)
	}
	if n == 0 && way.readable && !w.over {
		n = w.copy(l, d)
	}
	way.run = uint8(min(int(way.run)+n>>10, bulk))
	return n
}

// copy is load by way of the loop's buffer.
func (w *wire) copy(l *eventLoop, d direction) int {
	way := &w.ways[d]
	n, err := read(w.fds[d.back()], l.buffer[:])
	switch {
	case err == unix.EAGAIN:
		way.readable = false
		return 0
	case err != nil:
		w.stop(readFailure(d, err))
		return 0
	case n == 0:
		w.end(d, nil)
		return 0
	}
	way.readable = n == len(l.buffer) || way.eager
	rest := w.put(d, l.buffer[:n])
	switch {
	case len(rest) == 0 || way.ended:
	case len(rest) <= smallCargo:
		way.cargo = &cargo{bytes: append([]byte(nil), rest...)}
	default:
		way.cargo = &cargo{bytes: rest, buffer: l.buffer}
		l.buffer = w.loop.engine.borrow()
	}
	return n
}

// splice is load by way of a pipe. It returns 0 also where reading must tell what is
// the matter: at the end, before urgent data, and where there is no pipe.
func (w *wire) splice(d direction) int {
	way := &w.ways[d]
	pipes := &w.loop.engine.loops.pipes
	p := pipes.borrow()
	if p == nil {
		return 0
	}
	n, err := p.fill(int(w.fds[d.back()]))
	switch {
	case n > 0:
		if err := w.drain(d, p); err != nil {
			way.cargo = &cargo{pipe: p}
			w.refused(d, err)
			return n
		}
	case err == unix.EAGAIN:
		way.readable = way.eager // at urgent data it is the same, whatever follows
	case err == unix.EINVAL || err == unix.ENOSYS:
		way.copies = true
	case err != nil:
		w.stop(readFailure(d, err)) // the socket tells it only once
	}
	pipes.giveBack(p)
	return n
}

// drain gives the contents of p to the destination of d.
func (w *wire) drain(d direction, p *pipe) error {
	n, err := p.drain(int(w.fds[d]))
	w.took(d, n)
	return err
}

// unload gives the cargo of d to its destination, and says whether it took all.
func (w *wire) unload(d direction) bool {
	way := &w.ways[d]
	c := way.cargo
	if way.full {
		return false
	}
	if c.pipe == nil {
		if c.bytes = w.put(d, c.bytes); len(c.bytes) > 0 {
			return false
		}
	} else if err := w.drain(d, c.pipe); err != nil {
		w.refused(d, err)
		return false
	}
	w.drop(d)
	return true
}

// put gives b to the destination of d and returns what it did not take.
func (w *wire) put(d direction, b []byte) (rest []byte) {
	n, err := write(w.fds[d], b)
	w.took(d, n)
	if n < len(b) {
		w.refused(d, err)
	}
	return b[n:]
}

// took notes that the destination of d took n bytes, which may be none.
func (w *wire) took(d direction, n int) {
	if n > 0 {
		w.count(w.loop.engine, d, n)
		w.care |= underWay << d
		if w.limit > 0 {
			w.loop.engine.limits.touch(&w.timer)
		}
	}
}

// refused notes that the destination of d did not take all it was given. Without an
// error it took a part, which means that it is full now.
func (w *wire) refused(d direction, err error) {
	if err != nil && err != unix.EAGAIN {
		w.end(d, writeFailure(d, err))
		return
	}
	way := &w.ways[d]
	way.full = true
	if way.armed {
		return
	}
	way.armed = true
	if err := w.watch(unix.EPOLL_CTL_MOD, d); err != nil {
		w.stop(&failure{what: "watch for events", cause: err})
	}
}
