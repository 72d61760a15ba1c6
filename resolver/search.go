package resolver

import "sync"

// searchList asks for one name after the other until one exists.
type searchList struct {
	View
	name string
	typ  Type
	done func(Answer, error)

	mu    sync.Mutex
	rest  []string
	step  int    // questions begun
	stop  func() // of the last of them
	ended bool
}

func (s *searchList) next() {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return
	}
	name := s.rest[0]
	s.rest = s.rest[1:]
	last := len(s.rest) == 0
	s.step++
	step := s.step
	s.mu.Unlock()
	stop := s.ask(question{name: name, typ: s.typ}, func(e *entry, cached bool) {
		if e.noName && !last {
			s.next()
			return
		}
		s.done(e.answer(s.name, cached))
	})
	s.mu.Lock()
	ended := s.ended
	if s.step == step { // else this question is over, and the next has set it
		s.stop = stop
	}
	s.mu.Unlock()
	if ended {
		stop()
	}
}

func (s *searchList) cancel() {
	s.mu.Lock()
	s.ended = true
	stop := s.stop
	s.mu.Unlock()
	if stop != nil {
		stop()
	}
}
