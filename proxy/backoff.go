package proxy

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"syscall"
	"time"
)

// backoff spaces the attempts to accept while the system is short of something. A
// waiting connection keeps the listener ready, so accepting again at once would spin.
type backoff struct {
	log      *slog.Logger
	listener string

	mu    sync.Mutex // where several accept from the listener
	delay time.Duration
	last  time.Time // when there was a shortage
}

const (
	shortestPause = 5 * time.Millisecond
	longestPause  = time.Second
	// A shortage is over when accepting has gone well for so long. Where connections come
	// and go at the limit, it goes well for moments.
	calm = time.Minute
)

// isShortage reports whether accepting may succeed later: this process or the system
// has run out of descriptors or memory, or the client was gone before it was accepted.
func isShortage(err error) bool {
	for _, e := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// wait pauses, and says so once each time that a shortage begins.
func (b *backoff) wait(ctx context.Context, err error) {
	timer := time.NewTimer(b.begin(err))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// begin returns how long to pause.
func (b *backoff) begin(err error) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !errors.Is(err, syscall.ECONNABORTED) {
		now := time.Now()
		if now.Sub(b.last) >= calm {
			b.log.Warn("accepting pauses until connections end: raise the limit of open files (ulimit -n), or lower --max-conns",
				"listener", b.listener, "error", err)
		}
		b.last = now
	}
	delay := max(b.delay, shortestPause)
	b.delay = min(2*delay, longestPause)
	return delay
}

func (b *backoff) over() {
	b.mu.Lock()
	b.delay = 0
	b.mu.Unlock()
}
