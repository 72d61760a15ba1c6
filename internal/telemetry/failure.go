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

// failed reports whether a connection came to nothing: its request was refused or failed,
// or there was none though the client wanted something of a proxy. It did not if it got the
// page or its options, or left before it had said anything, as those do that look whether
// the port is open.
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

// cutShort reports whether a connection that was served ended before its target wished:
// that broke it off, or hosier ended it, by a limit or because somebody said so. A client
// that breaks off has mostly seen enough; browsers do it all the time.
func cutShort(ses *proxy.Session) bool {
	return ses.Err != nil && !failed(ses) && ses.Request != nil && !errors.Is(ses.Err, proxy.ErrClientLeft)
}

// maxFailures is how many are kept.
const maxFailures = 200

// failures are the last ones. They are in the words in which they may be told: what is
// hidden is not kept.
type failures struct {
	mu     sync.Mutex
	reveal bool // as in the Redactor
	ring   []Entry
	next   int // the place of the next one, once ring is full
}

// add keeps e, which is worded by a Redactor of this Reveal.
func (f *failures) add(e Entry, reveal bool) {
	// They may be parts of longer texts, such as a password with a user before it.
	e.User, e.Target, e.Reason = strings.Clone(e.User), strings.Clone(e.Target), strings.Clone(e.Reason)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case reveal && !f.reveal: // they are to be hidden since
	case len(f.ring) < maxFailures:
		f.ring = append(f.ring, e)
	default:
		f.ring[f.next] = e
		f.next = (f.next + 1) % maxFailures
	}
}

// tell forgets what was revealed and is to be hidden from now on.
func (f *failures) tell(reveal bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.reveal && !reveal {
		f.ring, f.next = nil, 0
	}
	f.reveal = reveal
}

// last returns them, the latest first.
func (f *failures) last() []Entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]Entry, 0, len(f.ring))
	for i := range f.ring {
		all = append(all, f.ring[(f.next+len(f.ring)-1-i)%len(f.ring)])
	}
	return all
}
