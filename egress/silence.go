package egress

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"hosier/socks"
)

// missedLimit is how many requests in a row may stay without an answer before that is
// taken for the proxy's own failure.
const missedLimit = 3

// silence notes the requests that a proxy has left without an answer since it last gave
// one: a proxy that accepts connections and then hangs is not told from a slow target by
// a single request. The zero value is ready, and safe for concurrent use.
type silence struct {
	mu     sync.Mutex
	missed map[string]bool // at most missedLimit
}

// watch calls ask with r's context and returns its error. A request counts as missed if
// it had no answer when its time was over, or when its client left after proxyTimeout.
// From the third in a row on it is a *socks.ProxyError, and a request waits no longer
// than proxyTimeout until the proxy answers again.
//
// A proxy that is greeted has shown that it lives when it gets the request, and then
// requests for the same host count once: that host may be the dead one.
func (s *silence) watch(ctx context.Context, proxy string, r *socks.Request, greeted bool, ask func(context.Context) error) error {
	start := time.Now()
	limited := ctx
	if s.suspect() {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, proxyTimeout)
		defer cancel()
	}
	err := ask(limited)
	failure := (*socks.ProxyError)(nil)
	switch over := limited.Err(); {
	case err == nil, isAnswer(err):
		s.clear()
	case errors.As(err, &failure):
		if failure.Asked { // it said something, or hung up
			s.clear()
		}
	case over == nil:
	case errors.Is(over, context.Canceled):
		if time.Since(start) >= proxyTimeout {
			s.miss(r, greeted)
		}
	default:
		if s.miss(r, greeted) {
			return &socks.ProxyError{Proxy: proxy, Asked: true, Err: fmt.Errorf("no answer to %d requests in a row: %w", missedLimit, over)}
		}
	}
	return err
}

func (s *silence) suspect() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.missed) >= missedLimit
}

func (s *silence) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.missed)
}

// miss reports whether that was one too many.
func (s *silence) miss(r *socks.Request, greeted bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.missed) >= missedLimit {
		return true
	}
	key := r.Addr.Host()
	if !greeted {
		key = strconv.Itoa(len(s.missed))
	}
	if s.missed == nil {
		s.missed = map[string]bool{}
	}
	s.missed[key] = true
	return len(s.missed) >= missedLimit
}

// isAnswer reports whether err is what a proxy replied to a request, or a member of a
// Failover found out about its target.
func isAnswer(err error) bool {
	var (
		status socks.Status
		format *socks.FormatError
	)
	return errors.As(err, &status) && !errors.As(err, &format) && !errors.Is(err, errOnion) && !isBroken(err)
}

// isBroken reports whether err is about the egress itself.
func isBroken(err error) bool {
	proxy := (*socks.ProxyError)(nil)
	return errors.As(err, &proxy)
}
