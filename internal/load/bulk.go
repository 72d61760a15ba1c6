package load

import "time"

// bulk moves bytes one way through a few relays.
type bulk struct {
	group
	up       bool
	counting bool
	got      int64
}

func runBulk(t *turn, up bool) error {
	m := &bulk{group: group{t: t}, up: up}
	defer func() { t.drop(m.relays) }()
	for range t.o.Streams {
		m.ways = append(m.ways, t.way)
	}
	if err := t.drive(0, func(now time.Time) { m.begin(m, now) }, m.allReady); err != nil || m.open == 0 {
		return orNothing(err)
	}
	var began, ended time.Time
	sunk := t.origin.sunk.Load()
	before := t.cpu()
	err := t.drive(t.o.Time, func(now time.Time) { began = now; m.pour() }, func(now time.Time) bool {
		ended = now
		if t.bytes = m.got; up {
			t.bytes = t.origin.sunk.Load() - sunk
		}
		return now.Sub(began) >= t.o.Time || len(m.standing()) == 0
	})
	gib := float64(t.bytes) / (1 << 30)
	t.made = m.open
	if err != nil || t.bytes == 0 {
		return orNothing(err)
	}
	way := map[bool]string{false: "down", true: "up"}[up]
	t.values.per(way+"_gib_s", gib, ended.Sub(began).Seconds())
	if now, err := measure(t.server.PIDs, false); err == nil && before.ok {
		t.values.per(way+"_cpu_s_gib", now.cpuSince(before).Seconds(), gib)
	}
	return nil
}

func orNothing(err error) error {
	if err == nil {
		err = errNothing
	}
	return err
}

// pour starts all streams at once.
func (m *bulk) pour() {
	m.counting = true
	for _, r := range m.standing() {
		want := byte(wantSource)
		if m.up {
			want = wantSink
		}
		if err := sendAll(r.conn, []byte{want}); err != nil {
			r.fail(err)
		} else if m.up {
			r.conn.soon()
		}
	}
}

func (m *bulk) payload(_ *relay, b []byte) { m.got += int64(len(b)) }

func (m *bulk) writable(r *relay) {
	if !m.up || !m.counting {
		return
	}
	n, err := r.conn.write(m.t.origin.source)
	switch {
	case err != nil:
		r.fail(err)
	case n == len(m.t.origin.source):
		r.conn.soon()
	}
}

// group is a few relays that are made before anything is measured.
type group struct {
	t      *turn
	ways   []*way // of each relay
	relays []*relay
	heard  int // ready or failed
	open   int // when all had been heard of
}

func (g *group) begin(u user, now time.Time) {
	for i, w := range g.ways {
		r := w.start(g.t.clients, u, 0, now)
		r.slot = i
		g.relays = append(g.relays, r)
	}
}

func (g *group) allReady(now time.Time) bool {
	for _, r := range g.relays {
		r.expire(now, g.t.o.Timeout)
	}
	g.open = len(g.standing())
	return g.heard >= len(g.ways)
}

func (g *group) ready(r *relay) {
	g.heard++
	r.waiting = time.Time{}
}

func (g *group) failed(r *relay, err error) {
	g.heard++
	g.t.fails.add(err)
}

// standing returns the relays that are open.
func (g *group) standing() (open []*relay) {
	for _, r := range g.relays {
		if r.is == ready {
			open = append(open, r)
		}
	}
	return open
}
