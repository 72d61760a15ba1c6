//go:build !unix

package listen

import "net"

// Privately has no mask to set here.
func Privately(listen func() (net.Listener, error)) (net.Listener, error) { return listen() }

func closeOnExec(int) {}

func isRefusal(error) bool { return true }
