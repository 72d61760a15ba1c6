package load

import (
	"bytes"
	"time"
)

// pool is many relays that are made, echo a few bytes, and are then silent.
type pool struct {
	t      *turn
	want   int
	all    []*relay
	idle   []*relay
	ended  int // echoed or failed
	inARow int // failures
}

// silent marks a relay of a pool that has echoed.
const silent = 1

// fill makes the relays, a few at a time.
func (t *turn) fill(want int) (*pool, error) {
	p := &pool{t: t, want: want}
	err := t.drive(time.Minute, func(now time.Time) {
		for range min(t.o.Conns, want) {
			p.next(now)
		}
	}, func(now time.Time) bool {
		for _, r := range p.all {
			r.expire(now, t.o.Timeout)
		}
		return p.ended == len(p.all)
	})
	if err != nil {
		t.clients.do(p.end)
		return p, err
	}
	if len(p.idle) == 0 {
		err = errNothing
	}
	return p, err
}

// end drops the relays there are, and makes no more.
func (p *pool) end() {
	p.want = 0
	for _, r := range p.all {
		r.end()
	}
}

func (p *pool) next(now time.Time) {
	if len(p.all) < p.want && p.inARow < giveUp {
		p.all = append(p.all, p.t.way.start(p.t.clients, p, len(p.all), now))
	}
}

func (p *pool) ready(r *relay) { r.ask(bytes.Repeat([]byte{wantEcho}, 8), r.began) }

func (p *pool) payload(r *relay, b []byte) {
	if !r.answered(b) {
		return
	}
	p.idle = append(p.idle, r)
	r.slot = silent
	p.ended++
	p.inARow = 0
	p.next(time.Now())
}

func (p *pool) writable(*relay) {}

func (p *pool) failed(r *relay, err error) {
	p.t.fails.add(err)
	if r.slot == silent {
		return // it has been counted
	}
	p.ended++
	p.inARow++
	p.next(time.Now())
}

func runIdle(t *turn) error {
	before := t.cpu()
	base, _ := measure(t.server.PIDs, true)
	began := time.Now()
	p, err := t.fill(t.o.Relays)
	defer func() { t.drop(p.all) }()
	t.made = len(p.idle)
	if err != nil {
		return err
	}
	n := float64(len(p.idle))
	t.values["relays"] = n
	t.values.per("setup_us", micros(time.Since(began)), n)
	t.charge("cpu_us_setup", before, len(p.idle))
	if held, err := measure(t.server.PIDs, true); err == nil && before.ok {
		if held.memory > 0 && base.memory > 0 {
			t.values["mem_b_relay"] = float64(held.memory-base.memory) / n
		}
		if held.files > 0 {
			t.values["fd_relay"] = float64(held.files-base.files) / n
		}
		t.values["threads"] = float64(held.threads)
		t.values["procs"] = float64(held.processes)
	}
	return t.messagesAcross(p)
}

// messagesAcross sends messages over all relays in turn, for the time of a turn, and then
// one over each to see that it still stands.
func (t *turn) messagesAcross(p *pool) error {
	s := &sweep{t: t, relays: p.idle, message: bytes.Repeat([]byte{wantEcho}, t.o.Message)}
	before := t.cpu()
	if err := s.run(t.o.Time, 0); err != nil {
		return err
	}
	t.charge("cpu_us_msg", before, len(s.times))
	t.values.latencies("", s.times)
	t.bytes = int64(len(s.times) * len(s.message))
	last := &sweep{t: t, relays: p.idle, message: s.message}
	if err := last.run(0, len(p.idle)); err != nil {
		return err
	}
	t.values["alive"] = float64(len(last.times)) / float64(len(p.idle))
	return nil
}

// sweep goes over relays with one message each, again and again, some in flight at a time.
type sweep struct {
	t       *turn
	relays  []*relay
	message []byte
	most    int // messages; 0: as the time allows
	at      int // messages sent or passed over
	flying  int
	times   []time.Duration
	ended   bool
}

func (s *sweep) run(limit time.Duration, most int) error {
	s.most = most
	var began time.Time
	return s.t.drive(limit, func(now time.Time) {
		began = now
		for _, r := range s.relays {
			r.user = s
		}
		for range min(s.t.o.Conns, len(s.relays)) {
			s.next(now)
		}
	}, func(now time.Time) bool {
		for _, r := range s.relays {
			r.expire(now, s.t.o.Timeout)
		}
		s.ended = s.ended || limit > 0 && now.Sub(began) >= limit
		return s.flying == 0
	})
}

// next sends over the next relay that stands, if there is one.
func (s *sweep) next(now time.Time) {
	for range s.relays {
		if s.ended || s.most > 0 && s.at >= s.most {
			return
		}
		r := s.relays[s.at%len(s.relays)]
		s.at++
		if r.is == ready && !r.asked {
			s.flying++
			r.ask(s.message, now)
			return
		}
	}
}

func (s *sweep) ready(*relay)    {}
func (s *sweep) writable(*relay) {}

func (s *sweep) payload(r *relay, b []byte) {
	sent := r.waiting
	if !r.answered(b) {
		return
	}
	now := time.Now()
	s.flying--
	s.times = append(s.times, now.Sub(sent))
	s.next(now)
}

func (s *sweep) failed(r *relay, err error) {
	s.t.fails.add(err)
	if r.asked {
		s.flying--
	}
	s.next(time.Now())
}
