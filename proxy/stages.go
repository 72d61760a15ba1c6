package proxy

import "sync/atomic"

// Stages counts open connections by how far they came.
type Stages struct {
	Handshake int // before the whole request, or refused before
	Connect   int // the egress is asked
	Relay     int
}

const (
	inHandshake = iota
	inConnect
	inRelay
)

// stages are counted as connections pass them: to look at each when somebody asks would hold
// all of them up.
type stages struct{ count [3]atomic.Int64 }

func (s *stages) move(from, to int) {
	s.count[from].Add(-1)
	s.count[to].Add(1)
}

// Stages returns how many connections are at each stage. It waits for nothing.
func (s *Server) Stages() Stages {
	n := func(i int) int { return int(max(s.stages.count[i].Load(), 0)) } // one may be between two
	return Stages{Handshake: n(inHandshake), Connect: n(inConnect), Relay: n(inRelay)}
}
