package proxy_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"hosier/egress"
	"hosier/internal/sockstest"
	"hosier/proxy"
)

// A relay that the server ends is reset on the side of the target also where an HTTP proxy has
// sent the first bytes of the target along with its answer.
func TestEndThroughHTTPProxy(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ended := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		br := bufio.NewReader(c)
		if _, err := http.ReadRequest(br); err != nil {
			ended <- err
			return
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nhello")
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, err = br.ReadByte()
		ended <- err
	}()
	s := new(proxy.Server)
	c := connect(t, sockstest.Serve(t, s, &egress.HTTP{Proxy: l.Addr().String()}))
	c.send(join([]byte{5, 1, 0}, connect5("x.test", 1)))
	c.expect(join([]byte{5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0}, []byte("hello")))
	s.End(nil, func(*proxy.Session) bool { return true })
	if err := <-ended; err == nil || err == io.EOF || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the side of the target got %v, want a reset", err)
	}
}
