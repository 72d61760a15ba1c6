package load

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"time"
)

// Forward is the yardstick: it joins each connection to the next of the targets with two
// plain io.Copy and knows no protocol, which is the least that a server written in Go
// without further thought costs. It returns when l is closed, and leaves what is open.
func Forward(l net.Listener, targets []netip.AddrPort) error {
	for i := 0; ; i++ {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil { // of descriptors there may soon be more
			time.Sleep(tickEvery)
			continue
		}
		go forward(c, targets[i/perAddress%len(targets)])
	}
}

func forward(c net.Conn, target netip.AddrPort) {
	defer c.Close()
	out, err := net.Dial("tcp", target.String())
	if err != nil {
		return
	}
	defer out.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		pass(c, out)
	}()
	pass(out, c)
	<-done
}

// pass copies until an end, and passes that on.
func pass(to, from net.Conn) {
	_, err := io.Copy(to, from)
	tcp, ok := to.(*net.TCPConn)
	if err != nil || !ok {
		to.Close()
		from.Close()
		return
	}
	tcp.CloseWrite()
}
