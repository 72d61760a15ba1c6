// Package tcptest is for tests: servers that end with them.
package tcptest

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
)

// Listen serves each connection to a port of 127.0.0.1 until the test ends, and returns the
// address.
func Listen(tb testing.TB, serve func(net.Conn)) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	return Serve(tb, l, serve)
}

// Serve is Listen on a listener, which it closes. When the test ends, it closes the connections
// that are open, and waits for serve to return.
func Serve(tb testing.TB, l net.Listener, serve func(net.Conn)) string {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				defer context.AfterFunc(ctx, func() { c.Close() })()
				serve(c)
			})
		}
	})
	tb.Cleanup(func() {
		l.Close()
		cancel()
		all.Wait()
	})
	return l.Addr().String()
}

// Echo sends back what it receives, and the end after it.
func Echo(c net.Conn) {
	io.Copy(c, c)
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
}
