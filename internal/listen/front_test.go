package listen

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"hosier/proxy"
)

const signature2 = "\r\n\r\n\x00\r\nQUIT\n"

// The headers of HAProxy's proxy-protocol.txt. What follows one stays in the connection.
func TestProxyHeader(t *testing.T) {
	real := netip.MustParseAddrPort("10.0.0.1:5000")
	v4 := signature2 + "\x21\x11\x00\x0c\xc0\x00\x02\x07\x7f\x00\x00\x01\x10\xe1\x04\x38"
	for _, c := range []struct{ name, send, want string }{
		{"1/TCP4", "PROXY TCP4 192.0.2.7 127.0.0.1 4321 1080\r\n", "192.0.2.7:4321"},
		{"1/TCP6", "PROXY TCP6 2001:db8::7 ::1 4321 1080\r\n", "[2001:db8::7]:4321"},
		{"1/UNKNOWN", "PROXY UNKNOWN\r\n", real.String()},
		{"1/UNKNOWN with addresses", "PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", real.String()},
		{"1/longest", "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff1]:65535"},
		{"2/TCP4", v4, "192.0.2.7:4321"},
		{"2/with a TLV", signature2 + "\x21\x11\x00\x10\xc0\x00\x02\x07\x7f\x00\x00\x01\x10\xe1\x04\x38\x04\x00\x01\x00", "192.0.2.7:4321"},
		{"2/LOCAL", signature2 + "\x20\x00\x00\x00", real.String()},
		{"none", "\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50", ""},
		{"HTTP", "CONNECT a.test:80 HTTP/1.1\r\n\r\n", ""},
		{"1/no end", "PROXY TCP4 " + strings.Repeat("1", 200), ""},
		{"1/bad address", "PROXY TCP4 192.0.2.777 127.0.0.1 4321 1080\r\n", ""},
		{"1/bad port", "PROXY TCP4 192.0.2.7 127.0.0.1 70000 1080\r\n", ""},
		{"2/version 3", signature2 + "\x31\x11\x00\x0c" + v4[16:], ""},
		{"2/too long", signature2 + "\x21\x11\xff\xff" + strings.Repeat("x", 65535), ""},
		{"2/cut off", v4[:20], ""},
		{"cut off", "PRO", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, server := net.Pipe()
			defer server.Close()
			go func() {
				io.WriteString(client, c.send+"\x05rest")
				client.Close()
			}()
			f := &Front{ProxyFrom: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
			ses := &proxy.Session{Client: real}
			err := f.Identify(t.Context(), ses, server)
			if (err == nil) != (c.want != "") {
				t.Fatalf("error %v, want client %q", err, c.want)
			}
			if err != nil {
				return
			}
			if rest, _ := io.ReadAll(server); ses.Client.String() != c.want || string(rest) != "\x05rest" {
				t.Errorf("client %v, then %q", ses.Client, rest)
			}
		})
	}
}

