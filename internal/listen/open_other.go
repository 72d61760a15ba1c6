//go:build !unix

package listen

import (
	"net"
	"syscall"
)

// addressInUse is Winsock's WSAEADDRINUSE.
const addressInUse = syscall.Errno(10048)

// Privately has no mask to set here.
func Privately(listen func() (net.Listener, error)) (net.Listener, error) { return listen() }

func closeOnExec(int) {}

func isRefusal(error) bool { return true }
