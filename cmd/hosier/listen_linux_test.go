package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestBusySocket is about a Unix socket whose owner is alive but too busy to accept: it is
// not taken over.
func TestBusySocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "busy.sock")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	full := false
	for range 100 { // so many more than wait in its queue
		c, err := dial("unix:" + path)
		if full = err != nil; full {
			break
		}
		defer c.Close()
	}
	if !full {
		t.Fatal("the queue of the socket takes 100 connections")
	}
	got := runProgram(t, "", "hosier", "serve", "--listen", "unix:"+path)
	if got.code != exitFailed || !strings.Contains(got.stderr, "busy.sock: ") {
		t.Errorf("exit code %d, it said %q", got.code, got.stderr)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the socket: %v", err)
	}
}
