package proxy

import (
	"fmt"

	"hosier/internal/fair"
)

const (
	// refusals is how many connections at once are kept without a place, until they have
	// shown their dialect and been refused in it.
	refusals = 32

	// reserve is the part of the places, one of so many, that go only to clients and users
	// which hold few of the others. With fewer places than this there is none.
	reserve = 16
)

// places are those of MaxConns. Server.mu guards them.
type places struct {
	taken        int         // of MaxConns
	refused      int         // connections that have none, and will be told so
	unidentified int         // of those taken, whose client Identify has yet to learn
	shares       fair.Shares // of those taken, by client and by user; empty without MaxConns
}

// place is what a connection without a relay has of the places.
type place struct {
	refused      bool // it has none
	untold       bool // nor counts among those that will be told so
	unidentified bool
	client       bool   // it counts in the share of its client
	user         string // in whose share it counts, "" if in none
}

// enter gives a new connection a place, or none if all are taken. s.mu is held.
func (s *Server) enter(p *place) {
	if s.MaxConns > 0 && s.places.taken >= s.MaxConns {
		p.refused = true
		s.places.refused++
		return
	}
	s.places.taken++
}

// isFull reports whether no more may be accepted. s.mu is held.
func (s *Server) isFull() bool {
	return s.MaxConns > 0 && s.places.taken >= s.MaxConns && s.places.refused >= refusals
}

// awaitIdentity counts a connection as one of an unknown client until known is called, and
// reports whether there may be one more: half of the places may be.
func (s *Server) awaitIdentity(p *place) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.MaxConns > 0 && s.places.unidentified >= max(s.MaxConns/2, 1) {
		return false
	}
	p.unidentified = true
	s.places.unidentified++
	return true
}

func (s *Server) identified(p *place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetUnidentified(p)
}

func (s *Server) forgetUnidentified(p *place) {
	if p.unidentified {
		p.unidentified = false
		s.places.unidentified--
	}
}

// share counts a connection's place in the share of its client and, once that is known, its
// user. The error wraps [ErrFull]: so few places are left that others come first, or none.
func (s *Server) share(p *place, ses *Session) error {
	if s.MaxConns <= 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.refused {
		return fmt.Errorf("%w: more than %d", ErrFull, s.MaxConns)
	}
	free := s.MaxConns - s.places.taken + 1 // before this one
	claim := func(party fair.Party) error {
		if !s.places.shares.Admits(party, free, s.MaxConns/reserve) {
			return fmt.Errorf("%w: the last places are for others than those that have most of %d", ErrFull, s.MaxConns)
		}
		s.places.shares.Add(party)
		return nil
	}
	if !p.client {
		if err := claim(fair.OfClient(ses.Client.Addr())); err != nil {
			return err
		}
		p.client = true
	}
	if ses.User == p.user {
		return nil
	}
	s.leaveUser(p) // Prepare and Verify may find another than Identify
	if ses.User == "" {
		return nil
	}
	if err := claim(fair.OfUser(ses.User)); err != nil {
		return err
	}
	p.user = ses.User
	return nil
}

func (s *Server) leaveUser(p *place) {
	if p.user != "" {
		s.places.shares.Remove(fair.OfUser(p.user))
		p.user = ""
	}
}

// refuse takes the place of a connection that will be refused, and reports whether it may
// stay to be told so. Where too many others do, it keeps its place to its end, which is to come
// at once unless its request is known.
func (s *Server) refuse(p *place, ses *Session, told bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case p.refused:
		return told && !p.untold
	case told && s.places.refused >= refusals:
		return false
	}
	s.leave(p, ses)
	p.refused, p.untold = true, !told
	if told {
		s.places.refused++
	}
	s.room.Broadcast()
	return told
}

// leave gives back what a connection has of the places. s.mu is held.
func (s *Server) leave(p *place, ses *Session) {
	s.forgetUnidentified(p)
	switch {
	case p.untold:
	case p.refused:
		s.places.refused--
	default:
		s.places.taken--
	}
	if p.client {
		s.places.shares.Remove(fair.OfClient(ses.Client.Addr()))
	}
	s.leaveUser(p)
	*p = place{}
}

// ended gives back what a connection had that has ended. s.mu is held.
func (s *Server) ended(c *conn, ses *Session) {
	if c.isRelay() { // share was asked for it, and its exchange may be another's by now
		p := place{}
		if s.MaxConns > 0 {
			p = place{client: true, user: ses.User}
		}
		s.leave(&p, ses)
		s.stages.count[inRelay].Add(-1)
		return
	}
	s.leave(&c.x.place, ses)
	stage := inHandshake
	if ses.Request != nil {
		stage = inConnect
	}
	s.stages.count[stage].Add(-1)
}
