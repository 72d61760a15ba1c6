//go:build !race

package proxy_test

import (
	"context"
	"io"
	"net"
	"testing"

	"hosier/egress"
	"hosier/internal/sockstest"
	"hosier/proxy"
)

// What a connection leaves to the garbage collector, from accept to its end: SOCKS5 by
// address, a byte there and back. What the test's own two ends take is subtracted.
// The race detector allocates on its own, and has a sync.Pool forget by chance.
func TestAllocations(t *testing.T) {
	w := sockstest.NewWorld(t)
	target := (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(w.Echo)}).String()
	request := []byte{5, 1, 0, 1, 127, 0, 0, 1, byte(w.Echo >> 8), byte(w.Echo)}
	buffer := make([]byte, 10)
	visit := func(address string, messages ...[]byte) {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for _, m := range messages {
			c.Write(m)
			want := len(m)
			if len(m) == 3 {
				want = 2 // the greeting
			}
			if _, err := io.ReadFull(c, buffer[:want]); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, test := range []struct {
		name   string
		inLoop bool
		most   float64
	}{
		{"in an event loop", true, 14},
		{"on a goroutine", false, 64},
	} {
		t.Run(test.name, func(t *testing.T) {
			ended := make(chan struct{}, 1)
			s := &proxy.Server{
				NonBlocking: test.inLoop,
				Policy:      proxy.Policy{Route: func(context.Context, *proxy.Session) (proxy.Route, error) { return proxy.Route{Egress: direct}, nil }},
				Closed:      func(*proxy.Session) { ended <- struct{}{} },
			}
			defer s.Close()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			address := l.Addr().String()
			go s.Serve(l)
			const runs = 200
			through := testing.AllocsPerRun(runs, func() {
				visit(address, []byte{5, 1, 0}, request, []byte{1})
				<-ended
			})
			past := testing.AllocsPerRun(runs, func() { visit(target, []byte{1}) })
			n := through - past
			t.Logf("%v allocations a connection (%v through the server, %v past it)", n, through, past)
			if n > test.most {
				t.Errorf("%v allocations a connection, want at most %v", n, test.most)
			}
		})
	}
}

var direct = new(egress.Direct)
