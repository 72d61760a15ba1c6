//go:build unix

package main

import (
	"errors"
	"net"
	"syscall"
)

// listenPrivately makes sockets that their owner alone may connect to. The mask belongs
// to the process, so it must not be called while other files are made.
func listenPrivately(listen func() (net.Listener, error)) (net.Listener, error) {
	defer syscall.Umask(syscall.Umask(0o177))
	return listen()
}

// isRefusal reports whether err says that nobody listens. A program that is too busy to
// accept, or that belongs to somebody else, gives other errors.
func isRefusal(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// descriptors returns how many files this process may have open; 0 if that is unknown.
func descriptors() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int(min(uint64(limit.Cur), 1<<30))
}
