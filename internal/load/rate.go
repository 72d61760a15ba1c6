package load

import "time"

// giveUp is how many failures in a row end a turn.
const giveUp = 100

// rate makes one relay after the other in each of its slots.
type rate struct {
	t            *turn
	slots        []*relay
	began, ended time.Time
	times        []time.Duration
	started      int
	done         int
	inARow       int // failures
}

func runRate(t *turn) error {
	m := &rate{t: t, slots: make([]*relay, t.o.Conns)}
	before := t.cpu()
	err := t.drive(t.o.Time, m.begin, m.tick)
	t.clients.do(func() { m.stopAt(time.Now()) })
	t.charge("cpu_us_conn", before, m.done)
	t.drop(m.slots)
	t.made, t.bytes = m.done, int64(m.done)
	if err != nil {
		return err
	}
	if m.done == 0 {
		return errNothing
	}
	t.values.per("conn_s", float64(m.done), m.ended.Sub(m.began).Seconds())
	t.values.latencies("", m.times)
	return nil
}

func (m *rate) begin(now time.Time) {
	m.began = now
	for i := range m.slots {
		m.next(i, now)
	}
}

func (m *rate) next(slot int, now time.Time) {
	m.slots[slot] = nil
	if !m.ended.IsZero() {
		return
	}
	if m.started == m.t.o.Count || m.inARow >= giveUp {
		return
	}
	m.started++
	r := m.t.way.start(m.t.clients, m, 0, now)
	r.slot = slot
	m.slots[slot] = r
}

func (m *rate) tick(now time.Time) bool {
	running := 0
	for _, r := range m.slots {
		if r != nil {
			r.expire(now, m.t.o.Timeout)
		}
	}
	for _, r := range m.slots {
		if r != nil {
			running++
		}
	}
	if running == 0 || now.Sub(m.began) >= m.t.o.Time {
		m.stopAt(now)
	}
	// Who never got an answer waits for one, or for the failure that says why.
	return !m.ended.IsZero() && (running == 0 || m.done > 0)
}

// stopAt ends the counting, once.
func (m *rate) stopAt(now time.Time) {
	if m.ended.IsZero() {
		m.ended = now
	}
}

func (m *rate) ready(r *relay) { r.ask([]byte{wantEcho}, r.began) }

func (m *rate) payload(r *relay, b []byte) {
	if !r.answered(b) {
		return
	}
	r.end()
	now := time.Now()
	if m.ended.IsZero() {
		m.done++
		m.times = append(m.times, now.Sub(r.began))
	}
	m.inARow = 0
	m.next(r.slot, now)
}

func (m *rate) writable(*relay) {}

func (m *rate) failed(r *relay, err error) {
	m.t.fails.add(err)
	m.inARow++
	m.next(r.slot, time.Now())
}