// What is no header is found out at once, and not when the time for it is over.
func TestProxyHeaderMissing(t *testing.T) {
	for _, sent := range []string{"\x05\x01\x00", "\x04", "G", "PROXX", "PROXY\t", "\r\n\r\nx", "\x16\x03\x01"} {
		client, server := net.Pipe()
		go io.WriteString(client, sent) // and stays
		f := &Front{ProxyFrom: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
		ses := &proxy.Session{Client: netip.MustParseAddrPort("10.0.0.1:1")}
		server.SetDeadline(time.Now().Add(time.Minute))
		err := f.Identify(t.Context(), ses, server)
		if !errors.Is(err, ErrHeader) || !errors.Is(err, proxyproto.ErrNoProxyProtocol) {
			t.Errorf("%q: %v", sent, err)
		}
		client.Close()
		server.Close()
	}
}

// Who is not trusted to name clients is the client, whatever it sends.
func TestProxyHeaderUntrusted(t *testing.T) {
	f := &Front{ProxyFrom: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	ses := &proxy.Session{Client: netip.MustParseAddrPort("192.0.2.1:1")}
	if err := f.Identify(t.Context(), ses, server); err != nil || ses.Client.Port() != 1 {
		t.Errorf("%v, client %v", err, ses.Client)
	}
}

// A link-local peer has a zone, which no prefix has.
func TestProxyHeaderLinkLocal(t *testing.T) {
	f := &Front{ProxyFrom: []netip.Prefix{netip.MustParsePrefix("fe80::/10")}}
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	go io.WriteString(client, "PROXY TCP4 192.0.2.7 127.0.0.1 4321 1080\r\n")
	ses := &proxy.Session{Client: netip.MustParseAddrPort("[fe80::1%eth0]:1")}
	if err := f.Identify(t.Context(), ses, server); err != nil || ses.Client.String() != "192.0.2.7:4321" {
		t.Errorf("client %v, %v", ses.Client, err)
	}
}

func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.7 127.0.0.1 4321 1080\r\n"))
	f.Add([]byte(signature2 + "\x21\x11\x00\x0c\xc0\x00\x02\x07\x7f\x00\x00\x01\x10\xe1\x04\x38"))
	f.Add([]byte(signature2 + "\x20\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		head, err := cutHeader(bytes.NewReader(append(b, "after"...)))
		if err == nil && (len(head) > maxHeader2 || !bytes.HasPrefix(append(b, "after"...), head)) {
			t.Errorf("cut %q of %q", head, b)
		}
	})
}

// With an authority of its own a listener knows its clients by their certificates.
func TestTLS(t *testing.T) {
	authority := newAuthority(t)
	pool := x509.NewCertPool()
	pool.AddCert(authority.cert)
	other := newAuthority(t)
	f := &Front{TLS: &tls.Config{
		Certificates: []tls.Certificate{authority.issue(t, "proxy")},
		ClientCAs:    pool,
		ClientAuth:   tls.RequireAndVerifyClientCert,
	}}
	for name, c := range map[string]struct {
		certs []tls.Certificate
		want  string
		err   error
	}{
		"known":          {[]tls.Certificate{authority.issue(t, "ann")}, "ann", nil},
		"without a name": {[]tls.Certificate{authority.issue(t, "")}, "", ErrNoName},
		"of another":     {[]tls.Certificate{other.issue(t, "ann")}, "", ErrTLS},
		"none":           {nil, "", ErrNoCert},
	} {
		t.Run(name, func(t *testing.T) {
			raw, server := net.Pipe()
			defer raw.Close()
			defer server.Close()
			go func() {
				c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, Certificates: c.certs})
				c.Handshake()
				io.Copy(io.Discard, c)
			}()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			ses := &proxy.Session{}
			secure, err := f.Prepare(ctx, ses, server)
			if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) || ses.User != c.want {
				t.Errorf("user %q, %v, want %v", ses.User, err, c.err)
			}
			if _, ok := secure.(*tls.Conn); err == nil && !ok {
				t.Errorf("the client speaks on a %T", secure)
			}
		})
	}
}

// A client that does not speak TLS is known by its first byte.
func TestNotTLS(t *testing.T) {
	f := &Front{TLS: &tls.Config{}}
	for name, c := range map[string]struct {
		sent string
		want error
	}{
		"SOCKS5":  {"\x05", ErrNotTLS},
		"SOCKS4":  {"\x04", ErrNotTLS},
		"HTTP":    {"C", ErrNotTLS},
		"alert":   {"\x15", ErrNotTLS},
		"nothing": {"", io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			client, server := net.Pipe()
			defer client.Close()
			defer server.Close()
			go func() {
				if io.WriteString(client, c.sent); c.sent == "" { // and stays
					client.Close()
				}
			}()
			server.SetDeadline(time.Now().Add(time.Minute))
			if conn, err := f.Prepare(t.Context(), &proxy.Session{}, server); !errors.Is(err, c.want) || conn != nil {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a := authority{template, newKey(t)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a authority) issue(t *testing.T, name string) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
