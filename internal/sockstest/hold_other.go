//go:build !unix

package sockstest

import "net"

// heldPort is a port that was free a moment ago.
type heldPort struct{ port uint16 }

func holdPort() (heldPort, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return heldPort{}, err
	}
	defer l.Close()
	return heldPort{l.Addr().(*net.TCPAddr).AddrPort().Port()}, nil
}

func (heldPort) close() {}
