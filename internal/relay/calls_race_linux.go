//go:build race

package relay

import "syscall"

// Package syscall tells the race detector that what was done before a write comes before
// what is done after a read. Programs and tests rely on it, knowing of no event loop.

func read(fd int32, b []byte) (int, error) { return transfer(syscall.Read, fd, b) }

func write(fd int32, b []byte) (int, error) { return transfer(syscall.Write, fd, b) }

func transfer(f func(int, []byte) (int, error), fd int32, b []byte) (int, error) {
	for {
		n, err := f(int(fd), b)
		if err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}
