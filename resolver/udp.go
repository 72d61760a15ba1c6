package resolver

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"time"
)

const (
	// A socket has a random source port, which a forger has to guess with the ID. It is
	// given up after so many questions and so long, before a port can be found out.
	questionsPerSocket = 64
	socketLife         = 5 * time.Second
	// maxSockets is the default of Resolver.Sockets.
	maxSockets = 48
)

// A transport asks one server. ask calls done once, from any goroutine and perhaps before
// it returns, unless cancel has been called; then perhaps not.
type transport interface {
	ask(q *query, done func(records, error)) (cancel func())
	close()
}

// query is a question as it is sent.
type query struct {
	question
	sent string // the name in the spelling that an answer has to repeat; empty: any
	edns bool
}

// message returns the query as a message with the ID.
func (q *query) message(id uint16, pad bool) ([]byte, error) {
	asked := q.question
	if q.sent != "" {
		asked.name = q.sent
	}
	msg, err := appendQuery(asked, q.edns, pad)
	if err != nil {
		return nil, err
	}
	binary.BigEndian.PutUint16(msg, id)
	return msg, nil
}

// parse is parseAnswer, and compares the spelling of the name.
func (q *query) parse(msg []byte) (records, bool, error) {
	if q.sent != "" && (len(msg) < headerSize+len(q.sent)+2 || !sameSpelling(msg[headerSize:], q.sent)) {
		return records{}, false, errNotAnswer
	}
	return parseAnswer(msg, q.question)
}

// sameSpelling compares the labels of a question with a name, in their letters' case too.
func sameSpelling(labels []byte, name string) bool {
	for i := range len(name) {
		if name[i] != '.' && labels[i+1] != name[i] {
			return false
		}
	}
	return true
}

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// udpTransport asks over UDP, and over TCP where an answer was cut.
type udpTransport struct {
	server Server
	dial   dialFunc
	max    int // sockets; beyond it they are shared
	tcp    transport

	mu      sync.Mutex
	closed  bool
	current *udpSocket              // takes new questions
	sockets map[*udpSocket]struct{} // open
}

type udpSocket struct {
	t    *udpTransport
	conn net.Conn
	born time.Time

	// of t.mu
	asked   int
	pending map[uint16]*udpQuestion
	closed  bool
}

type udpQuestion struct {
	*query
	done func(records, error)

	mu       sync.Mutex
	fallback func() // cancels the question over TCP
	ended    bool   // nobody waits any more
}

// cancel ends the question, wherever it is.
func (q *udpQuestion) cancel() {
	q.mu.Lock()
	q.ended = true
	stop := q.fallback
	q.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// askTCP asks once more, for an answer that was cut.
func (q *udpQuestion) askTCP(t transport) {
	q.mu.Lock()
	ended := q.ended
	q.mu.Unlock()
	if ended {
		return
	}
	stop := t.ask(q.query, q.done)
	q.mu.Lock()
	q.fallback, ended = stop, q.ended
	q.mu.Unlock()
	if ended {
		stop()
	}
}

func (t *udpTransport) ask(q *query, done func(records, error)) (cancel func()) {
	t.mu.Lock()
	s, err := t.socket()
	if err != nil {
		t.mu.Unlock()
		done(records{}, err)
		return func() {}
	}
	id := s.freeID()
	msg, err := q.message(id, false)
	if err != nil {
		t.mu.Unlock()
		done(records{}, err)
		return func() {}
	}
	asked := &udpQuestion{query: q, done: done}
	s.asked++
	s.pending[id] = asked
	if len(s.pending) == 1 {
		s.conn.SetReadDeadline(time.Time{})
	}
	t.mu.Unlock()

	if _, err := s.conn.Write(msg); err != nil && t.forget(s, id, asked) {
		done(records{}, err)
	}
	return func() {
		t.forget(s, id, asked)
		asked.cancel()
	}
}

// socket returns the socket for the next question.
func (t *udpTransport) socket() (*udpSocket, error) {
	if t.closed {
		return nil, net.ErrClosed
	}
	s := t.current
	switch {
	case s == nil || s.closed:
	case s.asked < questionsPerSocket && time.Since(s.born) < socketLife:
		return s, nil
	case len(t.sockets) >= t.max:
		for s = range t.sockets { // any of them, which differs from call to call
			if len(s.pending) < 1<<15 {
				return s, nil
			}
		}
		return nil, ErrBusy
	}
	conn, err := t.dial(context.Background(), "udp", t.server.Addr.String())
	if err != nil {
		return nil, err
	}
	if s != nil && len(s.pending) == 0 {
		s.close()
	}
	s = &udpSocket{t: t, conn: conn, born: time.Now(), pending: make(map[uint16]*udpQuestion)}
	if t.sockets == nil {
		t.sockets = make(map[*udpSocket]struct{})
	}
	t.sockets[s], t.current = struct{}{}, s
	go s.read()
	return s, nil
}

func (s *udpSocket) freeID() uint16 {
	for {
		id := uint16(rand.Uint32())
		if s.pending[id] == nil {
			return id
		}
	}
}

// close is called with t.mu held.
func (s *udpSocket) close() {
	if !s.closed {
		s.closed = true
		delete(s.t.sockets, s)
		s.conn.Close()
	}
}

// forget takes a question back, and reports whether it was still waiting.
func (t *udpTransport) forget(s *udpSocket, id uint16, q *udpQuestion) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.pending[id] != q {
		return false
	}
	s.settle(id)
	return true
}

// settle is called with t.mu held when a question has ended.
func (s *udpSocket) settle(id uint16) {
	delete(s.pending, id)
	if len(s.pending) > 0 {
		return
	}
	if s != s.t.current || s.asked >= questionsPerSocket {
		s.close()
		return
	}
	s.conn.SetReadDeadline(s.born.Add(socketLife))
}

// read takes answers until the socket is closed.
func (s *udpSocket) read() {
	buf := make([]byte, 4096)
	for {
		n, err := s.conn.Read(buf)
		if err != nil {
			if s.ended(err) {
				return
			}
			continue
		}
		s.take(buf[:n])
	}
}

// take hands an answer to its question. What belongs to none is somebody's mistake, or a
// forgery, and changes nothing.
func (s *udpSocket) take(msg []byte) {
	if len(msg) < headerSize {
		return
	}
	id := binary.BigEndian.Uint16(msg)
	s.t.mu.Lock()
	q := s.pending[id]
	s.t.mu.Unlock()
	if q == nil {
		return
	}
	found, truncated, err := q.parse(msg)
	if errors.Is(err, errNotAnswer) || !s.t.forget(s, id, q) {
		return
	}
	if truncated {
		q.askTCP(s.t.tcp)
		return
	}
	q.done(found, err)
}

// ended reports whether the socket is done with after a failed read. All that waits at it
// fails with it.
func (s *udpSocket) ended(err error) bool {
	s.t.mu.Lock()
	if errors.Is(err, os.ErrDeadlineExceeded) && len(s.pending) > 0 {
		s.t.mu.Unlock() // a question came as the time was over
		return false
	}
	failed := s.pending
	s.pending = nil
	s.close()
	s.t.mu.Unlock()
	for _, q := range failed {
		q.done(records{}, err)
	}
	return true
}

func (t *udpTransport) close() {
	t.mu.Lock()
	t.closed = true
	for s := range t.sockets {
		s.close()
	}
	t.mu.Unlock()
	t.tcp.close()
}
