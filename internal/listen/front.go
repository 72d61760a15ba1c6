package listen

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"

	"github.com/pires/go-proxyproto"

	"hosier/proxy"
)

// Front is what stands between a listener and the first byte of a dialect. The zero Front
// is nothing. It may serve many connections at once, and must not change meanwhile.
type Front struct {
	// ProxyFrom are the peers whose connections begin with a PROXY header, version 1 or
	// 2, that says who the client is. They must send one: to guess would let a client
	// behind one of them write its own. All others are taken as they are.
	ProxyFrom []netip.Prefix

	// TLS secures the connection, after the PROXY header. With its ClientCAs a client
	// must have a certificate, whose common name is its user.
	TLS *tls.Config

	// PeerUsers makes the owner of the program at the other end of a Unix socket the
	// user: by login name, or "uid:N" where there is none.
	PeerUsers bool
}

// Why a connection came to nothing before its first byte counted. What the system or the
// client said to it is wrapped beside.
var (
	ErrHeader = errors.New("listen: no PROXY header, which peers in proxy-protocol-from must send")
	ErrPeer   = errors.New("listen: the system does not tell the user of a Unix socket's peer")
	ErrTLS    = errors.New("listen: TLS handshake failed")
	ErrNoName = errors.New("listen: client certificate has no common name")
)

// Prepare is for [proxy.Policy]. Its errors wrap [ErrHeader], [ErrPeer], [ErrTLS] or
// [ErrNoName].
func (f *Front) Prepare(ctx context.Context, ses *proxy.Session, c net.Conn) (net.Conn, error) {
	if slices.ContainsFunc(f.ProxyFrom, func(p netip.Prefix) bool { return p.Contains(ses.Client.Addr().WithZone("")) }) {
		client, err := readHeader(c)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrHeader, err)
		}
		if client.IsValid() {
			ses.Client = client
		}
	}
	if u, ok := c.(*net.UnixConn); ok && f.PeerUsers {
		user, err := peerUser(u)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrPeer, err)
		}
		ses.User = user
	}
	if f.TLS == nil {
		return c, nil
	}
	secure := tls.Server(proxy.Leave(c), f.TLS) // which has much to compute
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTLS, err)
	}
	if certs := secure.ConnectionState().PeerCertificates; len(certs) > 0 {
		if ses.User = certs[0].Subject.CommonName; ses.User == "" {
			return nil, ErrNoName
		}
	}
	return secure, nil
}

// The lengths of a PROXY header: HAProxy's proxy-protocol.txt, sections 2.1 and 2.2.
const (
	maxLine    = 107
	fixed2     = 16
	maxHeader2 = fixed2 + 2048 // of its own 65 551; nobody sends more than some hundred bytes
)

// readHeader reads a PROXY header and not a byte more, so that the bare connection can be
// relayed. The address is invalid if the peer speaks for itself.
func readHeader(c net.Conn) (client netip.AddrPort, err error) {
	b, err := cutHeader(c)
	if err != nil {
		return client, err
	}
	h, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(b)))
	if err != nil {
		return client, err
	}
	if h.Command.IsLocal() {
		return client, nil
	}
	source, _, ok := h.TCPAddrs()
	if !ok { // UNKNOWN, or a family that is no client of ours
		return client, nil
	}
	ap := source.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port()), nil
}

// signature1 begins a header of version 1.
var signature1 = []byte("PROXY ")

// cutHeader returns the header. It gives up at the first byte that no header has there, and so
// does not wait for the rest of what is none.
func cutHeader(r io.Reader) ([]byte, error) {
	b := make([]byte, 0, maxHeader2)
	for len(b) < len(proxyproto.SIGV2) {
		n, err := r.Read(b[len(b):len(proxyproto.SIGV2)])
		if b = b[:len(b)+n]; !begins(signature1, b) && !begins(proxyproto.SIGV2, b) {
			return nil, proxyproto.ErrNoProxyProtocol
		}
		if err != nil && len(b) < len(proxyproto.SIGV2) {
			return nil, err
		}
	}
	if bytes.HasPrefix(b, signature1) {
		return cutLine(r, b)
	}
	if _, err := io.ReadFull(r, b[len(b):fixed2]); err != nil {
		return nil, err
	}
	n := fixed2 + int(b[:fixed2][14])<<8 + int(b[:fixed2][15])
	if n > maxHeader2 {
		return nil, fmt.Errorf("header of %d bytes", n)
	}
	_, err := io.ReadFull(r, b[fixed2:n])
	return b[:n], err
}

// begins tells whether b has the signature, as far as both go.
func begins(signature, b []byte) bool {
	n := min(len(signature), len(b))
	return bytes.Equal(signature[:n], b[:n])
}

func cutLine(r io.Reader, b []byte) ([]byte, error) {
	for !bytes.HasSuffix(b, []byte("\n")) {
		if len(b) == maxLine {
			return nil, proxyproto.ErrVersion1HeaderTooLong
		}
		b = b[:len(b)+1]
		if _, err := io.ReadFull(r, b[len(b)-1:]); err != nil {
			return nil, err
		}
	}
	return b, nil
}
