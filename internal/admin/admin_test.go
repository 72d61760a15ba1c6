package admin

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// net/http waits half a second for the client of a body that it did not read.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// site is a running Server.
type site struct {
	*Server
	at      string // host:port, or the path of a Unix socket
	unix    bool
	changes atomic.Int64 // requests that changed something
	log     bytes.Buffer
}

func newSite(t *testing.T, network string, o Options) *site {
	t.Helper()
	s := &site{unix: network == "unix"}
	address := "127.0.0.1:0"
	if s.unix {
		address = filepath.Join(t.TempDir(), "admin.sock")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	s.at = l.Addr().String()
	o.Log = slog.New(slog.NewTextHandler(&s.log, nil))
	if o.Token.text == nil {
		o.Token = NewToken()
	}
	o.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "metrics\n") })
	s.Server = New(o)
	s.Handle("GET /{$}", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "console "+CSRF(r)) }))
	s.Handle("/api/v1/change", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.changes.Add(1) }))
	s.Handle("GET /panic", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("on purpose") }))
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	return s
}

// raw sends text and returns the answer; nil if there was none. HOST, PORT and TOKEN in
// text are those of the site.
func (s *site) raw(t *testing.T, text string) (*http.Response, string) {
	t.Helper()
	network := "tcp"
	if s.unix {
		network = "unix"
	}
	c, err := net.Dial(network, s.at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	_, port, _ := strings.Cut(s.at, ":")
	text = strings.NewReplacer("HOST", s.at, "PORT", port, "TOKEN", s.o.Token.Reveal(), "\n", "\r\n").Replace(text)
	go io.WriteString(c, text) // a server that refuses a head does not read it all
	method, _, _ := strings.Cut(text, " ")
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		return nil, ""
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp, string(body)
}

const bearer = "Authorization: Bearer TOKEN\n"

func TestHostileRequests(t *testing.T) {
	t.Parallel()
	s := newSite(t, "tcp", Options{Reload: func() error { return nil }})
	for _, c := range []struct {
		name, request string
		code          int
		body          string // of the answer, in part; "" for none at all
	}{
		// What is as it should be.
		{"healthz", "GET /healthz HTTP/1.1\nHost: HOST\n\n", 200, "ok"},
		{"healthz-head", "HEAD /healthz HTTP/1.1\nHost: HOST\n\n", 200, ""},
		{"readyz", "GET /readyz HTTP/1.1\nHost: localhost:PORT\n\n", 200, "ok"},
		{"metrics", "GET /metrics HTTP/1.1\nHost: [::1]:PORT\n\n", 200, "metrics"},
		{"host-mapped", "GET /metrics HTTP/1.1\nHost: [::ffff:127.0.0.1]:PORT\n\n", 200, "metrics"},
		{"token", "GET / HTTP/1.1\nHost: HOST\n" + bearer + "\n", 200, "console"},
		{"token-change", "POST /api/v1/change HTTP/1.1\nHost: HOST\n" + bearer + "Content-Length: 0\n\n", 200, ""},
		{"own-origin", "POST /api/v1/change HTTP/1.1\nHost: HOST\nOrigin: http://HOST\n" + bearer + "Content-Length: 0\n\n", 200, ""},

		// Hosts of others (DNS rebinding).
		{"host-foreign", "GET /metrics HTTP/1.1\nHost: evil.test:PORT\n\n", 421, ""},
		{"host-foreign-health", "GET /healthz HTTP/1.1\nHost: evil.test:PORT\n\n", 421, ""},
		{"host-foreign-token", "POST /api/v1/change HTTP/1.1\nHost: evil.test:PORT\n" + bearer + "\n", 421, ""},
		{"host-wrong-port", "GET /metrics HTTP/1.1\nHost: 127.0.0.1:1\n\n", 421, ""},
		{"host-no-port", "GET /metrics HTTP/1.1\nHost: 127.0.0.1\n\n", 421, ""},
		{"host-lan", "GET /metrics HTTP/1.1\nHost: 192.0.2.1:PORT\n\n", 421, ""},
		{"host-prefix", "GET /metrics HTTP/1.1\nHost: localhost.evil.test:PORT\n\n", 421, ""},
		{"host-user", "GET /metrics HTTP/1.1\nHost: localhost:PORT@evil.test\n\n", 400, "malformed Host"},
		{"host-zone", "GET /metrics HTTP/1.1\nHost: [::1%25evil]:PORT\n\n", 421, ""},
		{"host-empty", "GET /metrics HTTP/1.1\nHost:\n\n", 421, ""},
		{"host-missing", "GET /metrics HTTP/1.1\n\n", 400, "missing required Host"},
		{"host-twice", "GET /metrics HTTP/1.1\nHost: HOST\nHost: evil.test\n\n", 400, ""},
		{"http10-no-host", "GET /metrics HTTP/1.0\n\n", 421, ""},
		{"http10-host", "GET /metrics HTTP/1.0\nHost: HOST\n\n", 200, "metrics"},
		{"absolute-form", "GET http://HOST/metrics HTTP/1.1\nHost: evil.test\n\n", 421, ""},
		{"absolute-form-foreign", "GET http://evil.test/metrics HTTP/1.1\nHost: HOST\n\n", 421, ""},
		{"absolute-form-no-host", "GET http:/metrics HTTP/1.1\nHost: HOST\n\n", 421, ""},
		{"opaque", "GET x:y HTTP/1.1\nHost: HOST\n\n", 421, ""},
		{"connect", "CONNECT HOST HTTP/1.1\nHost: HOST\n\n", 421, ""},
		{"options-star", "OPTIONS * HTTP/1.1\nHost: evil.test\n\n", 421, ""},

		// Pages of others.
		{"cross-site-get", "GET /metrics HTTP/1.1\nHost: HOST\nSec-Fetch-Site: cross-site\n\n", 403, ""},
		{"cross-site-other-port", "GET / HTTP/1.1\nHost: HOST\nSec-Fetch-Site: same-site\n" + bearer + "\n", 403, ""},
		{"cross-site-unknown-word", "GET /metrics HTTP/1.1\nHost: HOST\nSec-Fetch-Site: x\n\n", 403, ""},
		{"cross-site-health", "GET /healthz HTTP/1.1\nHost: HOST\nSec-Fetch-Site: cross-site\n\n", 200, "ok"},
		{"cross-site-signin", "GET /signin?code=x HTTP/1.1\nHost: HOST\nSec-Fetch-Site: cross-site\n\n", 403, ""},
		{"foreign-origin", "GET /metrics HTTP/1.1\nHost: HOST\nOrigin: http://evil.test\n\n", 403, ""},
		{"foreign-origin-token", "POST /api/v1/change HTTP/1.1\nHost: HOST\nOrigin: http://evil.test\n" + bearer + "\n", 403, ""},
		{"foreign-origin-same-origin", "GET /metrics HTTP/1.1\nHost: HOST\nOrigin: http://evil.test\nSec-Fetch-Site: same-origin\n\n", 403, ""},
		{"origin-null", "POST /api/v1/change HTTP/1.1\nHost: HOST\nOrigin: null\n" + bearer + "\n", 403, ""},
		{"origin-https", "GET /metrics HTTP/1.1\nHost: HOST\nOrigin: https://HOST\n\n", 403, ""},
		{"preflight", "OPTIONS /api/v1/change HTTP/1.1\nHost: HOST\nOrigin: http://evil.test\nAccess-Control-Request-Method: POST\n\n", 403, ""},

		// Without the right to.
		{"console", "GET / HTTP/1.1\nHost: HOST\n\n", 401, "hosier console"},
		{"unknown-path", "GET /x HTTP/1.1\nHost: HOST\n\n", 401, "hosier console"},
		{"change", "POST /api/v1/change HTTP/1.1\nHost: HOST\nContent-Length: 0\n\n", 401, "hosier console"},
		{"change-get", "GET /api/v1/change HTTP/1.1\nHost: HOST\n\n", 401, "hosier console"},
		{"reload", "POST /api/v1/reload HTTP/1.1\nHost: HOST\nContent-Length: 0\n\n", 401, "hosier console"},
		{"link", "POST /api/v1/signin-links HTTP/1.1\nHost: HOST\nContent-Length: 0\n\n", 401, "hosier console"},
		{"token-wrong", "GET / HTTP/1.1\nHost: HOST\nAuthorization: Bearer x\n\n", 401, "hosier console"},
		{"token-longer", "GET / HTTP/1.1\nHost: HOST\nAuthorization: Bearer TOKENx\n\n", 401, "hosier console"},
		{"token-empty", "GET / HTTP/1.1\nHost: HOST\nAuthorization: Bearer \n\n", 401, "hosier console"},
		{"token-basic", "GET / HTTP/1.1\nHost: HOST\nAuthorization: Basic TOKEN\n\n", 401, "hosier console"},
		{"token-in-url", "GET /?token=TOKEN HTTP/1.1\nHost: HOST\n\n", 401, "hosier console"},
		{"cookie-unknown", "GET / HTTP/1.1\nHost: HOST\nCookie: hosier-PORT=x\n\n", 401, "hosier console"},
		{"cookie-token", "GET / HTTP/1.1\nHost: HOST\nCookie: hosier-PORT=TOKEN\n\n", 401, "hosier console"},
		{"signin-no-code", "GET /signin HTTP/1.1\nHost: HOST\n\n", 403, "hosier console"},
		{"signin-guess", "GET /signin?code=AAAA HTTP/1.1\nHost: HOST\n\n", 403, "hosier console"},

		// Methods, paths, heads and bodies.
		{"method-health", "DELETE /healthz HTTP/1.1\nHost: HOST\n\n", 401, "hosier console"},
		{"method-health-token", "DELETE /healthz HTTP/1.1\nHost: HOST\n" + bearer + "\n", 404, "404"},
		{"method-reload", "GET /api/v1/reload HTTP/1.1\nHost: HOST\n" + bearer + "\n", 405, "Method"},
		{"method-trace", "TRACE / HTTP/1.1\nHost: HOST\n\n", 401, "hosier console"},
		{"method-odd", "GE\x01T / HTTP/1.1\nHost: HOST\n\n", 400, ""},
		{"traversal", "GET /../../etc/passwd HTTP/1.1\nHost: HOST\n\n", 307, ""},
		{"traversal-encoded", "GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\nHost: HOST\n\n", 401, "hosier console"},
		{"traversal-slash-encoded", "GET /..%2fetc%2fpasswd HTTP/1.1\nHost: HOST\n" + bearer + "\n", 404, "404"},
		{"traversal-to-others", "GET //evil.test/%2e%2e HTTP/1.1\nHost: HOST\n\n", 307, ""},
		{"header-injection", "GET /%0d%0aSet-Cookie:%20a=b HTTP/1.1\nHost: HOST\n" + bearer + "\n", 404, "404"},
		{"header-injection-code", "GET /signin?code=%0d%0aSet-Cookie:%20a=b HTTP/1.1\nHost: HOST\n\n", 403, "hosier console"},
		{"header-bad", "GET /metrics HTTP/1.1\nHost: HOST\nA b: c\n\n", 400, ""},
		{"header-folded", "GET /metrics HTTP/1.1\nHost: HOST\nOrigin:\n http://evil.test\n\n", 403, ""},
		{"head-too-large", "GET /metrics HTTP/1.1\nHost: HOST\nX: " + strings.Repeat("x", 64<<10) + "\n\n", 431, "431"},
		{"path-too-large", "GET /" + strings.Repeat("x", 64<<10) + " HTTP/1.1\nHost: HOST\n\n", 431, "431"},
		{"two-lengths", "POST /api/v1/change HTTP/1.1\nHost: HOST\nContent-Length: 0\nContent-Length: 5\n\n", 400, ""},
		{"not-http", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\n", 400, ""},
		{"http9", "GET /metrics HTTP/9.9\nHost: HOST\n\n", 505, ""},
		{"h2", "PRI * HTTP/2.0\n\nSM\n\n", 421, ""},
	} {
		before := s.changes.Load()
		resp, body := s.raw(t, c.request)
		if resp == nil {
			t.Errorf("%s: no answer", c.name)
			continue
		}
		if resp.StatusCode != c.code || !strings.Contains(body, c.body) || c.body == "" && c.code != 400 && c.code != 505 && c.code != 307 && body != "" {
			t.Errorf("%s: got %d %q, want %d %q", c.name, resp.StatusCode, body, c.code, c.body)
		}
		if changed := s.changes.Load() != before; changed != (c.code == 200 && strings.Contains(c.request, "/change")) {
			t.Errorf("%s: changed something: %v", c.name, changed)
		}
		for name := range resp.Header {
			if strings.HasPrefix(name, "Access-Control") || name == "Server" || name == "Set-Cookie" {
				t.Errorf("%s: the answer has %s", c.name, name)
			}
		}
		if to := resp.Header.Get("Location"); to != "" && (to[0] != '/' || strings.HasPrefix(to, "//")) {
			t.Errorf("%s: leads to %s", c.name, to)
		}
		// What net/http itself refuses has no headers of ours.
		if c.code != 400 && c.code != 431 && c.code != 505 {
			for _, h := range headers {
				if resp.Header.Get(h[0]) != h[1] {
					t.Errorf("%s: %s is %q", c.name, h[0], resp.Header.Get(h[0]))
				}
			}
		}
	}
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	s := newSite(t, "unix", Options{})
	for request, want := range map[string]int{
		"GET /metrics HTTP/1.1\nHost: anything\n\n": 200,
		"GET /metrics HTTP/1.0\n\n":                 200,
		"GET / HTTP/1.1\nHost: x\n\n":               401,
		"POST /api/v1/signin-links HTTP/1.1\nHost: x\n" + bearer + "Content-Length: 0\n\n":                       409,
		"POST /api/v1/change HTTP/1.1\nHost: x\n" + bearer + "Content-Length: 0\n\n":                             200,
		"POST /api/v1/change HTTP/1.1\nHost: x\nSec-Fetch-Site: cross-site\n" + bearer + "Content-Length: 0\n\n": 403,
	} {
		if resp, body := s.raw(t, request); resp == nil || resp.StatusCode != want {
			t.Errorf("%q: got %v %q, want %d", request, resp, body, want)
		}
	}
}

func TestServeRefusesOthers(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"0.0.0.0:0", "[::]:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Skipf("this host has no such address: %v", err)
		}
		err = New(Options{}).Serve(l)
		if err == nil || !strings.Contains(err.Error(), "ssh -L") {
			t.Errorf("%s: got %v", address, err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: the listener is open: %v", address, err)
		}
	}
}

func TestPanic(t *testing.T) {
	t.Parallel()
	s := newSite(t, "tcp", Options{})
	if resp, _ := s.raw(t, "GET /panic HTTP/1.1\nHost: HOST\n"+bearer+"\n"); resp != nil {
		t.Errorf("got %v", resp)
	}
	s.Close()
	if log := s.log.String(); !strings.Contains(log, "on purpose") || strings.Contains(log, "127.0.0.1") {
		t.Errorf("log: %s", log)
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	var fail error
	s := newSite(t, "tcp", Options{Reload: func() error { return fail }})
	two := errors.Join(errors.New("a.toml:1:1: one"), errors.New("a.toml:2:1: two"))
	for _, c := range []struct {
		fail   error
		accept string
		code   int
		body   string
	}{
		{nil, "", 200, `{"mistakes":[]}`},
		{nil, "text/plain", 200, "reloaded"},
		{two, "*/*", 422, `{"mistakes":["a.toml:1:1: one","a.toml:2:1: two"]}`},
		{two, "text/plain", 422, "a.toml:1:1: one\na.toml:2:1: two"},
		{two, "application/json, text/plain", 422, `{"mistakes":["a.toml:1:1: one","a.toml:2:1: two"]}`},
	} {
		fail = c.fail
		resp, body := s.raw(t, "POST /api/v1/reload HTTP/1.1\nHost: HOST\nAccept: "+c.accept+"\n"+bearer+"Content-Length: 0\n\n")
		if resp.StatusCode != c.code || body != c.body+"\n" {
			t.Errorf("%v, %s: got %d %q", c.fail, c.accept, resp.StatusCode, body)
		}
	}
}

func TestReady(t *testing.T) {
	t.Parallel()
	s := newSite(t, "tcp", Options{Ready: func(context.Context) error { return errors.New("egress tor cannot serve: 10 %") }})
	if resp, body := s.raw(t, "GET /readyz HTTP/1.1\nHost: HOST\n\n"); resp.StatusCode != 503 || body != "egress tor cannot serve: 10 %\n" {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
}

// A client that stops talking is let go: the server has a bound for each wait.
func TestTimeouts(t *testing.T) {
	t.Parallel()
	h := &New(Options{}).http
	for name, d := range map[string]time.Duration{
		"head": h.ReadHeaderTimeout, "read": h.ReadTimeout, "write": h.WriteTimeout, "idle": h.IdleTimeout,
	} {
		if d <= 0 || d > time.Minute {
			t.Errorf("%s: %v", name, d)
		}
	}
}

// No more than maxConns are served at once, and who waits is served when one leaves.
func TestConnections(t *testing.T) {
	t.Parallel()
	s := newSite(t, "tcp", Options{})
	var idle []net.Conn
	for range maxConns {
		c, err := net.Dial("tcp", s.at)
		if err != nil {
			t.Fatal(err)
		}
		idle = append(idle, c)
		fmt.Fprintf(c, "GET /healthz HTTP/1.1\r\nHost: %s\r\n\r\n", s.at)
		if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode != 200 {
			t.Fatal(resp, err)
		}
	}
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		s.raw(t, "GET /healthz HTTP/1.1\nHost: HOST\n\n")
	}()
	select {
	case <-answered:
		t.Error("one too many was served")
	case <-time.After(100 * time.Millisecond): // it cannot be shown sooner that nothing comes
	}
	for _, c := range idle {
		c.Close()
	}
	<-answered
}

// A socket that only the owner can connect to is worth the token, and no other listener of the
// same server is.
func TestServeOwner(t *testing.T) {
	t.Parallel()
	s := newSite(t, "tcp", Options{Report: func(context.Context) any { return []string{"fine"} }})
	path := filepath.Join(t.TempDir(), "owner.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	go s.ServeOwner(l)
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", path) }}}
	for _, tt := range []struct {
		method, path string
		owner, other int
	}{
		{"GET", "/api/v1/report", 200, 401},
		{"POST", "/api/v1/signin-links", 201, 401},
		{"POST", "/api/v1/change", 200, 401},
		{"GET", "/healthz", 200, 200},
		{"GET", "/api/v1/none", 404, 401},
	} {
		for at, want := range map[*http.Client]int{&c: tt.owner, http.DefaultClient: tt.other} {
			r, err := http.NewRequest(tt.method, "http://"+s.at+tt.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := at.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("%s %s: %d, want %d", tt.method, tt.path, resp.StatusCode, want)
			}
		}
	}
}

// Without a token nothing that a client can send is the right one.
func TestZeroToken(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest("GET", "/", nil)
	for _, value := range []string{"Bearer", "Bearer ", "Bearer token"} {
		r.Header.Set("Authorization", value)
		if New(Options{}).hasToken(r) {
			t.Errorf("%q was taken", value)
		}
	}
}

// docs/log.md has each request that the code serves, and no other.
func TestDocumented(t *testing.T) {
	t.Parallel()
	pattern := regexp.MustCompile("[\"`]((?:GET|POST) /[^\"`?]+)[?\"`]")
	find := func(file string) map[string]bool {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]bool{}
		for _, m := range pattern.FindAllStringSubmatch(string(text), -1) {
			found[m[1]] = true
		}
		return found
	}
	docs, code := find("../../docs/log.md"), find("admin.go")
	maps.Copy(code, find("../daemon/names.go"))
	if diff := cmp.Diff(code, docs); diff != "" || len(code) < 5 {
		t.Errorf("-code +docs\n%s", diff)
	}
}
