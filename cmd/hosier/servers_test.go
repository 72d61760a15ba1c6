package main

import (
	"context"
	"net"
	"testing"

	"hosier/socks"
)

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
