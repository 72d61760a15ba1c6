//go:build !unix

package main

import "net"

func listenPrivately(listen func() (net.Listener, error)) (net.Listener, error) { return listen() }

func isRefusal(error) bool { return true }

func descriptors() int { return 0 }
