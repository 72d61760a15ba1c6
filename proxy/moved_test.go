package proxy_test

import (
	"io"
	"sync/atomic"
	"testing"
	"time"

	"hosier/egress"
	"hosier/internal/sockstest"
	"hosier/proxy"
)

// While connections come and go the totals never fall, and no byte is counted twice: they
// are never more than what was sent until then.
func TestMoved(t *testing.T) {
	const clients, message = 100, 1000
	w := sockstest.NewWorld(t)
	s := &proxy.Server{}
	address := sockstest.Serve(t, s, &egress.Direct{DNS: w.DNS.Addr})
	var sent atomic.Int64
	stop, looks := make(chan struct{}), make(chan int)
	go func() {
		n, up, down := 0, int64(0), int64(0)
		for ended := false; !ended; n++ {
			u, d := s.Moved()
			if most := sent.Load(); u < up || d < down || u > most || d > most {
				t.Errorf("after %d up and %d down: %d and %d, of %d that were sent", up, down, u, d, most)
				<-stop
				break
			}
			up, down = u, d
			select {
			case <-stop:
				ended = true
			default:
			}
		}
		looks <- n
	}()
	exchange := func() client {
		c := connect(t, address)
		sent.Add(message)
		c.send(join([]byte{5, 1, 0}, connect5("echo.test", w.Echo), make([]byte, message)))
		c.expect([]byte{5, 0, 5, 0, 0, 1, 127, 0, 0, 1})
		if _, err := io.CopyN(io.Discard, c, 2+message); err != nil {
			t.Errorf("what was sent did not come back: %v", err)
		}
		return c
	}
	for range clients - 1 {
		c := exchange()
		c.CloseWrite()
		c.expectEnd()
	}
	exchange() // stays open, and counts as well
	close(stop)
	if n := <-looks; n < 2 {
		t.Errorf("%d looks in all this time", n)
	}
	// The client may have a byte a moment before it is counted.
	const want = clients * message
	deadline := time.Now().Add(20 * time.Second)
	for up, down := s.Moved(); up != want || down != want; up, down = s.Moved() {
		if time.Now().After(deadline) {
			t.Fatalf("%d up and %d down, want %d each", up, down, want)
		}
		time.Sleep(time.Millisecond)
	}
}
