package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

const (
	maxStreams    = 32
	streamPeriod  = 2 * time.Second
	streamSilence = 15 * time.Second // after which a line says that nothing happened
	streamTimeout = 10 * time.Second // for a client to take what it was sent
	streamRetry   = 3 * time.Second  // for a client to come back
)

// events streams what a page is about (HTML Living Standard, section 9.2: server-sent
// events). Each event has the name of a topic, and the JSON that a GET of it gives; it
// comes at once, and then when it has changed.
func (c *Console) events(w http.ResponseWriter, r *http.Request, q query) {
	select {
	case c.streams <- struct{}{}:
		defer func() { <-c.streams }()
	default:
		w.Header().Set("Retry-After", "10")
		fail(w, r, http.StatusServiceUnavailable, fmt.Sprintf("%d streams are open, and no more are possible: close a page", maxStreams))
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	if r.Method == http.MethodHead {
		return
	}
	s := stream{w: w, control: http.NewResponseController(w), last: map[*topic][]byte{}}
	if err := s.control.SetReadDeadline(time.Time{}); err != nil {
		fail(w, r, http.StatusInternalServerError, "this server cannot stream")
		return
	}
	fmt.Fprintf(&s.next, "retry: %d\n\n", streamRetry.Milliseconds())
	c.follow(r, q, &s)
}

// follow sends to s until the client is gone or signed out. Who is signed out comes back,
// and is told so by a status.
func (c *Console) follow(r *http.Request, q query, s *stream) {
	tick := time.NewTicker(streamPeriod)
	defer tick.Stop()
	for c.o.SignedIn == nil || c.o.SignedIn(r) {
		for _, t := range q.About {
			if err := s.add(t, t.tell(r.Context(), c, q)); err != nil {
				return
			}
		}
		if err := s.send(); err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// stream is a response that goes on.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	last    map[*topic][]byte // what was sent of each
	next    bytes.Buffer
	sent    time.Time
}

// add puts what there is to tell of a topic into the next message, if it is news.
func (s *stream) add(t *topic, body any) error {
	b, err := json.Marshal(body) // it has no line ends, so it is one line of data
	if err != nil || bytes.Equal(b, s.last[t]) {
		return err
	}
	s.last[t] = b
	fmt.Fprintf(&s.next, "event: %s\ndata: %s\n\n", t.name, b)
	return nil
}

// send sends the next message. A client that does not take it has gone.
func (s *stream) send() error {
	now := time.Now()
	if s.next.Len() == 0 && now.Sub(s.sent) < streamSilence {
		return nil
	}
	if s.next.Len() == 0 {
		s.next.WriteString(": nothing new\n\n")
	}
	if err := s.control.SetWriteDeadline(now.Add(streamTimeout)); err != nil {
		return err
	}
	if _, err := s.w.Write(s.next.Bytes()); err != nil {
		return err
	}
	s.sent = now
	s.next.Reset()
	return s.control.Flush()
}
