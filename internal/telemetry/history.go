package telemetry

import (
	"math"
	"math/bits"
	"sync"
	"time"

	"hosier/proxy"
)

// hour is the number of minutes in a history, including the current one.
const hour = 60

// Minute is what happened in one minute of the clock.
type Minute struct {
	At          time.Time `json:"at"`          // its start
	Connections int       `json:"connections"` // that ended in it
	Failed      int       `json:"failed"`      // of these, those that were refused, or failed before they could carry anything
	Up          int64     `json:"up"`          // payload bytes that moved, of connections that go on, too
	Down        int64     `json:"down"`

	// How long the steps of the connections that ended took; 0 if none came so far.
	Handshake Quantiles `json:"handshake"`
	Connect   Quantiles `json:"connect"`
	FirstByte Quantiles `json:"first_byte"`
}

// Quantiles are durations in milliseconds. They are off by at most an eighth, or a microsecond
// if that is more; what is longer than 268 s counts as 268 s.
type Quantiles struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
}

// history counts what happened, by minute, in a fixed amount of memory.
type history struct {
	mu       sync.Mutex
	begun    time.Time    // when it was used first
	minutes  [hour]minute // each at its number modulo their number
	up, down int64        // as far as they are in minutes
}

// minute counts for a Minute. It has its number, so nobody needs to clear the minutes in
// which nothing happens.
type minute struct {
	number      int64 // since 1970, by a clock that is never set
	connections int
	failed      int
	up, down    int64

	handshake, connect, firstByte spread
}

// minuteOf returns the number of the minute of t by a clock that was right when h was used
// first and is never set, so that no minute comes twice and none is left out. h.mu is held.
func (h *history) minuteOf(t time.Time) int64 {
	if h.begun.IsZero() {
		h.begun = t
	}
	return h.begun.Add(t.Sub(h.begun)).Unix() / 60
}

// at returns the minute to count in. h.mu is held.
func (h *history) at(number int64) *minute {
	m := &h.minutes[uint64(number)%hour]
	if m.number != number {
		*m = minute{number: number}
	}
	return m
}

// ended counts a session in the minute in which it ended.
func (h *history) ended(ses *proxy.Session, failed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.at(h.minuteOf(ses.End))
	m.connections++
	if failed {
		m.failed++
	}
	m.handshake.add(ses.Handshake)
	m.connect.add(ses.Connect)
	m.firstByte.add(ses.FirstByte)
}

// moved takes the bytes moved since the start, and counts those that are new.
func (h *history) moved(now time.Time, up, down int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.at(h.minuteOf(now))
	if up > h.up { // another call may have overtaken this one
		m.up, h.up = m.up+up-h.up, up
	}
	if down > h.down {
		m.down, h.down = m.down+down-h.down, down
	}
}

// last returns the last hour, the minute of now at the end, by the clock as it is set now.
func (h *history) last(now time.Time) []Minute {
	all := make([]Minute, hour)
	h.mu.Lock()
	defer h.mu.Unlock()
	first := h.minuteOf(now) - hour + 1
	for i := range all {
		number := first + int64(i)
		if m := &h.minutes[uint64(number)%hour]; m.number == number {
			all[i] = m.snapshot()
		}
		all[i].At = time.Unix((now.Unix()/60-hour+1+int64(i))*60, 0)
	}
	return all
}

func (m *minute) snapshot() Minute {
	return Minute{
		Connections: m.connections, Failed: m.failed, Up: m.up, Down: m.down,
		Handshake: m.handshake.quantiles(), Connect: m.connect.quantiles(), FirstByte: m.firstByte.quantiles(),
	}
}

// spread counts durations by their microseconds: exactly below 16, and above in eight
// steps for each power of two.
type spread [spreadLen]uint32

const (
	stepBits  = 3
	steps     = 1 << stepBits
	maxMicros = 1<<28 - 1 // 268 s
	spreadLen = (28-stepBits)*steps + steps
)

// add counts d unless it is 0, which is none.
func (s *spread) add(d time.Duration) {
	if d > 0 {
		s[stepOf(uint64(d/time.Microsecond))]++
	}
}

func stepOf(micros uint64) int {
	micros = min(micros, maxMicros)
	if micros < steps {
		return int(micros)
	}
	shift := bits.Len64(micros) - stepBits - 1
	return shift*steps + int(micros>>shift)
}

// bounds of what stepOf takes for i: from low to below high, in microseconds.
func bounds(i int) (low, high float64) {
	if i < 2*steps {
		return float64(i), float64(i + 1)
	}
	shift := i/steps - 1
	return float64((i%steps + steps) << shift), float64((i%steps + steps + 1) << shift)
}

func (s *spread) quantiles() (q Quantiles) {
	total := 0
	for _, n := range s {
		total += int(n)
	}
	if total == 0 {
		return q
	}
	ms := func(part float64) float64 { return math.Round(s.quantile(part*float64(total))) / 1000 }
	return Quantiles{P50: ms(.5), P95: ms(.95)}
}

// quantile is how many microseconds count of those that were added are, as if those of
// a step were spread over it evenly.
func (s *spread) quantile(count float64) float64 {
	below := 0.0
	for i, n := range s {
		if n := float64(n); n > 0 && below+n >= count {
			low, high := bounds(i)
			return low + (high-low)*(count-below)/n
		} else {
			below += n
		}
	}
	return maxMicros
}
