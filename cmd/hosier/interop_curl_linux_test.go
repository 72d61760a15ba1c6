package main

import (
	"bytes"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"hosier/internal/debiantest"
)

// TestCurl runs curl with each way it has to use a proxy. Those that leave names to the
// proxy are watched: they must speak to hosier alone.
func TestCurl(t *testing.T) {
	curl := debiantest.Program(t, "curl", "curl")
	s := newSite(t)
	itself := webName + ":" + s.port + ":127.0.0.1" // curl knows the address
	for _, tt := range []struct {
		name  string
		args  string // HOSIER is its address
		host  string // of the URL
		log   string
		asked []string
	}{
		{"socks4", "--socks4 HOSIER", s.addr, "dialect=SOCKS4 command=CONNECT target=" + s.addr, nil},
		{"socks4/own-lookup", "--socks4 HOSIER --resolve " + itself, s.host(), "dialect=SOCKS4 command=CONNECT target=" + s.addr, nil},
		{"socks4a", "--socks4a HOSIER", s.host(), "dialect=SOCKS4A command=CONNECT target=" + s.host(), askedV4},
		{"socks5", "--socks5 HOSIER", s.addr, "dialect=SOCKS5 command=CONNECT target=" + s.addr, nil},
		{"socks5/own-lookup", "--socks5 HOSIER --resolve " + itself, s.host(), "dialect=SOCKS5 command=CONNECT target=" + s.addr, nil},
		{"socks5-hostname", "--socks5-hostname HOSIER", s.host(), "dialect=SOCKS5 command=CONNECT target=" + s.host(), askedBoth},
		{"socks5-hostname/address", "--socks5-hostname HOSIER", s.addr, "dialect=SOCKS5 command=CONNECT target=" + s.addr, nil},
		{"socks5h/proxy-user", "-x socks5h://HOSIER --proxy-user me:hunter2", s.host(), "dialect=SOCKS5 command=CONNECT target=" + s.host(), askedBoth},
		{"socks4a/user", "-x socks4a://me@HOSIER", s.host(), "dialect=SOCKS4A command=CONNECT target=" + s.host(), askedV4},
		{"http-tunnel", "-x http://HOSIER --proxytunnel", s.host(), "dialect=HTTP command=CONNECT target=" + s.host(), askedBoth},
		{"http-tunnel/proxy-user", "-x http://HOSIER --proxytunnel --proxy-user me:hunter2", s.host(), "dialect=HTTP command=CONNECT target=" + s.host(), askedBoth},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := s.start(t)
			w := newWatch(t)
			args := strings.Fields(strings.ReplaceAll(tt.args, "HOSIER", h.addr()))
			words := append(append(append(w.wrapper, curl, "-qsS"), args...), "http://"+tt.host+"/")
			runProgram(t, "", words...).want(t, greeting(tt.host))
			h.awaitLog(t, regexp.QuoteMeta(tt.log)+` .*status="00 succeeded"`)
			w.traffic(t).onlyTo(t, h.addr())
			s.asked(t, tt.asked...)
			if strings.Contains(h.log.String(), "hunter2") {
				t.Errorf("the log shows the password:\n%s", h.log.String())
			}
		})
	}
}

// TestCurlListeners runs curl against the other kinds of listener.
func TestCurlListeners(t *testing.T) {
	curl := debiantest.Program(t, "curl", "curl")
	t.Run("unix", func(t *testing.T) {
		s := newSite(t)
		path := filepath.Join(t.TempDir(), "h.sock")
		h := s.start(t, "--listen", "unix:"+path)
		w := newWatch(t)
		words := append(w.wrapper, curl, "-qsS", "-x", "socks5h://localhost"+path, "http://"+s.host()+"/")
		runProgram(t, "", words...).want(t, greeting(s.host()))
		h.awaitLog(t, "target="+s.host()+` .*status="00 succeeded"`)
		w.traffic(t).onlyTo(t, "unix:"+path)
		s.asked(t, askedBoth...)
	})
	t.Run("ipv6", func(t *testing.T) {
		if !hasIPv6() {
			t.Skip("this machine has no ::1")
		}
		s := newSite(t)
		h := s.start(t, "--listen", "[::1]:0")
		runProgram(t, "", curl, "-qsS", "-x", "socks5h://"+h.addr(), "http://"+s.host()+"/").want(t, greeting(s.host()))
		s.asked(t, askedBoth...)
	})
}

// TestCurlFailures shows that curl understands what goes wrong.
func TestCurlFailures(t *testing.T) {
	curl := debiantest.Program(t, "curl", "curl")
	s := newSite(t)
	h := s.start(t)
	refused := "127.0.0.1:1"
	for _, tt := range []struct{ name, proxy, host, words string }{
		{"socks5/no-such-name", "socks5h://", nowhereName, "(4)"},
		{"socks5/refused", "socks5h://", refused, "(5)"},
		{"socks5/onion", "socks5h://", "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion", "(4)"},
		{"socks4/no-such-name", "socks4a://", nowhereName, "(91)"},
		{"http/no-such-name", "http://", nowhereName, "response 503"},
		{"http/refused", "http://", refused, "response 403"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			runProgram(t, "", curl, "-qsS", "--proxytunnel", "-x", tt.proxy+h.addr(), "http://"+tt.host+"/").wantFailure(t, tt.words)
		})
	}
	s.asked(t, "A "+nowhereName, "A "+nowhereName, "A "+nowhereName, "AAAA "+nowhereName, "AAAA "+nowhereName)
}

// TestCurlBody sends a few megabytes there and back, and speaks TLS through the tunnel.
func TestCurlBody(t *testing.T) {
	curl := debiantest.Program(t, "curl", "curl")
	s := newSite(t)
	server := httptest.NewTLSServer(http.HandlerFunc(serveSite))
	defer server.Close()
	url := "https://" + webName + server.URL[strings.LastIndexByte(server.URL, ':'):] + "/"
	h := s.start(t)
	body := make([]byte, 4<<20)
	rand.NewChaCha8([32]byte{}).Read(body)
	file := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(file, body, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, proxy := range []string{"socks4a://", "socks5h://", "http://"} {
		t.Run(proxy, func(t *testing.T) {
			got := runProgram(t, "", curl, "-qsSk", "-x", proxy+h.addr(), "--data-binary", "@"+file, url)
			if got.code != 0 || !bytes.Equal([]byte(got.stdout), body) {
				t.Errorf("exit code %d, %d bytes came back of %d, or others; it said %s", got.code, len(got.stdout), len(body), got.stderr)
			}
		})
	}
}

// TestCurlLost shows the page that curl gets when it takes hosier for an HTTP proxy that
// fetches pages.
func TestCurlLost(t *testing.T) {
	curl := debiantest.Program(t, "curl", "curl")
	s := newSite(t)
	h := s.start(t)
	got := runProgram(t, "", curl, "-qsS", "-x", "http://"+h.addr(), "http://"+s.host()+"/secret")
	if got.code != 0 || !strings.Contains(got.stdout, "curl -x socks5h://"+h.addr()+" URL") || strings.Contains(got.stdout, "secret") {
		t.Errorf("exit code %d, page %q", got.code, got.stdout)
	}
	s.asked(t)
}
