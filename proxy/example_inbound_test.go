package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net"

	"hosier/egress"
	"hosier/proxy"
	"hosier/socks"
)

// lineClient is a client of an inbound of one's own, whose protocol is the line "host:port" and
// the answer "OK" or "FAILED".
type lineClient struct {
	conn    net.Conn
	in      *bufio.Reader
	request *socks.Request
}

func (c *lineClient) Request() *socks.Request { return c.request }

func (c *lineClient) Grant(socks.Addr) (net.Conn, []byte, error) {
	early, _ := c.in.Peek(c.in.Buffered())
	if _, err := fmt.Fprintln(c.conn, "OK"); err != nil {
		c.conn.Close()
		return nil, nil, err
	}
	return c.conn, early, nil
}

func (c *lineClient) Refuse(s socks.Status, _ error) {
	fmt.Fprintln(c.conn, "FAILED:", s)
	c.conn.Close()
}

func serveLine(srv *proxy.Server, conn net.Conn) {
	in := bufio.NewReaderSize(conn, 512)
	line, err := in.ReadSlice('\n')
	if err != nil {
		conn.Close()
		return
	}
	target, err := socks.ParseAddr(string(line[:len(line)-1]))
	if err != nil {
		conn.Close()
		return
	}
	client := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
	request := &socks.Request{Command: socks.Connect, Addr: target, Client: client, Listener: "line"}
	srv.ServeRequest(context.Background(), &lineClient{conn, in, request})
}

// An inbound of one's own: whatever its clients speak, policy, limits, egress and relay are
// those of the SOCKS port.
func ExampleServer_ServeRequest() {
	echo := listen(func(_ *proxy.Server, c net.Conn) { io.Copy(c, c); c.Close() }, nil)
	defer echo.Close()
	srv := &proxy.Server{Policy: proxy.Policy{
		Route: func(_ context.Context, ses *proxy.Session) (proxy.Route, error) {
			if ses.Request.Addr.Name != "" {
				return proxy.Route{}, fmt.Errorf("only addresses: %w", socks.NotAllowed)
			}
			return proxy.Route{Egress: &egress.Direct{}}, nil
		},
	}}
	defer srv.Close()
	lines := listen(serveLine, srv)
	defer lines.Close()

	for _, target := range []string{echo.Addr().String(), "mail.example:25"} {
		c, err := net.Dial("tcp", lines.Addr().String())
		if err != nil {
			log.Fatal(err)
		}
		fmt.Fprintf(c, "%s\nhello\n", target)
		c.(*net.TCPConn).CloseWrite()
		answer, _ := io.ReadAll(c)
		fmt.Printf("%s", answer)
		c.Close()
	}
	// Output:
	// OK
	// hello
	// FAILED: not allowed by ruleset
}

func listen(serve func(*proxy.Server, net.Conn), srv *proxy.Server) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(srv, c)
		}
	}()
	return l
}
