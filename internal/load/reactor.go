package load

import (
	"net/netip"
	"time"
)

// tickEvery is how often a reactor calls what it was given by onTick.
const tickEvery = 10 * time.Millisecond

// chunk is what is written and read at once, in bytes.
const chunk = 256 << 10

// reactor runs connections on one goroutine, which alone calls their handlers, the
// functions given to do and the tick. dial and onTick must be called from it, too.
type reactor interface {
	// listen accepts connections until the reactor is closed; accept makes the handler
	// of each. It may be called from anywhere.
	listen(at netip.AddrPort, accept func() handler) (netip.AddrPort, error)

	// dial connects. An invalid from leaves the choice to the system.
	dial(from netip.Addr, to netip.AddrPort, h handler)

	// onTick has tick called every now and then, in place of what was called before;
	// nil: nothing.
	onTick(tick func(time.Time))

	// do has f called, and returns when it was. It may be called from anywhere but the
	// reactor's own goroutine.
	do(f func())

	// err is what broke the reactor; its handlers hear no more. To be called within do.
	err() error

	// close ends all connections and listeners, without a word to their handlers.
	close()
}

// conn is a connection on a reactor.
type conn interface {
	// write takes as much of b as there is room for. If that is not all of it, the
	// handler's writable is called when there is room again.
	write(b []byte) (int, error)

	// soon has the handler's writable called again after the others had their turn.
	soon()

	// close ends the connection. Its handler hears no more of it. Closing it again
	// does nothing.
	close()
}

// handler is told what happens to a connection.
type handler interface {
	opened(c conn)
	received(c conn, b []byte) // b is the reactor's again after the call
	writable(c conn)           // after a short write, or soon
	closed(c conn, err error)  // by the other side; nil: as it should be
}

// newReactor returns a running reactor.
func newReactor(portable bool) (reactor, error) {
	if portable {
		return newGoroutines(), nil
	}
	return newSystemReactor()
}
