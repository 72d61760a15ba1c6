package relay

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
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
// The relay gets the accepted end and the dialled one in turns.
func dialPairs(kind string, address func(testing.TB) string) func(testing.TB) (near, far net.Conn) {
	return func(t testing.TB) (near, far net.Conn) {
		t.Helper()
		l, err := net.Listen(kind, address(t))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		dialled, err := net.Dial(kind, l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		accepted, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if l.Addr().String()[len(l.Addr().String())-1]%2 == 0 {
			return dialled, accepted
		}
		return accepted, dialled
	}
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
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}
