package main

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"

	"hosier/socks"
)

// listenTCP serves each connection to a port of 127.0.0.1 until the test ends, and
// returns the address.
func listenTCP(tb testing.TB, serve func(net.Conn)) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	serveTCP(tb, l, serve)
	return l.Addr().String()
}

func serveTCP(tb testing.TB, l net.Listener, serve func(net.Conn)) {
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
}

func echoAll(c net.Conn) { io.Copy(c, c) }

// connectThrough returns a connection to the target through the SOCKS proxy.
func connectThrough(tb testing.TB, proxy, target string) net.Conn {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	c, err := (&socks.Dialer{Proxy: proxy}).DialContext(ctx, "tcp", target)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return c
}
