package telemetry

import (
	"errors"
	"io"
	"strings"
	"sync"
	"syscall"

	"hosier/proxy"
	"hosier/socks"
)

// failed reports whether the request was refused or failed, or the connection made none
// though the client wanted something of a proxy. A connection has not failed if it got
// the page or its options, or ended before it sent anything, as those do that only check
// whether the port is open.
func failed(ses *proxy.Session) bool {
	if ses.Request != nil {
		return ses.Status != socks.Succeeded
	}
	for _, end := range []error{proxy.ErrPage, proxy.ErrOptions, io.EOF, syscall.ECONNRESET} {
		if errors.Is(ses.Err, end) {
			return false
		}
	}
	return true
}

// cutShort reports whether the target or hosier (by a limit or on request) ended a
// connection that was being served. A client that breaks off does not count: most have
// seen enough, and browsers do it all the time.
func cutShort(ses *proxy.Session) bool {
	return ses.Err != nil && !failed(ses) && ses.Request != nil && !errors.Is(ses.Err, proxy.ErrClientLeft)
}

// maxFailures is how many failures are kept.
const maxFailures = 200

// failures holds the last ones, already redacted: what is hidden is not kept.
type failures struct {
	mu     sync.Mutex
	reveal bool // as in the Redactor
	ring   []Entry
	next   int // index of the next one, once ring is full
}

// add keeps e, which a Redactor with this Reveal made.
func (f *failures) add(e Entry, reveal bool) {
	// The strings may be parts of longer ones, such as a user and password.
	e.User, e.Target, e.Reason = strings.Clone(e.User), strings.Clone(e.Target), strings.Clone(e.Reason)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case reveal && !f.reveal: // redaction was turned on since
	case len(f.ring) < maxFailures:
		f.ring = append(f.ring, e)
	default:
		f.ring[f.next] = e
		f.next = (f.next + 1) % maxFailures
	}
}

// setReveal discards what was kept unredacted when redaction is turned on.
func (f *failures) setReveal(reveal bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.reveal && !reveal {
		f.ring, f.next = nil, 0
	}
	f.reveal = reveal
}

// last returns the failures, the latest first.
func (f *failures) last() []Entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]Entry, 0, len(f.ring))
	for i := range f.ring {
		all = append(all, f.ring[(f.next+len(f.ring)-1-i)%len(f.ring)])
	}
	return all
}
