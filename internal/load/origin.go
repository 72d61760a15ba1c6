package load

import (
	"bytes"
	"net/netip"
	"sync/atomic"
)

// What a client asks the origin for, with the first byte it sends. It is part of the
// payload: an echo returns it.
const (
	wantEcho   = 'e'
	wantSource = 'd' // bytes without end
	wantSink   = 'u'
)

// origin is what lies behind the servers: it echoes, pours or swallows.
type origin struct {
	reactor  reactor
	conns    map[*served]conn
	addrs    []netip.AddrPort
	accepted atomic.Int64
	open     atomic.Int64
	sunk     atomic.Int64 // bytes that were swallowed
	source   []byte
}

// newOrigin listens on as many ports as so many relays need.
func newOrigin(r reactor, ip netip.Addr, relays int) (*origin, error) {
	o := &origin{reactor: r, conns: map[*served]conn{}, source: bytes.Repeat([]byte("hosier\x00\xff"), chunk/8)}
	for range 1 + (relays-1)/perAddress {
		at, err := r.listen(netip.AddrPortFrom(ip, 0), o.accept)
		if err != nil {
			return nil, err
		}
		o.addrs = append(o.addrs, at)
	}
	return o, nil
}

func (o *origin) accept() handler {
	o.accepted.Add(1)
	o.open.Add(1) // here, not in opened: whoever waits for none must not look in between
	return &served{origin: o}
}

// served is a connection that the origin accepted.
type served struct {
	origin  *origin
	want    byte
	unsent  []byte // of an echo
	pouring bool
}

func (s *served) opened(c conn) { s.origin.conns[s] = c }

func (s *served) received(c conn, b []byte) {
	if s.want == 0 {
		s.want = b[0]
	}
	switch s.want {
	case wantSink:
		s.origin.sunk.Add(int64(len(b)))
	case wantSource:
		if !s.pouring {
			s.pouring = true
			s.pour(c)
		}
	case wantEcho:
		s.echo(c, b)
	default:
		s.end(c)
	}
}

func (s *served) echo(c conn, b []byte) {
	if len(s.unsent) > 0 {
		if len(s.unsent) > chunk { // a client that sends on and never reads
			s.end(c)
			return
		}
		s.unsent = append(s.unsent, b...)
		return
	}
	n, err := c.write(b)
	if err != nil {
		s.end(c)
		return
	}
	s.unsent = append(s.unsent, b[n:]...)
}

func (s *served) pour(c conn) {
	n, err := c.write(s.origin.source)
	switch {
	case err != nil:
		s.end(c)
	case n == len(s.origin.source):
		c.soon()
	}
}

func (s *served) writable(c conn) {
	if s.pouring {
		s.pour(c)
		return
	}
	n, err := c.write(s.unsent)
	if err != nil {
		s.end(c)
		return
	}
	if s.unsent = s.unsent[n:]; len(s.unsent) == 0 {
		s.unsent = nil
	}
}

func (s *served) end(c conn) {
	c.close()
	s.closed(c, nil)
}

func (s *served) closed(conn, error) {
	delete(s.origin.conns, s)
	s.origin.open.Add(-1)
}

// abandon closes what the servers have left open.
func (o *origin) abandon() {
	o.reactor.do(func() {
		for s, c := range o.conns {
			s.end(c)
		}
	})
}
