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
	ErrNotTLS = errors.New("listen: client does not speak TLS, which this listener wants")
	ErrTLS    = errors.New("listen: TLS handshake failed")
	ErrNoCert = errors.New("listen: the client showed no certificate")
	ErrNoName = errors.New("listen: client certificate has no common name")
)

// Identify is for [proxy.Policy]. Its errors wrap [ErrHeader] or [ErrPeer].
func (f *Front) Identify(_ context.Context, ses *proxy.Session, c net.Conn) error {
	if slices.ContainsFunc(f.ProxyFrom, func(p netip.Prefix) bool { return p.Contains(ses.Client.Addr().WithZone("")) }) {
		client, err := readHeader(c)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrHeader, err)
		}
		if client.IsValid() {
			ses.Client = client
		}
	}
	if u, ok := c.(*net.UnixConn); ok && f.PeerUsers {
		user, err := peerUser(u)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrPeer, err)
		}
		ses.User = user
	}
	return nil
}

// tlsHandshake is the first byte of a TLS client, and of no dialect: the type of its first
// record, RFC 8446 section 5.1.
const tlsHandshake = 0x16

// Prepare is for [proxy.Policy], where there is TLS. Its errors wrap [ErrNotTLS], [ErrTLS],
// [ErrNoCert] or [ErrNoName], or are those of the connection before its first byte.
func (f *Front) Prepare(ctx context.Context, ses *proxy.Session, c net.Conn) (net.Conn, error) {
	first := make([]byte, 1) // a TLS server would wait for the four after it as well
	if _, err := io.ReadFull(c, first); err != nil {
		return nil, err
	}
	if first[0] != tlsHandshake {
		return nil, ErrNotTLS
	}
	secure := tls.Server(&begun{c, first}, f.TLS)
	if err := secure.HandshakeContext(ctx); err != nil {
		if f.TLS.ClientAuth == tls.RequireAndVerifyClientCert && err.Error() == noCertificate {
			return nil, ErrNoCert
		}
		return nil, fmt.Errorf("%w: %w", ErrTLS, err)
	}
	if certs := secure.ConnectionState().PeerCertificates; len(certs) > 0 {
		if ses.User = certs[0].Subject.CommonName; ses.User == "" {
			return nil, ErrNoName
		}
	}
	return secure, nil
}

// noCertificate is the text of crypto/tls, which has no type for it. To ask for a certificate
// without requiring one would have a type here, but for the client another alert than
// certificate_required.
const noCertificate = "tls: client didn't provide a certificate"

// begun is a connection of which a part was read already.
type begun struct {
	net.Conn
	read []byte
}

// NetConn returns the connection, without what was read.
func (b *begun) NetConn() net.Conn { return b.Conn }

func (b *begun) Read(p []byte) (int, error) {
	if len(b.read) == 0 {
		return b.Conn.Read(p)
	}
	n := copy(p, b.read)
	b.read = b.read[n:]
	return n, nil
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

// begins reports whether b has the signature, as far as both go.
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
