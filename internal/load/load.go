// Package load puts a load on SOCKS servers and measures what they and the relays through
// them cost. [Run] has several servers do the same work in turns, A B A B, beside a raw
// forwarder without any SOCKS as the yardstick, and gives medians, and ratios taken within
// a round: on a machine that others use too, only those can be compared.
//
//	client ──▶ server under test ──▶ origin
//	└────────── this process ───────────┘
//
// Clients and origin are handlers on a reactor, an event loop: one thread carries what
// makes 64 connections at a time and answers them. Bulk and round trips have a second
// one, so that both ends do not share a thread. A reactor of goroutines does the same
// where there is no epoll, at a higher price.
//
// Everything that moves is bounded, in number and in time.
package load

import (
	"fmt"
	"net/netip"
	"time"

	"hosier/socks"
)

// Mode is a kind of load.
type Mode string

// The kinds of load.
const (
	Rate Mode = "rate" // connect, handshake, one byte there and back, close; again and again
	Down Mode = "down" // a few streams from the origin to the client
	Up   Mode = "up"   // a few streams from the client to the origin
	RTT  Mode = "rtt"  // small messages to and fro on one relay
	Idle Mode = "idle" // many relays that are open and silent, then messages across all of them
)

// Modes returns every mode, in the order in which they are best run: idle comes first,
// since memory that a server has used once stays with it.
func Modes() []Mode { return []Mode{Idle, Rate, Down, Up, RTT} }

// Dialect is how a server is asked for the origin.
type Dialect struct {
	Version socks.Version // 0: not at all; the server forwards to the origin by itself
	Name    string        // ask by this name, which must lead to the origin, not by address
	Auth    socks.Auth    // SOCKS5: sent if the Method is UserPass; SOCKS4: the user id
}

// Server is one of those that take turns.
type Server struct {
	Name    string         // as the report calls it
	Addr    netip.AddrPort // where it listens
	Dialect Dialect
	PIDs    []int // its processes; theirs and their descendants' costs are counted. None: no costs

	// Restart starts the server anew, before a mode that wants it fresh, and gives its new
	// processes. Nil: it is used as it is.
	Restart func() ([]int, error)
}

// Options say what Run does. Use [Defaults] and change what must be different.
type Options struct {
	Modes   []Mode
	Rounds  int           // turns of each server
	Time    time.Duration // of a turn
	Timeout time.Duration // for a server to answer; a relay that waits longer has failed
	Conns   int           // rate: relays in flight
	Count   int           // rate: at most so many relays a turn
	Streams int           // down, up
	Relays  int           // idle: relays to hold
	Message int           // rtt, idle: bytes of a message
	Hold    int           // rate, down, up, rtt: silent relays to hold open meanwhile
	CPU     int           // rtt: pin everything to this processor; negative: do not
	Origin  netip.Addr    // where the origin listens, as the servers see it

	// Yardstick is the raw forwarder: told where the origin is, it starts one and returns
	// where that listens, its process, and how to end it. Nil: there is none.
	Yardstick func(origins []netip.AddrPort) (at netip.AddrPort, pid int, stop func(), err error)

	// Progress is told what begins. Nil is not told.
	Progress func(string)

	portable bool // the reactor of goroutines, for tests
}

// Defaults returns options for a minute or two of load.
func Defaults() Options {
	return Options{
		Modes:   Modes(),
		Rounds:  5,
		Time:    time.Second,
		Timeout: 5 * time.Second,
		Conns:   64,
		Count:   100_000,
		Streams: 4,
		Relays:  1000,
		Message: 64,
		CPU:     -1,
		Origin:  netip.AddrFrom4([4]byte{127, 0, 0, 1}),
	}
}

// Limits of what may be asked for.
const (
	maxRounds  = 100
	maxTime    = time.Minute
	maxConns   = 4096
	maxCount   = 10_000_000
	maxStreams = 256
	maxMessage = 16 << 10
	perAddress = 20_000 // relays that one source address and one origin port carry: the ports of a host are about 28,000
)

// Check tells the first option that is out of bounds, by the name of the flag that sets it.
func (o *Options) Check() error {
	for _, m := range o.Modes {
		if _, known := modes()[m]; !known {
			return fmt.Errorf("--mode %s: there is no such mode; write some of %v", m, Modes())
		}
	}
	for _, b := range []struct {
		flag      string
		n, lo, hi int
	}{
		{"rounds", o.Rounds, 1, maxRounds},
		{"conns", o.Conns, 1, maxConns},
		{"count", o.Count, 1, maxCount},
		{"streams", o.Streams, 1, maxStreams},
		{"message", o.Message, 1, maxMessage},
		{"relays", o.Relays, 1, maxRelays()},
		{"hold", o.Hold, 0, maxRelays()},
	} {
		if b.n < b.lo || b.n > b.hi {
			return fmt.Errorf("--%s %d: write a number from %d to %d", b.flag, b.n, b.lo, b.hi)
		}
	}
	if o.Time <= 0 || o.Time > maxTime {
		return fmt.Errorf("--time %v: write a time up to %v", o.Time, maxTime)
	}
	if o.Timeout <= 0 || o.Timeout > maxTime {
		return fmt.Errorf("--timeout %v: write a time up to %v", o.Timeout, maxTime)
	}
	return nil
}

// maxRelays is how many relays this process can hold the two ends of.
func maxRelays() int {
	const rest = 200
	files := fileLimit()
	if files == 0 {
		return 10_000
	}
	return min(max((files-rest)/2, 1), 250*perAddress)
}
