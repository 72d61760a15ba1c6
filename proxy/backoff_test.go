package proxy

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"os"
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

// What the poller or accept(2) says of one connection does not end the listener.
func TestEndsListener(t *testing.T) {
	for err, want := range map[error]bool{
		syscall.EMFILE: false, syscall.ENFILE: false, syscall.ENOBUFS: false, syscall.ENOMEM: false, syscall.ENOSPC: false,
		syscall.ECONNABORTED: false, syscall.EPERM: false, syscall.EPROTO: false, syscall.ETIMEDOUT: false,
		syscall.ENETDOWN: false, syscall.ENETUNREACH: false, syscall.EHOSTDOWN: false, syscall.EHOSTUNREACH: false,
		syscall.ENOPROTOOPT: false, syscall.EOPNOTSUPP: false,
		syscall.EBADF: true, syscall.EINVAL: true, syscall.ENOTSOCK: true,
		net.ErrClosed: true, errors.New("other"): true,
	} {
		if got := endsListener(&net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", err)}); got != want {
			t.Errorf("accept4: %v: %v, want %v", err, got, want)
		}
		if got := endsListener(&net.OpError{Op: "accept", Err: err}); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
		errno := syscall.Errno(0)
		want = want && !errors.As(err, &errno)
		if got := endsListener(&net.OpError{Op: "accept", Err: os.NewSyscallError("epoll_ctl", err)}); got != want {
			t.Errorf("epoll_ctl: %v: %v, want %v", err, got, want)
		}
	}
}

// Each kind of failure is reported once, and names what to change if that helps.
func TestAcceptFailuresInLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		b := backoff{log: slog.New(slog.NewTextHandler(&log, nil)), listener: "here"}
		for range 100 {
			for _, err := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOSPC, syscall.ENOBUFS, syscall.EPERM, syscall.EPROTO} {
				b.wait(t.Context(), os.NewSyscallError("accept4", err))
				b.over()
			}
		}
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		for i, want := range []string{"ulimit -n", "fs.file-max", "fs.epoll.max_user_watches", "net.ipv4.tcp_mem", "goes on", "goes on"} {
			if i >= len(lines) || !strings.Contains(lines[i], want) {
				t.Errorf("no line %d with %q", i, want)
			}
		}
		if len(lines) != 6 {
			t.Errorf("%d lines, want one of each kind:\n%s", len(lines), log.String())
		}
	})
}
