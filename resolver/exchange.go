package resolver

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// raceAfter is how long a server is waited for before the next is asked as well, or the
// same again. Each wait is twice the one before.
const raceAfter = 300 * time.Millisecond

// maxPatience bounds the wait for a server that is slow, so that a lost question is repeated.
const maxPatience = 2 * time.Second

// ErrBusy is wrapped by the error of a lookup that was not begun, since 4,096 wait for an answer.
var ErrBusy = errors.New("too many names are being looked up")

var errTimeout = errors.New("no answer in time")

// upstream is a server at work.
type upstream struct {
	Server
	transport
	noEDNS atomic.Bool  // it does not take EDNS
	muted  atomic.Int64 // until when it is asked last, since it was silent; in ns since 1970

	questions, failures atomic.Uint64
	answers             atomic.Uint64
	latency             atomic.Int64 // of all answers together, in ns
	recent              atomic.Int64 // latency of the last answers, smoothed as in RFC 6298 section 2, in ns
}

// answered counts an answer, and the time that it took.
func (u *upstream) answered(took time.Duration) {
	u.answers.Add(1)
	u.latency.Add(int64(took))
	u.muted.Store(0)
	recent := u.recent.Load()
	if recent == 0 {
		recent = int64(took)
	}
	u.recent.Store(recent + (int64(took)-recent)/8) // one of two at once may be lost
}

// patience is how long the server is waited for before it is asked the same again: one that is
// slow, as under load, must not get each question several times.
func (u *upstream) patience() time.Duration {
	return max(raceAfter, min(2*time.Duration(u.recent.Load()), maxPatience))
}

// mutedFor is how long a server that was silent is asked after the others.
const mutedFor = 30 * time.Second

func (u *upstream) mute()        { u.muted.Store(time.Now().Add(mutedFor).UnixNano()) }
func (u *upstream) silent() bool { return time.Now().UnixNano() < u.muted.Load() }

// exchange asks one question of servers, one after the other and beside each other, until
// one has answered. Its state changes by callbacks of transports and of a timer, so that
// no goroutine waits for an answer.
type exchange struct {
	question
	servers []*upstream // in the order in which they are asked, at least one
	mixCase bool
	limit   time.Duration
	done    func(records, *upstream, error)

	mu      sync.Mutex
	ended   bool
	asked   int                     // attempts begun
	open    int                     // attempts without an outcome
	failed  map[*upstream]error     // why each does not answer
	tried   map[*upstream]time.Time // when each was asked first; nil: there is but one
	cancels []func()
	timer   *time.Timer
	begun   time.Time
	wait    time.Duration
	last    *upstream // that failed, or was asked
}

// start asks the first server. done is called once, and not with a lock held.
func (x *exchange) start() {
	x.mu.Lock()
	if x.ended { // by Close
		x.mu.Unlock()
		return
	}
	x.begun, x.wait = time.Now(), raceAfter
	if len(x.servers) == 1 { // else the next is asked, not the same again
		x.wait = x.servers[0].patience()
	}
	x.failed = make(map[*upstream]error)
	if len(x.servers) > 1 {
		x.tried = make(map[*upstream]time.Time)
	}
	x.timer = time.AfterFunc(min(x.wait, x.limit), x.tick)
	x.mu.Unlock()
	x.attempt()
}

// tick asks again, or gives up.
func (x *exchange) tick() {
	x.mu.Lock()
	if x.ended {
		x.mu.Unlock()
		return
	}
	left := x.limit - time.Since(x.begun)
	if left <= 0 {
		last := x.last
		err := x.verdict(last, errTimeout)
		for _, s := range x.servers {
			if x.failed[s] == nil {
				s.mute()
				s.failures.Add(1)
			}
		}
		x.mu.Unlock()
		x.end(records{}, last, err)
		return
	}
	x.wait *= 2
	x.timer.Reset(min(x.wait, left))
	x.mu.Unlock()
	x.attempt()
}

