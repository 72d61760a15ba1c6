package tor

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Status is what is known of a member.
type Status struct {
	Name      string `json:"name"`
	SOCKS     string `json:"socks"`
	Control   string `json:"control,omitempty"`
	State     State  `json:"state"`
	Version   string `json:"version,omitempty"` // empty if unknown
	Bootstrap int    `json:"bootstrap"`         // percent; -1 if unknown
	Phase     string `json:"phase,omitempty"`   // of the bootstrap, in tor's words
	Circuits  string `json:"circuits"`          // whether tor can build them: "yes", "no", "unknown"
	Streams   int    `json:"streams"`           // open at the tor, whoever's; -1 if unknown
	PID       int    `json:"pid,omitempty"`     // of a daemon that the pool runs
	Starts    int    `json:"starts,omitempty"`  // of such a daemon, so far

	Error     string    `json:"error,omitempty"` // the last one; it stays when it is over
	ErrorTime time.Time `json:"error_time,omitzero"`
}

// Status returns the state of all members, in their order. It asks the control ports for
// the streams, and takes no longer than ctx lasts.
func (p *Pool) Status(ctx context.Context) []Status {
	p.init()
	list := make([]Status, len(p.all))
	for i, m := range p.all {
		list[i] = p.status(m)
	}
	p.look(func(i int, c *control) {
		if n, err := c.streams(ctx); err == nil {
			list[i].Streams = n
		}
	})
	return list
}

// look asks the control ports of all members at once, so that one that is slow does not
// keep the others from answering.
func (p *Pool) look(ask func(i int, c *control)) {
	var all sync.WaitGroup
	for i, m := range p.all {
		p.mu.Lock()
		c := m.health.control
		p.mu.Unlock()
		if c != nil {
			all.Go(func() { ask(i, c) })
		}
	}
	all.Wait()
}

// Known returns what is known already of all members, in their order, without a question
// to anybody: their Streams are -1.
func (p *Pool) Known() []Status {
	p.init()
	var list []Status
	for _, m := range p.all {
		list = append(list, p.status(m))
	}
	return list
}

// status is Status without a question to the control port.
func (p *Pool) status(m *member) Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := &m.health
	return Status{
		Name:      m.String(),
		SOCKS:     m.SOCKS,
		Control:   m.Control,
		State:     h.state(),
		Version:   h.version.String(),
		Bootstrap: h.bootstrap,
		Phase:     h.phase,
		Circuits:  [...]string{"unknown", "no", "yes"}[h.circuits],
		Streams:   -1,
		PID:       h.pid,
		Starts:    h.starts,
		Error:     h.err,
		ErrorTime: h.errAt,
	}
}

// version is that of a tor, such as 0.4.9.11; zero if unknown.
type version [4]int

// parseVersion reads the version at the front of s. What may follow, such as -alpha or
// the commit, does not count.
func parseVersion(s string) (v version, ok bool) {
	end := strings.IndexFunc(s, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if end < 0 {
		end = len(s)
	}
	parts := strings.Split(strings.TrimRight(s[:end], "."), ".")
	if len(parts) != len(v) {
		return version{}, false
	}
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 16)
		if err != nil {
			return version{}, false
		}
		v[i] = int(n)
	}
	return v, true
}

func (v version) atLeast(least ...int) bool {
	for i, n := range least {
		if v[i] != n {
			return v[i] > n
		}
	}
	return true
}

func (v version) String() string {
	if v == (version{}) {
		return ""
	}
	return fmt.Sprintf("%d.%d.%d.%d", v[0], v[1], v[2], v[3])
}
