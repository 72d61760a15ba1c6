package proxy

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// backoff spaces the attempts to accept while these fail. A connection that waits keeps the
// listener ready, so accepting again at once would spin.
type backoff struct {
	log      *slog.Logger
	listener string

	mu    sync.Mutex // where several accept from the listener
	delay time.Duration
	last  map[syscall.Errno]time.Time // when accepting last failed so
}

const (
	shortestPause = 5 * time.Millisecond
	longestPause  = time.Second
	// A shortage is over when accepting has gone well for so long. Where connections come
	// and go at the limit, it goes well for moments.
	calm = time.Minute
)

// endsListener reports whether accepting cannot succeed any more after err: the listener is
// closed, or no listener, or of a kind of its own. All else that the system answers costs
// the one connection, or is a shortage that will pass: accept(2) passes on what the network
// or a filter did to the new connection, and after it the poller may have no room for it.
func endsListener(err error) bool {
	errno := syscall.Errno(0)
	if !errors.As(err, &errno) {
		return true
	}
	call := (*os.SyscallError)(nil)
	ofConnection := errors.As(err, &call) && !strings.HasPrefix(call.Syscall, "accept") // such as epoll_ctl
	return isNoListener(errno) && !ofConnection
}

// wait pauses, and logs the cause once each time that failures of one kind begin.
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
	errno := syscall.Errno(0)
	errors.As(err, &errno)
	if errno != syscall.ECONNABORTED { // the client was gone before it was accepted
		b.warn(errno, err)
	}
	delay := max(b.delay, shortestPause)
	b.delay = min(2*delay, longestPause)
	return delay
}

func (b *backoff) warn(errno syscall.Errno, err error) {
	now := time.Now()
	if last, ok := b.last[errno]; !ok || now.Sub(last) >= calm {
		if fix := fixOf(errno); fix != "" {
			b.log.Warn("accepting pauses until connections end: "+fix, "listener", b.listener, "error", err)
		} else {
			b.log.Warn("a connection could not be accepted, and the listener goes on", "listener", b.listener, "error", err)
		}
	}
	if b.last == nil {
		b.last = make(map[syscall.Errno]time.Time)
	}
	b.last[errno] = now
}

func (b *backoff) over() {
	b.mu.Lock()
	b.delay = 0
	b.mu.Unlock()
}
