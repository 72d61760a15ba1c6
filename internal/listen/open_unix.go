//go:build unix

package listen

import (
	"errors"
	"net"
	"syscall"
)

// Privately makes sockets that their owner alone may connect to. The mask belongs to the
// process: a file that is made meanwhile is for its owner alone, too.
func Privately(listen func() (net.Listener, error)) (net.Listener, error) {
	defer syscall.Umask(syscall.Umask(0o177))
	return listen()
}

// addressInUse is what the system says of an address that something listens on.
const addressInUse = syscall.EADDRINUSE

func closeOnExec(fd int) { syscall.CloseOnExec(fd) }

// isRefusal reports whether err says that nobody listens. A program that is too busy to
// accept, or that belongs to somebody else, gives other errors.
func isRefusal(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
