package resolver

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// unbound is a real server for UDP, TCP, TLS and HTTPS, with a certificate for the name
// dns.test.
type unbound struct {
	plain, tls, https netip.AddrPort
	roots             *x509.CertPool
}

func startUnbound(t *testing.T) unbound {
	t.Helper()
	program, err := exec.LookPath("unbound")
	if err != nil {
		program, err = exec.LookPath("/usr/sbin/unbound")
	}
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("unbound is missing")
		}
		t.Skip("unbound is missing")
	}
	dir := t.TempDir()
	u := unbound{plain: freePort(t), tls: freePort(t), https: freePort(t)}
	u.roots = writeCertificate(t, dir)
	var many strings.Builder // more than fits into an answer over UDP
	for i := range 100 {
		fmt.Fprintf(&many, "\tlocal-data: \"many.example.test. 300 A 198.51.100.%d\"\n", i+1)
	}
	conf := fmt.Sprintf(`server:
	directory: %[1]q
	chroot: ""
	username: ""
	pidfile: ""
	use-syslog: no
	logfile: ""
	do-daemonize: no
	num-threads: 1
	interface: 127.0.0.1@%[2]d
	interface: 127.0.0.1@%[3]d
	interface: 127.0.0.1@%[4]d
	tls-port: %[3]d
	https-port: %[4]d
	tls-service-key: %[5]q
	tls-service-pem: %[6]q
	access-control: 127.0.0.0/8 allow
	local-zone: "example.test." static
	local-data: "www.example.test. 300 A 192.0.2.1"
	local-data: "www.example.test. 300 AAAA 2001:db8::1"
	local-data-ptr: "192.0.2.1 300 www.example.test"
%[7]sremote-control:
	control-enable: no
`, dir, u.plain.Port(), u.tls.Port(), u.https.Port(), filepath.Join(dir, "key.pem"), filepath.Join(dir, "cert.pem"), many.String())
	file := filepath.Join(dir, "unbound.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.Command(program, "-d", "-p", "-c", file)
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	for _, ap := range []netip.AddrPort{u.plain, u.tls, u.https} {
		for deadline := time.Now().Add(time.Minute); ; {
			c, err := net.Dial("tcp", ap.String())
			if err == nil {
				c.Close()
				break
			}
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	return u
}

func freePort(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func writeCertificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "dns.test"}, DNSNames: []string{"dns.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return roots
}

func TestUnbound(t *testing.T) {
	u := startUnbound(t)
	for name, test := range map[string]struct {
		Server
		roots *x509.CertPool
		bad   bool
	}{
		"udp":                   {Server: Server{Addr: u.plain}},
		"tcp":                   {Server: Server{Transport: TCP, Addr: u.plain}},
		"tls":                   {Server: Server{Transport: TLS, Addr: u.tls, Name: "dns.test"}, roots: u.roots},
		"https":                 {Server: Server{Transport: HTTPS, Addr: u.https, Name: "dns.test"}, roots: u.roots},
		"tls/another name":      {Server: Server{Transport: TLS, Addr: u.tls, Name: "other.test"}, roots: u.roots, bad: true},
		"tls/no name":           {Server: Server{Transport: TLS, Addr: u.tls}, roots: u.roots, bad: true},
		"tls/unknown authority": {Server: Server{Transport: TLS, Addr: u.tls, Name: "dns.test"}, bad: true},
		"https/another name":    {Server: Server{Transport: HTTPS, Addr: u.https, Name: "other.test"}, roots: u.roots, bad: true},
		"tls/clear text there":  {Server: Server{Transport: TLS, Addr: u.plain, Name: "dns.test"}, roots: u.roots, bad: true},
		"https/wrong path":      {Server: Server{Transport: HTTPS, Addr: u.https, Name: "dns.test", Path: "/x"}, roots: u.roots, bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &Resolver{Servers: []Server{test.Server}, NoHosts: true, RootCAs: test.roots}
			defer r.Close()
			got, err := r.LookupNetIP(within(t), "ip", "www.example.test")
			if test.bad {
				var dns *net.DNSError
				if !errors.As(err, &dns) || dns.IsNotFound || dns.Server != test.Server.String() {
					t.Errorf("%v, %v", got, err)
				}
				var cert *tls.CertificateVerificationError
				if name != "tls/clear text there" && name != "https/wrong path" && !errors.As(err, &cert) {
					t.Errorf("%v is not about a certificate", err)
				}
				return
			}
			if want := addrsOf("192.0.2.1", "2001:db8::1"); err != nil || !slices.Equal(got, want) {
				t.Errorf("%v, %v", got, err)
			}
			if many, err := r.LookupNetIP(within(t), "ip4", "many.example.test"); err != nil || len(many) != 100 {
				t.Errorf("%d addresses, %v", len(many), err)
			}
			if names, err := r.LookupAddr(within(t), "192.0.2.1"); err != nil || !slices.Equal(names, []string{"www.example.test"}) {
				t.Errorf("%v, %v", names, err)
			}
			var dns *net.DNSError
			if _, err := r.LookupNetIP(within(t), "ip", "none.example.test"); !errors.As(err, &dns) || !dns.IsNotFound {
				t.Error(err)
			}
		})
	}
}
