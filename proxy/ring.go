package proxy

// chunk is how many connections are looked up at a time while nothing else may be done with
// the list of them.
const chunk = 256

// ring is the connections that are open, in the order in which they came. Its zero value is
// empty.
type ring struct {
	root *conn // between the last and the first; nil until there was one
	len  int   // of connections, without marks
}

func (r *ring) add(c *conn) {
	if r.root == nil {
		r.root = &conn{}
		r.root.next, r.root.prev = r.root, r.root
	}
	c.linkBefore(r.root)
	r.len++
}

func (r *ring) remove(c *conn) {
	c.unlink()
	r.len--
}

func (c *conn) linkBefore(next *conn) {
	c.next, c.prev = next, next.prev
	c.prev.next, c.next.prev = c, c
}

func (c *conn) unlink() {
	c.prev.next, c.next.prev = c.next, c.prev
	c.next, c.prev = nil, nil
}

// isMark reports whether c is no connection, but the place in the ring of one that walks it.
func (c *conn) isMark() bool { return c.server == nil }

// walk calls f for the connections that are open, without s.mu, which it takes for a chunk
// of them at a time: a look at all of many would hold up every connection that begins or
// ends. One that begins or ends meanwhile may or may not be among them; none comes twice.
// Start is called with s.mu before the first; it may be nil.
func (s *Server) walk(start func(), f func(*conn)) {
	var some [chunk]*conn
	s.mu.Lock()
	if start != nil {
		start()
	}
	left, root := s.open.len, s.open.root
	if left == 0 {
		s.mu.Unlock()
		return
	}
	mark := &conn{} // what comes after it is still to be looked at
	mark.linkBefore(root.next)
	for left > 0 {
		n, c := 0, mark.next
		for ; c != root && n < min(left, chunk); c = c.next {
			if !c.isMark() {
				some[n] = c
				n++
			}
		}
		left -= n
		if c == root {
			left = 0
		}
		mark.unlink()
		mark.linkBefore(c)
		s.mu.Unlock()
		for _, c := range some[:n] {
			f(c)
		}
		s.mu.Lock()
	}
	mark.unlink()
	s.mu.Unlock()
}

// all are the connections that are open now. s.mu is held.
func (r *ring) all() []*conn {
	all := make([]*conn, 0, r.len)
	if r.root == nil {
		return nil
	}
	for c := r.root.next; c != r.root; c = c.next {
		if !c.isMark() {
			all = append(all, c)
		}
	}
	return all
}