// attempt asks the next server that has not failed, if there is one.
func (x *exchange) attempt() {
	x.mu.Lock()
	s := x.next()
	if x.ended || s == nil {
		x.mu.Unlock()
		return
	}
	x.open++
	x.last = s
	if _, again := x.tried[s]; !again && x.tried != nil {
		x.tried[s] = time.Now()
	}
	x.mu.Unlock()
	x.send(s, !s.noEDNS.Load())
}

// next is called with x.mu held.
func (x *exchange) next() *upstream {
	for range x.servers {
		s := x.servers[x.asked%len(x.servers)]
		x.asked++
		if x.failed[s] == nil {
			return s
		}
	}
	return nil
}

func (x *exchange) send(s *upstream, edns bool) {
	q := &query{question: x.question, edns: edns}
	if x.mixCase {
		q.sent = mixCase(x.name)
	}
	begun := time.Now()
	s.questions.Add(1)
	cancel := s.ask(q, func(found records, err error) {
		if err == nil {
			s.answered(time.Since(begun))
			x.passOver(s)
			x.end(found, s, nil)
			return
		}
		code := RCodeError(0)
		if edns && errors.As(err, &code) && (dnsmessage.RCode(code) == dnsmessage.RCodeFormatError || dnsmessage.RCode(code) == dnsmessage.RCodeNotImplemented) {
			s.noEDNS.Store(true) // RFC 6891 section 6.2.2
			x.send(s, false)
			return
		}
		x.fail(s, err)
	})
	x.mu.Lock()
	ended := x.ended
	if !ended {
		x.cancels = append(x.cancels, cancel)
	}
	x.mu.Unlock()
	if ended {
		cancel()
	}
}

// passOver mutes the servers that were asked before s and were silent for longer than the wait
// for a second one, so that the questions that follow need not wait for them, too.
func (x *exchange) passOver(s *upstream) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for other, asked := range x.tried {
		if other != s && !x.ended && x.failed[other] == nil && time.Since(asked) >= raceAfter {
			other.mute()
		}
	}
}

// fail notes that s will not answer, and turns to another server at once.
func (x *exchange) fail(s *upstream, err error) {
	x.mu.Lock()
	if x.ended {
		x.mu.Unlock()
		return
	}
	s.failures.Add(1)
	x.open--
	x.failed[s], x.last = err, s
	all := len(x.failed) == len(x.servers)
	if all {
		err = x.verdict(s, err)
	}
	open := x.open
	x.mu.Unlock()
	switch {
	case all:
		x.end(records{}, s, err)
	case open == 0:
		x.attempt()
	}
}

// verdict is err, of the server s, with what the others said that were asked. x.mu is held.
func (x *exchange) verdict(s *upstream, err error) error {
	for _, other := range x.servers {
		if _, asked := x.tried[other]; other == s || !asked {
			continue
		}
		why := x.failed[other]
		if why == nil {
			why = errTimeout
		}
		err = fmt.Errorf("%w; %v: %v", err, other, why)
	}
	return err
}

// end reports the outcome, the first time it is called.
func (x *exchange) end(found records, s *upstream, err error) {
	x.mu.Lock()
	if x.ended {
		x.mu.Unlock()
		return
	}
	x.ended = true
	if x.timer != nil {
		x.timer.Stop()
	}
	cancels := x.cancels
	x.cancels = nil
	x.mu.Unlock()
	for _, cancel := range cancels {
		cancel()
	}
	x.done(found, s, err)
}

// mixCase returns the name with letters of random case, which an answer has to repeat
// (draft-vixie-dnsext-dns0x20).
func mixCase(name string) string {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		if 'a' <= c && c <= 'z' && rand.Uint32()&1 == 0 {
			c -= 'a' - 'A'
		}
		b.WriteByte(c)
	}
	return b.String()
}
