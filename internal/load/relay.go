package load

import (
	"errors"
	"fmt"
	"net/netip"
	"sort"
	"time"
)

// user is whoever has relays made: one of the modes.
type user interface {
	ready(*relay)
	payload(*relay, []byte)
	writable(*relay)
	failed(*relay, error) // once; the relay is closed
}

// relay is a connection to the origin by way of a server, seen from the client.
type relay struct {
	user    user
	talk    talk
	conn    conn
	began   time.Time
	waiting time.Time // since when something is due; zero: nothing is
	asked   bool      // a message was sent, and its echo is not complete
	due     int       // bytes of the echo that are still to come
	is      state
	slot    int // for the user
}

type state int

const (
	connecting state = iota
	shaking
	ready
	finished
)

var errHungUp = errors.New("the server hung up")

func (r *relay) opened(c conn) {
	if r.is == finished { // ended before it was connected
		c.close()
		return
	}
	r.conn, r.is = c, shaking
	isReady, err := r.talk.begin(c)
	switch {
	case err != nil:
		r.fail(err)
	case isReady:
		r.is = ready
		r.user.ready(r)
	}
}

func (r *relay) received(c conn, b []byte) {
	if r.is == shaking {
		rest, isReady, err := r.talk.feed(c, b)
		if err != nil {
			r.fail(err)
			return
		}
		if !isReady {
			return
		}
		r.is = ready
		r.user.ready(r)
		b = rest
	}
	if len(b) > 0 && r.is == ready {
		r.user.payload(r, b)
	}
}

func (r *relay) writable(conn) { r.user.writable(r) }

func (r *relay) closed(_ conn, err error) {
	if err == nil {
		err = errHungUp
	}
	r.fail(err)
}

// fail ends the relay and tells its user where it stood.
func (r *relay) fail(err error) {
	if r.is == finished {
		return
	}
	where := map[state]string{connecting: "", shaking: "handshake: ", ready: "relay: "}[r.is]
	r.end()
	r.user.failed(r, fmt.Errorf("%s%w", where, err))
}

// end closes the relay without a word to its user.
func (r *relay) end() {
	r.is, r.waiting = finished, time.Time{}
	if r.conn != nil {
		r.conn.close()
	}
}

// ask sends a message whose echo is due.
func (r *relay) ask(b []byte, now time.Time) {
	r.waiting, r.asked, r.due = now, true, len(b)
	if err := sendAll(r.conn, b); err != nil {
		r.fail(err)
	}
}

// answered takes a part of the echo and reports whether that was all of it.
func (r *relay) answered(b []byte) bool {
	r.due -= len(b)
	switch {
	case r.due < 0:
		r.fail(errors.New("more came back than was sent"))
	case r.due == 0:
		r.waiting, r.asked = time.Time{}, false
	}
	return r.due == 0
}

// expire fails the relay if it has waited longer than limit.
func (r *relay) expire(now time.Time, limit time.Duration) {
	if r.is != finished && !r.waiting.IsZero() && now.Sub(r.waiting) > limit {
		r.fail(fmt.Errorf("no answer within %v", limit))
	}
}

// way leads relays through one server to the origin.
type way struct {
	addr    netip.AddrPort
	scripts [][]step // by port of the origin
}

func newWay(s *Server, o *origin) (*way, error) {
	w := &way{addr: s.Addr}
	for _, at := range o.addrs {
		steps, err := s.Dialect.script(at)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
		w.scripts = append(w.scripts, steps)
	}
	return w, nil
}

// start begins the relay with this number. Beyond what the ports of one address can
// carry, relays come from the next address of loopback, and go to the next port.
func (w *way) start(r reactor, u user, number int, now time.Time) *relay {
	block := number / perAddress
	rel := &relay{user: u, began: now, waiting: now, talk: talk{steps: w.scripts[block%len(w.scripts)]}}
	from := netip.Addr{}
	if block > 0 && w.addr.Addr().Is4() && w.addr.Addr().IsLoopback() {
		from = netip.AddrFrom4([4]byte{127, 0, 0, byte(1 + block)})
	}
	r.dial(from, w.addr, rel)
	return rel
}

// failures are errors by their text.
type failures map[string]int

func (f failures) add(err error) { f[err.Error()]++ }

func (f failures) total() (n int) {
	for _, k := range f {
		n += k
	}
	return n
}

// list returns the failures, the most frequent first.
func (f failures) list() []Failure {
	var all []Failure
	for text, n := range f {
		all = append(all, Failure{text, n})
	}
	sort.Slice(all, func(i, j int) bool {
		if all[i].Count != all[j].Count {
			return all[i].Count > all[j].Count
		}
		return all[i].Text < all[j].Text
	})
	return all
}
