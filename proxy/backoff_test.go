package proxy

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestBackoff drives the pauses between attempts to accept, in a time of its own.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		b := backoff{log: slog.New(slog.NewTextHandler(&log, nil)), listener: "here"}
		short := &net.OpError{Op: "accept", Err: syscall.EMFILE}
		wait := func(err error, want time.Duration) {
			t.Helper()
			start := time.Now()
			b.wait(t.Context(), err)
			if got := time.Since(start); got != want {
				t.Errorf("paused %v, want %v", got, want)
			}
		}
		said := func(want int) {
			t.Helper()
			if got := strings.Count(log.String(), "accepting pauses"); got != want {
				t.Errorf("said %d times that accepting pauses, want %d:\n%s", got, want, log.String())
			}
		}

		wait(syscall.ECONNABORTED, 5*time.Millisecond) // a client that left is no shortage
		b.over()
		said(0)

		for _, ms := range []time.Duration{5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000} {
			wait(short, ms*time.Millisecond)
		}
		said(1)

		// Connections come and go at the limit.
		for range 100 {
			b.over()
			wait(short, 5*time.Millisecond)
		}
		said(1)

		b.over()
		time.Sleep(calm)
		wait(short, 5*time.Millisecond)
		said(2)
	})
}

func TestIsShortage(t *testing.T) {
	for err, want := range map[error]bool{
		syscall.EMFILE: true, syscall.ENFILE: true, syscall.ENOBUFS: true, syscall.ENOMEM: true, syscall.ECONNABORTED: true,
		net.ErrClosed: false, syscall.EINVAL: false, errors.New("other"): false,
	} {
		if got := isShortage(&net.OpError{Op: "accept", Err: err}); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
}
