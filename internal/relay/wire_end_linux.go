package relay

import "net"

// end ends the direction d because its source ended, or with a failure to write. As
// in the portable engine the way back goes on then, for an answer sent before.
func (w *wire) end(d direction, fail *failure) {
	way := &w.ways[d]
	way.ended, way.readable = true, false
	w.over = w.ways[d.back()].ended
	if fail != nil {
		w.drop(d)
	} else if !w.over { // otherwise closing tells it
		if err := shutdown(w.fds[d]); err != nil {
			fail = writeFailure(d, err)
		}
	}
	if fail != nil && w.err == nil {
		w.err = fail
	}
	if !w.over {
		w.loop.engine.limits.watch(&w.timer, idleAfter(fail, w.halfIdle))
	}
}

// stop ends the relay at once, for both sides.
func (w *wire) stop(err error) {
	if w.over {
		return
	}
	w.over = true
	if w.err == nil {
		w.err = err
	}
}

// cut ends the relay with err if it has not ended.
func (w *wire) cut(err error) {
	w.mu.Lock()
	defer w.unlock()
	w.stop(err)
}

// release closes the sockets of a relay that is over. A peer must not take what it
// got for all there was to get: it is reset if bytes for it are left here, if the other
// side failed, and if the relay was ended from here before both directions had ended.
func (w *wire) release() {
	w.released = true
	if w.stays == 0 {
		w.loop.turns.standing.Add(-1)
	}
	w.loop.wires.remove(w.slot)
	w.loop.engine.limits.forget(&w.timer)
	_, failed := w.err.(*failure)
	inOrder := w.ways[toServer].ended && w.ways[toClient].ended
	for d, fd := range w.fds {
		if failed || w.ways[d].cargo != nil || !inOrder && !(w.ways[d].ended && hasUnsent(int(fd))) {
			// If it fails the peer sees an end without a reset.
			_ = setLinger(fd, 0)
		}
		closeFD(fd)
		w.drop(direction(d))
	}
}

// drop gives back what the cargo of d was in.
func (w *wire) drop(d direction) {
	c := w.ways[d].cargo
	w.ways[d].cargo = nil
	switch {
	case c == nil:
	case c.pipe != nil:
		w.loop.engine.loops.pipes.giveBack(c.pipe)
	case c.buffer != nil:
		w.loop.engine.giveBack(c.buffer)
	}
}

// streamSocket returns c if it is a stream socket and nothing else, otherwise nil.
func streamSocket(c net.Conn) socket {
	switch c := c.(type) {
	case *net.TCPConn:
		return c
	case *fileConn:
		return c
	case *net.UnixConn:
		if addr, ok := c.LocalAddr().(*net.UnixAddr); ok && addr.Net == "unix" {
			return c
		}
	}
	return nil
}
