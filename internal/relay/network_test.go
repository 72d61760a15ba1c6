package relay

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	cryptorand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"math/rand/v2"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// network makes connected pairs: near goes to the relay, far stays with the test.
type network struct {
	name   string
	pair   func(t testing.TB) (near, far net.Conn)
	resets bool // far can reset, and notices a reset
}

func tcpNetwork() network {
	return network{name: "tcp", pair: dialPairs("tcp", func(testing.TB) string { return "127.0.0.1:0" }), resets: true}
}

func unixNetwork() network {
	return network{name: "unix", pair: dialPairs("unix", socketPath)}
}

func socketPath(t testing.TB) string { return filepath.Join(t.TempDir(), "s") }

// tlsNetwork has TLS over TCP.
func tlsNetwork() network {
	tcp := tcpNetwork()
	config := sync.OnceValue(selfSigned)
	return network{name: "tls", pair: func(t testing.TB) (near, far net.Conn) {
		n, f := tcp.pair(t)
		client := tls.Client(n, &tls.Config{InsecureSkipVerify: true})
		server := tls.Server(f, config())
		together(func() {
			if err := client.Handshake(); err != nil {
				t.Error(err)
			}
		}, func() {
			if err := server.Handshake(); err != nil {
				t.Error(err)
			}
		})
		return client, server
	}, resets: true}
}

// dialPairs returns a function that connects through a listener made for the pair.
func dialPairs(kind string, address func(testing.TB) string) func(testing.TB) (near, far net.Conn) {
	return func(t testing.TB) (near, far net.Conn) {
		t.Helper()
		l, err := net.Listen(kind, address(t))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return pairThrough(t, l)
	}
}

// pairThrough connects through l. The relay gets the accepted end or the dialled one.
func pairThrough(t testing.TB, l net.Listener) (near, far net.Conn) {
	t.Helper()
	dialled, err := net.Dial(l.Addr().Network(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if rand.IntN(2) == 0 {
		return dialled, accepted
	}
	return accepted, dialled
}

// crowdNetwork is tcpNetwork for many pairs: they share a listener until the test ends.
func crowdNetwork(t testing.TB) network {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	n := tcpNetwork()
	n.pair = func(t testing.TB) (near, far net.Conn) { return pairThrough(t, l) }
	return n
}

// shrink makes the kernel hold less for c, so that a slow reader is felt sooner.
func shrink(t testing.TB, c net.Conn) {
	t.Helper()
	if carried, ok := c.(*tls.Conn); ok {
		c = carried.NetConn()
	}
	buffers := c.(interface {
		SetReadBuffer(bytes int) error
		SetWriteBuffer(bytes int) error
	})
	if err := errors.Join(buffers.SetReadBuffer(64<<10), buffers.SetWriteBuffer(64<<10)); err != nil {
		t.Error(err)
	}
}

// reset ends c such that its peer sees a reset.
func reset(t testing.TB, c net.Conn) {
	t.Helper()
	if carried, ok := c.(*tls.Conn); ok {
		c = carried.NetConn()
	}
	if err := c.(*net.TCPConn).SetLinger(0); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func selfSigned() *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), cryptorand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(cryptorand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}
