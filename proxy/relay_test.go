package proxy_test

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"hosier/egress"
	"hosier/internal/sockstest"
	"hosier/proxy"
	"hosier/socks"
)

// While connections come and go the totals never fall, and no byte is counted twice: they
// are never more than what was sent until then.
func TestMoved(t *testing.T) {
	const clients, message = 100, 1000
	w := sockstest.NewWorld(t)
	s := &proxy.Server{}
	address := sockstest.Serve(t, s, w.Direct())
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
	deadline := time.Now().Add(time.Minute)
	for up, down := s.Moved(); up != want || down != want; up, down = s.Moved() {
		if time.Now().After(deadline) {
			t.Fatalf("%d up and %d down, want %d each", up, down, want)
		}
		time.Sleep(time.Millisecond)
	}
}

// Who broke a connection off can be told: a client, which may have had what it wanted, or
// the target.
func TestClientLeft(t *testing.T) {
	target, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { target.Close() })
	closed := make(chan *proxy.Session, 1)
	s := &proxy.Server{Closed: func(ses *proxy.Session) { closed <- ses }}
	address := sockstest.Serve(t, s, &egress.Direct{})
	for _, byClient := range []bool{true, false} {
		c := connect(t, address)
		c.send(join([]byte{5, 1, 0}, connect5("127.0.0.1", target.Addr().(*net.TCPAddr).AddrPort().Port())))
		c.expect([]byte{5, 0, 5, 0, 0, 1, 127, 0, 0, 1})
		far, err := target.Accept()
		if err != nil {
			t.Fatal(err)
		}
		breaks, stays := far, net.Conn(c)
		if byClient {
			breaks, stays = c, far
		}
		breaks.(interface{ SetLinger(int) error }).SetLinger(0)
		breaks.Close()
		ses := <-closed
		if !errors.Is(ses.Err, syscall.ECONNRESET) || errors.Is(ses.Err, proxy.ErrClientLeft) != byClient || ses.Status != socks.Succeeded {
			t.Errorf("broken off by the client: %v; got %v, status %v", byClient, ses.Err, ses.Status)
		}
		stays.Close()
	}
}
