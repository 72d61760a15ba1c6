package proxy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// Whatever becomes of connections, what they had of the places is given back.
func TestPlacesAreGivenBack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	s := &Server{MaxConns: 40}
	type client struct {
		c   *conn
		ses *Session
	}
	var open []client
	for range 20_000 {
		if len(open) < 60 && r.IntN(2) == 0 {
			each := &conn{server: s, x: &exchange{}}
			s.enter(&each.x.place)
			s.stages.count[inHandshake].Add(1)
			open = append(open, client{each, &Session{}})
			continue
		}
		if len(open) == 0 {
			continue
		}
		i := r.IntN(len(open))
		c := open[i]
		p := &c.c.x.place
		switch r.IntN(5) {
		case 0:
			if !p.client && !p.refused {
				c.ses.Client = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(r.IntN(4))}), 1)
			}
			if s.share(p, c.ses) != nil && r.IntN(2) == 0 {
				s.refuse(p, c.ses, r.IntN(2) == 0)
			}
		case 1:
			if !p.refused && !p.unidentified {
				s.awaitIdentity(p)
			}
		case 2:
			if p.client && !p.refused {
				c.ses.User = fmt.Sprint(r.IntN(4))
				if s.share(p, c.ses) != nil {
					c.ses.User = ""
				}
			}
		case 3:
			if p.client && !p.refused && p.user == c.ses.User {
				s.identified(p)
				c.c.packed.start = time.Now()
				s.stages.move(inHandshake, inRelay)
			}
			fallthrough
		default:
			s.ended(c.c, c.ses)
			open = append(open[:i], open[i+1:]...)
		}
		if s.places.taken > s.MaxConns || s.places.refused > 60 || s.places.unidentified > s.MaxConns/2 {
			t.Fatalf("%+v", s.places)
		}
	}
	for _, c := range open {
		s.ended(c.c, c.ses)
	}
	if p := &s.places; p.taken != 0 || p.refused != 0 || p.unidentified != 0 || p.shares.Parties() != 0 {
		t.Errorf("left of nothing: %+v", *p)
	}
	if n := s.Stages(); n != (Stages{}) {
		t.Errorf("left of nothing: %+v", n)
	}
}

// A walk comes to each connection once, in chunks, also beside other walks and while
// connections begin and end.
func TestWalk(t *testing.T) {
	s := &Server{}
	s.walk(nil, func(*conn) { t.Error("there is one of none") })
	var all []*conn
	add := func() {
		tr := &conn{server: s}
		s.mu.Lock()
		s.open.add(tr)
		s.mu.Unlock()
		all = append(all, tr)
	}
	remove := func(i int) {
		s.mu.Lock()
		s.open.remove(all[i])
		s.mu.Unlock()
		all = append(all[:i], all[i+1:]...)
	}
	for _, n := range []int{1, chunk - 1, chunk, chunk + 1, 3*chunk + 7} {
		for len(all) < n {
			add()
		}
		seen := map[*conn]int{}
		inner := 0
		s.walk(nil, func(tr *conn) {
			if seen[tr]++; len(seen) == n/2+1 {
				s.walk(nil, func(*conn) { inner++ })
			}
		})
		for _, tr := range all {
			if seen[tr] != 1 {
				t.Fatalf("of %d: one is seen %d times", n, seen[tr])
			}
		}
		if len(seen) != n || inner != n || len(s.open.all()) != n {
			t.Errorf("of %d: %d seen, %d by a walk within, %d in the list", n, len(seen), inner, len(s.open.all()))
		}
	}
	was, seen := len(all), map[*conn]int{}
	last := all[was-1]
	s.walk(nil, func(tr *conn) {
		seen[tr]++
		add()
		remove(0)
	})
	if len(seen) > was || seen[last] > 1 {
		t.Errorf("%d seen of %d, the last %d times", len(seen), was, seen[last])
	}
	for len(all) > 0 {
		remove(0)
	}
	if s.open.len != 0 || s.open.root.next != s.open.root {
		t.Error("the list is not empty")
	}
}
