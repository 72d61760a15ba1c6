package load

import (
	"bytes"
	"time"
)

// inTurn is how many messages go one way before the other has its turn. Both ways have
// then seen the same moods of the machine.
const inTurn = 10

// rtt sends messages to and fro, by way of the server and directly.
type rtt struct {
	group
	message []byte
	sent    time.Time
	count   int // messages of both ways
	times   [2][]time.Duration
	ended   bool
}

func runRTT(t *turn) error {
	m := &rtt{group: group{t: t, ways: []*way{t.way, t.direct}}, message: bytes.Repeat([]byte{wantEcho}, t.o.Message)}
	defer func() { t.drop(m.relays) }()
	if err := t.drive(0, func(now time.Time) { m.begin(m, now) }, m.allReady); err != nil || m.open < 2 {
		return orNothing(err)
	}
	before := t.cpu()
	var began time.Time
	err := t.drive(t.o.Time, func(now time.Time) { began = now; m.next(now) }, func(now time.Time) bool {
		m.allReady(now)
		m.ended = m.ended || now.Sub(began) >= t.o.Time
		// The last message comes back, so that what was charged and what was counted agree.
		return m.ended && !m.relays[0].asked && !m.relays[1].asked || len(m.standing()) < 2
	})
	if err != nil {
		return err
	}
	through := len(m.times[0])
	t.charge("cpu_us_msg", before, through)
	t.made, t.bytes = 1, int64(through*len(m.message))
	if through == 0 || len(m.times[1]) == 0 {
		return errNothing
	}
	t.values.latencies("", m.times[0])
	direct := Values{}
	direct.latencies("", m.times[1])
	t.values["direct_p50_us"] = direct["p50_us"]
	t.values["added_p50_us"] = t.values["p50_us"] - direct["p50_us"]
	return nil
}

func (m *rtt) next(now time.Time) {
	if m.ended {
		return
	}
	m.sent = now
	m.relays[m.count/inTurn%2].ask(m.message, now)
}

func (m *rtt) payload(r *relay, b []byte) {
	if !r.answered(b) {
		return
	}
	now := time.Now()
	m.times[r.slot] = append(m.times[r.slot], now.Sub(m.sent))
	m.count++
	m.next(now)
}

func (m *rtt) writable(*relay) {}
