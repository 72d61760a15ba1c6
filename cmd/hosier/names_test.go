package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hosier/internal/config"
	"hosier/internal/listen"
)

func TestParseServer(t *testing.T) {
	long := "/" + strings.Repeat("x", listen.MaxPath)
	for text, want := range map[string]string{
		"127.0.0.1:1080":          "127.0.0.1:1080",
		"[::1]:1080":              "[::1]:1080",
		":1080":                   ":1080",
		"localhost:1":             "localhost:1",
		"unix:/run/a":             "unix:/run/a",
		"unix:" + long[1:]:        "unix:" + long[1:],
		"proxy.münchen.test:1080": "proxy.xn--mnchen-3ya.test:1080",
		"1080":                    "", "127.0.0.1": "", "127.0.0.1:": "", "127.0.0.1:0": "", "127.0.0.1:99999": "", "127.0.0.1:http": "",
		"::1:1080": "", "unix:": "", "unix:" + long: "", "a\xff:1": "", "": "",
	} {
		if got, err := parseServer(text); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
	if _, err := parseServer("127.0.0.1:99999"); err != errPort {
		t.Errorf("of a port it says %v", err)
	}
}

func TestExplainedTarget(t *testing.T) {
	for text, want := range map[string]string{
		"www.test":                 "www.test:443",
		"www.test:80":              "www.test:80",
		"www.test:0":               "www.test:0",
		"192.0.2.1":                "192.0.2.1:443",
		"192.0.2.1:80":             "192.0.2.1:80",
		"::1":                      "[::1]:443",
		"[::1]":                    "[::1]:443",
		"[::1]:80":                 "[::1]:80",
		"http://www.test/x":        "www.test:80",
		"https://www.test:8443/":   "www.test:8443",
		"münchen.test":             "xn--mnchen-3ya.test:443",
		"münchen.test:25":          "xn--mnchen-3ya.test:25",
		"https://MÜNCHEN.test/":    "xn--mnchen-3ya.test:443",
		"https://u:p@münchen.test": "xn--mnchen-3ya.test:443",
	} {
		if got, err := explainedTarget(text); err != nil || got.String() != want {
			t.Errorf("%q: %v, %v, want %s", text, got, err, want)
		}
	}
	for text, says := range map[string]string{
		"www.test:99999": "port", "[::1]:99999": "port", "http://www.test:99999/": "port", "www.test:http": "port", "192.0.2.1:-1": "port",
		"a b": "neither a URL", "": "neither a URL", "https://u:secret@a%zz/": "URL", "http://a b/": "URL", "a\xff.test": "UTF-8",
	} {
		_, err := explainedTarget(text)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// A proxy whose name is written in another script is asked by the one that DNS has.
func TestViaInScript(t *testing.T) {
	for via, want := range map[string]string{
		"socks5://u:p@münchen.test:1080":                     "xn--mnchen-3ya.test:1080",
		"tor://münchen.test:9050":                            "xn--mnchen-3ya.test:9050",
		"tor://127.0.0.1:9050?control=münchen.test:9051":     "xn--mnchen-3ya.test:9051",
		"tor://[::1]:9050":                                   "[::1]:9050",
		"tor://unix:%2Frun%2Fs":                              "unix:/run/s",
		"tor://unix:/" + strings.Repeat("x", listen.MaxPath): "",
		"tor://127.0.0.1:99999":                              "",
		"socks5://127.0.0.1:99999":                           "",
		"http://a\u202e\u0000.test:1":                        "",
	} {
		if _, err := viaKind(via); (err == nil) != (want != "") {
			t.Errorf("%s: %v", via, err)
		}
		if !isTor(via) || want == "" {
			continue
		}
		spec, err := parseTor(via)
		if err != nil || spec.members[0].SOCKS != want && spec.members[0].Control != want {
			t.Errorf("%s: %+v, %v", via, spec, err)
		}
	}
	u, err := parseURL("socks5://u:p@münchen.test:1080")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := asciiHost(u); err != nil || got != "xn--mnchen-3ya.test:1080" {
		t.Errorf("%s, %v", got, err)
	}
}

// Paths that the system does not take are refused before anything is opened.
func TestLongPath(t *testing.T) {
	path := "/" + strings.Repeat("x", listen.MaxPath)
	for _, key := range []string{"listen", "admin"} {
		_, err := config.Parse("f", []byte("via = \"direct\"\n"+key+" = \"unix:"+path+"\"\n"), config.Options{})
		if err == nil || !strings.Contains(err.Error(), "f:2:") || !strings.Contains(err.Error(), "bytes") {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// The mark that editors of Windows put in front costs no certificate.
func TestCertificateWithMark(t *testing.T) {
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) string {
		file := filepath.Join(dir, name)
		text := append([]byte("\ufeff"), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})...)
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	cert, keyFile := write("cert", "CERTIFICATE", der), write("key", "EC PRIVATE KEY", private)
	if c, err := loadTLS(cert, keyFile, cert); err != nil || len(c.Certificates) != 1 || c.ClientCAs == nil {
		t.Errorf("%+v, %v", c, err)
	}
}
