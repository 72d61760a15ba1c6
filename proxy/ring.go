package proxy

// chunk is how many connections are looked up at a time while nothing else may be done with
// the list of them.
const chunk = 256

// ring is the connections that are open, in the order in which they came. Its zero value is
// empty.
type ring struct {
	root *tracked // between the last and the first; nil until there was one
	len  int      // of connections, without marks
}

func (r *ring) add(t *tracked) {
	if r.root == nil {
		r.root = &tracked{}
		r.root.next, r.root.prev = r.root, r.root
	}
	t.linkBefore(r.root)
	r.len++
}

func (r *ring) remove(t *tracked) {
	t.unlink()
	r.len--
}

func (t *tracked) linkBefore(next *tracked) {
	t.next, t.prev = next, next.prev
	t.prev.next, t.next.prev = t, t
}

func (t *tracked) unlink() {
	t.prev.next, t.next.prev = t.next, t.prev
	t.next, t.prev = nil, nil
}

// isMark reports whether t is no connection, but the place in the ring of one that walks it.
func (t *tracked) isMark() bool { return t.server == nil }

// walk calls f for the connections that are open, without s.mu, which it takes for a chunk
// of them at a time: a look at all of many would hold up every connection that begins or
// ends. One that begins or ends meanwhile may or may not be among them; none comes twice.
// Start is called with s.mu before the first; it may be nil.
func (s *Server) walk(start func(), f func(*tracked)) {
	var some [chunk]*tracked
	s.mu.Lock()
	if start != nil {
		start()
	}
	left, root := s.open.len, s.open.root
	if left == 0 {
		s.mu.Unlock()
		return
	}
	mark := &tracked{} // what comes after it is still to be looked at
	mark.linkBefore(root.next)
	for left > 0 {
		n, t := 0, mark.next
		for ; t != root && n < min(left, chunk); t = t.next {
			if !t.isMark() {
				some[n] = t
				n++
			}
		}
		left -= n
		if t == root {
			left = 0
		}
		mark.unlink()
		mark.linkBefore(t)
		s.mu.Unlock()
		for _, t := range some[:n] {
			f(t)
		}
		s.mu.Lock()
	}
	mark.unlink()
	s.mu.Unlock()
}

// all are the connections that are open now. s.mu is held.
func (r *ring) all() []*tracked {
	all := make([]*tracked, 0, r.len)
	if r.root == nil {
		return nil
	}
	for t := r.root.next; t != r.root; t = t.next {
		if !t.isMark() {
			all = append(all, t)
		}
	}
	return all
}
