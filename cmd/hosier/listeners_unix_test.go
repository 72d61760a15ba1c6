//go:build unix

package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"hosier/internal/tcptest"
)

// startConfig runs hosier with a file, whose DIR is a directory of the test, and returns
// it with its listeners in the order of the file.
func startConfig(t *testing.T, dir, text string, listeners int) *process {
	t.Helper()
	file := filepath.Join(dir, "hosier.toml")
	writeFile(t, file, strings.ReplaceAll(text, "DIR", dir))
	h := start(t, "--config", file, "--state-dir", filepath.Join(dir, "state"), "--listen", "127.0.0.1:0")
	h.awaitListeners(t, listeners+1)
	return h
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// talk sends and returns what comes until the other side ends, or as much as is wanted.
func talk(t *testing.T, c net.Conn, send string, want int) string {
	t.Helper()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, send); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, want)
	n, _ := io.ReadFull(c, b)
	return string(b[:n])
}

func dialOrFail(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := dial(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// target is a SOCKS5 CONNECT to an address of IPv4.
func target(t *testing.T, address string) string {
	t.Helper()
	to, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return "\x05\x01\x00\x01\x7f\x00\x00\x01" + string([]byte{byte(to.Port >> 8), byte(to.Port)})
}

const (
	served   = "\x05\x00"
	refused2 = "\x05\x02"
)

// Users of a file are the users of the rules; who is none is told so in each dialect.
func TestListenerUsers(t *testing.T) {
	echo, dir := tcptest.Listen(t, tcptest.Echo), t.TempDir()
	for _, name := range []string{"ann", "bob"} {
		got := runProgram(t, "secret of "+name+"\n", "hosier", "hash-password", "--user", name)
		if got.code != 0 {
			t.Fatal(got.stderr)
		}
		f, err := os.OpenFile(filepath.Join(dir, "users"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		f.WriteString(got.stdout)
		f.Close()
	}
	h := startConfig(t, dir, `
users = "DIR/users"
handshake-timeout = "2m" # a hash may take long
[log]
connections = true
redact = false
[[rule]]
user = "ann"
via = "direct"
`, 0)
	login := func(name, password string) string {
		return "\x05\x01\x02\x01" + string(rune(len(name))) + name + string(rune(len(password))) + password
	}
	for name, c := range map[string]struct{ send, want string }{
		"the user of the rule": {login("ann", "secret of ann") + target(t, echo), "\x05\x02\x01\x00" + served},
		"another user":         {login("bob", "secret of bob") + target(t, echo), "\x05\x02\x01\x00" + refused2},
		"a wrong password":     {login("ann", "secret of bob"), "\x05\x02\x01\x01"},
		"nobody":               {"\x05\x01\x00", "\x05\xff"},
		"SOCKS4":               {"\x04\x01\x00\x50\x7f\x00\x00\x01ann\x00", "\x00\x5b"},
		"HTTP, nobody":         {"CONNECT " + echo + " HTTP/1.1\r\n\r\n", "HTTP/1.1 407"},
		"HTTP":                 {"CONNECT " + echo + " HTTP/1.1\r\nProxy-Authorization: Basic YW5uOnNlY3JldCBvZiBhbm4=\r\n\r\n", "HTTP/1.1 200"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := talk(t, dialOrFail(t, h.addr()), c.send, len(c.want)); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	h.awaitLog(t, `reason=".*SOCKS4 cannot carry one"`)
	h.awaitLog(t, `level=WARN msg="a SOCKS4 client was refused: .*cannot carry a password" id=[0-9]+ listener=\S+ client=127\.0\.0\.1:\d+ fix=".*SOCKS5`)
	if strings.Contains(h.log.String(), "secret") {
		t.Error("a password is in the log")
	}
}

// Each kind of listener knows its clients in its own way, and the rules know them.
func TestListenerKinds(t *testing.T) {
	echo, dir := tcptest.Listen(t, tcptest.Echo), t.TempDir()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	client := certificates(t, dir)
	h := startConfig(t, dir, fmt.Sprintf(`
log.connections = true
[listener.balanced]
listen = "127.0.0.2:0"
proxy-protocol-from = "127.0.0.0/8"
allow-client = "192.0.2.0/24"
[listener.secure]
listen = "127.0.0.3:0"
tls-cert = "DIR/cert.pem"
tls-key = "DIR/key.pem"
tls-client-ca = "DIR/ca.pem"
[listener.local]
listen = "unix:DIR/hosier.sock"
mode = "0666"
peer-users = true
[listener.four]
listen = "127.0.0.4:0"
dialects = "socks4"
[[rule]]
listener = "balanced"
client = "192.0.2.7"
to = "127.0.0.1"
via = "direct"
[[rule]]
listener = "balanced"
client = "192.0.2.9"
via = "direct"
[[rule]]
user = ["ann", %q]
via = "direct"
[[rule]]
listener = "four"
via = "direct"
`, me.Username), 4)
	at := func(prefix string) string {
		for _, a := range h.addrs {
			if strings.HasPrefix(a, prefix) {
				return a
			}
		}
		t.Fatalf("no listener at %s: %q", prefix, h.addrs)
		return ""
	}
	hello := "\x05\x01\x00" + target(t, echo)
	for name, c := range map[string]struct{ address, send, want string }{
		"default":                 {"127.0.0.1:", hello, "\x05\x00" + refused2},
		"PROXY, of a rule":        {"127.0.0.2:", "PROXY TCP4 192.0.2.7 127.0.0.2 9 9\r\n" + hello, "\x05\x00" + served},
		"PROXY, another":          {"127.0.0.2:", "PROXY TCP4 192.0.2.8 127.0.0.2 9 9\r\n" + hello, "\x05\x00" + refused2},
		"PROXY, a private target": {"127.0.0.2:", "PROXY TCP4 192.0.2.9 127.0.0.2 9 9\r\n" + hello, "\x05\x00" + refused2},
		"PROXY, outside":          {"127.0.0.2:", "PROXY TCP4 198.51.100.7 127.0.0.2 9 9\r\n" + hello, "\x05\x00" + refused2},
		"without PROXY":           {"127.0.0.2:", hello, ""},
		"peer":                    {"unix:", hello, "\x05\x00" + served},
		"dialect":                 {"127.0.0.4:", "\x04\x01" + target(t, echo)[8:] + "\x7f\x00\x00\x01\x00", "\x00\x5a"},
		"other dialect":           {"127.0.0.4:", hello, "\x05\xff"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := talk(t, dialOrFail(t, at(c.address)), c.send, max(len(c.want), 1)); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	t.Run("certificate", func(t *testing.T) {
		c := tls.Client(dialOrFail(t, at("127.0.0.3:")), client)
		if got := talk(t, c, hello+"ping", 16); !strings.HasPrefix(got, "\x05\x00"+served) || !strings.HasSuffix(got, "ping") {
			t.Errorf("got %q", got)
		}
	})
	t.Run("no certificate", func(t *testing.T) {
		c := tls.Client(dialOrFail(t, at("127.0.0.3:")), &tls.Config{InsecureSkipVerify: true})
		if got := talk(t, c, hello, 1); got != "" {
			t.Errorf("got %q", got)
		}
	})
	h.awaitLog(t, `listener=balanced .* reason="listen: no PROXY header, which peers in proxy-protocol-from must send"`)
	h.awaitLog(t, `listener=secure .* reason="listen: the client showed no certificate"`)
	if info, err := os.Stat(filepath.Join(dir, "hosier.sock")); err != nil || info.Mode().Perm() != 0o666 {
		t.Errorf("the socket: %v, %v", info, err)
	}
}

// Beyond its limits a client is told so, and what it gives back it may have again.
func TestListenerLimits(t *testing.T) {
	echo, dir := tcptest.Listen(t, tcptest.Echo), t.TempDir()
	h := startConfig(t, dir, "via = \"direct\"\n[limits]\nconns-per-client = 2\n", 0)
	hello := "\x05\x01\x00" + target(t, echo)
	one, two := dialOrFail(t, h.addr()), dialOrFail(t, h.addr())
	for _, c := range []net.Conn{one, two} {
		if got := talk(t, c, hello, 12); !strings.HasPrefix(got, "\x05\x00"+served) {
			t.Fatalf("got %q", got)
		}
	}
	if got := talk(t, dialOrFail(t, h.addr()), hello, 4); got != "\x05\x00"+refused2 {
		t.Errorf("the third: %q", got)
	}
	if got := talk(t, dialOrFail(t, h.addr()), "CONNECT "+echo+" HTTP/1.1\r\n\r\n", 12); got != "HTTP/1.1 429" {
		t.Errorf("the third by HTTP: %q", got)
	}
	one.Close()
	await(t, "room for another", func() bool {
		c := dialOrFail(t, h.addr())
		defer c.Close()
		return talk(t, c, hello, 4) == "\x05\x00"+served
	})
}

// Wrong logins hold one name off, which reply and log say, and not the neighbour at the address.
func TestLoginHeldOff(t *testing.T) {
	echo, dir := tcptest.Listen(t, tcptest.Echo), t.TempDir()
	var lines string
	for _, name := range []string{"ann", "bob"} {
		hash, err := bcrypt.GenerateFromPassword([]byte("right"), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		lines += name + ":" + string(hash) + "\n"
	}
	writeFile(t, filepath.Join(dir, "users"), lines)
	h := startConfig(t, dir, "users = \"DIR/users\"\nvia = \"direct\"\n", 0)
	login := func(name, password string) string {
		proof := base64.StdEncoding.EncodeToString([]byte(name + ":" + password))
		return talk(t, dialOrFail(t, h.addr()), "CONNECT "+echo+" HTTP/1.1\r\nProxy-Authorization: Basic "+proof+"\r\n\r\n", len("HTTP/1.1 200 "))
	}
	guess := 0
	await(t, "bob to be held off", func() bool {
		guess++
		got := login("bob", fmt.Sprint("guess ", guess))
		if held := strings.HasPrefix(got, "HTTP/1.1 429 "); held != (guess > 2) && !strings.HasPrefix(got, "HTTP/1.1 407 ") {
			t.Errorf("guess %d: %q", guess, got)
		}
		return strings.HasPrefix(got, "HTTP/1.1 429 ")
	})
	if got := login("ann", "right"); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
		t.Errorf("the neighbour: %q", got)
	}
	h.awaitLog(t, `level=WARN msg="logins of a client are held off`)
}

// Whom no allow-client lets in learns nothing of passwords, and gets neither page nor options.
func TestOutsider(t *testing.T) {
	echo, dir := tcptest.Listen(t, tcptest.Echo), t.TempDir()
	hash := runProgram(t, "right\n", "hosier", "hash-password", "--user", "ann")
	if hash.code != 0 {
		t.Fatal(hash.stderr)
	}
	writeFile(t, filepath.Join(dir, "users"), hash.stdout)
	certificates(t, dir)
	h := startConfig(t, dir, `
allow-client = "192.0.2.0/24"
via = "direct"
[log]
connections = true
[listener.plain]
listen = "0.0.0.0:0"
users = "DIR/users"
[listener.secure]
listen = "0.0.0.0:0"
tls-cert = "DIR/cert.pem"
tls-key = "DIR/key.pem"
`, 2)
	var at []string
	for _, a := range h.addrs {
		if _, port, _ := net.SplitHostPort(a); !strings.HasPrefix(a, "127.") {
			at = append(at, "127.0.0.1:"+port)
		}
	}
	for name, c := range map[string]struct{ send, want string }{
		"right password": {"\x05\x01\x02\x01\x03ann\x05right" + target(t, echo), "\x05\x02\x01\x00" + refused2},
		"wrong password": {"\x05\x01\x02\x01\x03ann\x05wrong" + target(t, echo), "\x05\x02\x01\x00" + refused2},
		"no password":    {"\x05\x01\x00" + target(t, echo), "\x05\x00" + refused2},
		"SOCKS4":         {"\x04\x01\x00\x50\x7f\x00\x00\x01ann\x00", "\x00\x5b"},
		"CONNECT":        {"CONNECT " + echo + " HTTP/1.1\r\n\r\n", "HTTP/1.1 403"},
		"page":           {"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 403"},
		"check":          {"\x05\x01\x00\x05\x01\x00\x03\x14check.hosier.invalid\x00\x50", "\x05\x00" + refused2},
		"options":        {"OPTIONS * HTTP/1.1\r\n\r\n", "HTTP/1.1 403"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := talk(t, dialOrFail(t, at[0]), c.send, len(c.want)); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	t.Run("TLS", func(t *testing.T) {
		c := tls.Client(dialOrFail(t, at[1]), &tls.Config{InsecureSkipVerify: true})
		if err := c.HandshakeContext(t.Context()); err == nil {
			t.Error("a handshake with an outsider")
		}
	})
	h.awaitLog(t, `reason="client is not in allow-client`)
	if strings.Contains(h.log.String(), "login") {
		t.Error("a login was judged")
	}
}

// A limit counts from accept, and before TLS.
func TestLimitsBeforeTLS(t *testing.T) {
	dir := t.TempDir()
	certificates(t, dir)
	h := startConfig(t, dir, `
via = "direct"
limits.conns-per-client = 2
[listener.secure]
listen = "127.0.0.3:0"
tls-cert = "DIR/cert.pem"
tls-key = "DIR/key.pem"
`, 1)
	at := h.addrs[slices.IndexFunc(h.addrs, func(a string) bool { return strings.HasPrefix(a, "127.0.0.3:") })]
	one, _ := dialOrFail(t, at), dialOrFail(t, at)
	third := dialOrFail(t, at)
	third.SetDeadline(time.Now().Add(patience))
	if _, err := third.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the third, which says nothing either: %v", err)
	}
	one.Close()
	await(t, "room for another", func() bool {
		c := dialOrFail(t, at)
		defer c.Close()
		return tls.Client(c, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(t.Context()) == nil
	})
}

// A limit that comes by a reload counts what was open before, and what ended does not stay
// counted.
func TestLimitsByReload(t *testing.T) {
	echo, dir := tcptest.Listen(t, tcptest.Echo), t.TempDir()
	h := startConfig(t, dir, "via = \"direct\"\n", 0)
	hello := "\x05\x01\x00" + target(t, echo)
	open := func() net.Conn {
		c := dialOrFail(t, h.addr())
		if got := talk(t, c, hello, 12); !strings.HasPrefix(got, "\x05\x00"+served) {
			t.Fatalf("got %q", got)
		}
		return c
	}
	one, _ := open(), open()
	writeFile(t, filepath.Join(dir, "hosier.toml"), "via = \"direct\"\n[limits]\nconns-per-client = 2\n")
	if err := reload(t.Context(), filepath.Join(dir, "state")); err != nil {
		t.Fatal(err)
	}
	if got := talk(t, dialOrFail(t, h.addr()), hello, 4); got != "\x05\x00"+refused2 {
		t.Errorf("the third: %q", got)
	}
	one.Close()
	await(t, "room for another", func() bool {
		c := dialOrFail(t, h.addr())
		defer c.Close()
		return talk(t, c, hello, 4) == "\x05\x00"+served
	})
}

// certificates writes those of an authority and a server, and returns a client of ann.
func certificates(t *testing.T, dir string) *tls.Config {
	t.Helper()
	caKey, caDER := certificate(t, "authority", nil, nil)
	ca, err := x509.ParseCertificate(caDER)
	if err != nil {
		t.Fatal(err)
	}
	key, der := certificate(t, "proxy", ca, caKey)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "ca.pem"), pemOf("CERTIFICATE", caDER))
	writeFile(t, filepath.Join(dir, "cert.pem"), pemOf("CERTIFICATE", der))
	writeFile(t, filepath.Join(dir, "key.pem"), pemOf("PRIVATE KEY", keyDER))
	key, der = certificate(t, "ann", ca, caKey)
	return &tls.Config{
		InsecureSkipVerify: true,
		Certificates:       []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
	}
}

func pemOf(kind string, der []byte) string {
	var b bytes.Buffer
	pem.Encode(&b, &pem.Block{Type: kind, Bytes: der}) // a buffer takes all
	return b.String()
}

func certificate(t *testing.T, name string, ca *x509.Certificate, caKey *ecdsa.PrivateKey) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour),
		IsCA: ca == nil, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if ca == nil {
		ca, caKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, key.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	return key, der
}
