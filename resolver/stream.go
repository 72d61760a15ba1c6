package resolver

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

const (
	// streamIdle ends a connection on which nothing has come for so long, whether a
	// question waits or not (RFC 7766 section 6.2.3).
	streamIdle = 10 * time.Second
	maxStreams = 4
	// busyStream is the number of questions that wait at each connection before another is
	// opened: some servers answer one after the other.
	busyStream  = 16
	maxOnStream = 4096
	// stalledAfter is how long a connection may be silent while questions wait at it before
	// others go to another: a dead path drops what is sent without a word.
	stalledAfter = time.Second
)

// streamTransport asks over TCP, or TLS. Questions share connections, and answers may come
// in any order (RFC 7766, RFC 7858).
type streamTransport struct {
	server Server
	dial   dialFunc
	tls    *tls.Config // nil: clear text

	mu     sync.Mutex
	closed bool
	conns  []*stream
}

// stream is a connection, also one that is not open yet.
type stream struct {
	t      *streamTransport
	out    chan message
	ctx    context.Context
	cancel context.CancelFunc

	// of t.mu
	pending  map[uint16]*streamQuestion
	answered int
	heard    time.Time // when the last answer came, or the first question after it was put in
	closed   bool
}

// stalled is called with t.mu held.
func (s *stream) stalled() bool {
	return len(s.pending) > 0 && time.Since(s.heard) > stalledAfter
}

// message is one to send.
type message struct {
	framed []byte
	first  bool // nothing waited at the connection before
}

type streamQuestion struct {
	*query
	done  func(records, error)
	again bool // it has been asked on another connection before
	onto  *stream
	id    uint16
}

func (t *streamTransport) ask(q *query, done func(records, error)) (cancel func()) {
	asked := &streamQuestion{query: q, done: done}
	t.send(asked)
	return func() { t.forget(asked) }
}

// send puts q on a connection.
func (t *streamTransport) send(q *streamQuestion) {
	t.mu.Lock()
	s, err := t.stream()
	if err == nil {
		err = s.add(q)
	}
	t.mu.Unlock()
	if err != nil {
		q.done(records{}, err)
	}
}

// stream returns the connection for the next question.
func (t *streamTransport) stream() (*stream, error) {
	if t.closed {
		return nil, net.ErrClosed
	}
	var least *stream
	for _, s := range t.conns {
		if least == nil || least.stalled() && !s.stalled() ||
			least.stalled() == s.stalled() && len(s.pending) < len(least.pending) {
			least = s
		}
	}
	if least != nil && (len(least.pending) < busyStream && !least.stalled() || len(t.conns) >= maxStreams) {
		return least, nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &stream{
		t: t, out: make(chan message, maxOnStream), ctx: ctx, cancel: cancel,
		pending: make(map[uint16]*streamQuestion),
	}
	t.conns = append(t.conns, s)
	go s.run()
	return s, nil
}

// add is called with t.mu held.
func (s *stream) add(q *streamQuestion) error {
	if len(s.pending) >= maxOnStream {
		return ErrBusy
	}
	id := uint16(rand.Uint32())
	for s.pending[id] != nil {
		id++
	}
	msg, err := q.message(id, s.t.tls != nil)
	if err != nil {
		return err
	}
	framed := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(msg)), uint16(len(msg)))
	select {
	case s.out <- message{append(framed, msg...), len(s.pending) == 0}:
	default: // the server does not read
		return ErrBusy
	}
	if len(s.pending) == 0 {
		s.heard = time.Now()
	}
	q.onto, q.id = s, id
	s.pending[id] = q
	return nil
}

func (t *streamTransport) forget(q *streamQuestion) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if q.onto != nil && q.onto.pending[q.id] == q {
		delete(q.onto.pending, q.id)
	}
}

// run opens the connection, and writes what is to be asked.
func (s *stream) run() {
	conn, err := s.open()
	if err != nil {
		s.fail(err)
		return
	}
	defer conn.Close()
	stop := context.AfterFunc(s.ctx, func() { conn.Close() })
	defer stop()
	go func() { s.fail(s.read(conn)) }()
	for {
		select {
		case <-s.ctx.Done():
			return
		case msg := <-s.out:
			limit := time.Now().Add(streamIdle)
			conn.SetWriteDeadline(limit)
			if msg.first { // else the time for an answer is running
				conn.SetReadDeadline(limit)
			}
			if _, err := conn.Write(msg.framed); err != nil {
				s.fail(err)
				return
			}
		}
	}
}

func (s *stream) open() (net.Conn, error) {
	ctx, cancel := context.WithTimeout(s.ctx, streamIdle)
	defer cancel()
	conn, err := s.t.dial(ctx, "tcp", s.t.server.Addr.String())
	if err != nil || s.t.tls == nil {
		return conn, err
	}
	c := tls.Client(conn, s.t.tls)
	if err := c.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// read takes answers until the connection ends.
func (s *stream) read(conn net.Conn) error {
	var head [2]byte
	conn.SetReadDeadline(time.Now().Add(streamIdle))
	for {
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			return err
		}
		msg := make([]byte, binary.BigEndian.Uint16(head[:]))
		if _, err := io.ReadFull(conn, msg); err != nil {
			return err
		}
		conn.SetReadDeadline(time.Now().Add(streamIdle))
		if len(msg) < headerSize {
			return errMalformed
		}
		s.take(msg)
	}
}

func (s *stream) take(msg []byte) {
	id := binary.BigEndian.Uint16(msg)
	s.t.mu.Lock()
	q := s.pending[id]
	delete(s.pending, id)
	s.answered++
	s.heard = time.Now()
	s.t.mu.Unlock()
	if q == nil {
		return
	}
	found, truncated, err := q.parse(msg)
	if err == nil && truncated || errors.Is(err, errNotAnswer) {
		err = errMalformed // over a stream there is nothing more to wait for
	}
	q.done(found, err)
}

// fail ends the connection. Questions that a connection took with it which had worked
// before are asked once more: servers end idle connections when they like.
func (s *stream) fail(err error) {
	s.t.mu.Lock()
	if s.closed {
		s.t.mu.Unlock()
		return
	}
	s.closed = true
	s.cancel()
	for i, other := range s.t.conns {
		if other == s {
			s.t.conns = append(s.t.conns[:i], s.t.conns[i+1:]...)
			break
		}
	}
	var again, failed []*streamQuestion
	for _, q := range s.pending {
		if s.answered > 0 && !q.again && !s.t.closed {
			q.again = true
			again = append(again, q)
		} else {
			failed = append(failed, q)
		}
	}
	s.pending = nil
	s.t.mu.Unlock()
	for _, q := range again {
		s.t.send(q)
	}
	for _, q := range failed {
		q.done(records{}, err)
	}
}

func (t *streamTransport) close() {
	t.mu.Lock()
	t.closed = true
	conns := t.conns
	t.conns = nil
	t.mu.Unlock()
	for _, s := range conns {
		s.fail(net.ErrClosed)
	}
}
