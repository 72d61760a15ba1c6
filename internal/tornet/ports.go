package tornet

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
)

// randomHost returns a loopback address for one network. Programs that listen
// on loopback choose 127.0.0.1, so a port of another address is seldom lost to
// one of them, or to another network.
func randomHost() string {
	return fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))
}

// portChooser returns n different TCP ports of host.
type portChooser func(host string, n int) ([]uint16, error)

// freePorts returns n different TCP ports of host that are free now. They are
// held until all are known, but nothing keeps them after that.
func freePorts(host string, n int) ([]uint16, error) {
	ports := make([]uint16, n)
	for i := range ports {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			return nil, fmt.Errorf("choose a port: %w", err)
		}
		defer l.Close()
		ports[i] = netip.MustParseAddrPort(l.Addr().String()).Port()
	}
	return ports, nil
}

// isFree reports whether a program could listen on the port now.
func isFree(host string, port uint16) bool {
	l, err := net.Listen("tcp", joinPort(host, port))
	if err != nil {
		return false
	}
	l.Close()
	return true
}

// joinPort returns host:port, with the brackets that an IPv6 address needs.
func joinPort(host string, port uint16) string {
	return net.JoinHostPort(host, fmt.Sprint(port))
}
