package console

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"hosier/internal/admin"
)

// site is a console on the admin listener, as people and scripts reach it.
type site struct {
	*fake
	console   *Console
	at, token string
	client    http.Client
}

func newSite(t *testing.T) *site {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	token := admin.NewToken()
	reload := func() error { return nil }
	srv := admin.New(admin.Options{
		Token: token, Reload: reload, Report: func(context.Context) any { return object{} }, Log: slog.New(slog.DiscardHandler), Ready: func(context.Context) error { return nil },
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			io.WriteString(w, "hosier_build_info 1\n")
		}),
	})
	s := &site{fake: newFake(20), at: l.Addr().String(), token: token.Reveal()}
	s.console = New(Options{Source: s.source(), CSRF: admin.CSRF, SignedIn: srv.SignedIn, Reload: reload})
	s.console.Register(srv.Handle)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	tr := &http.Transport{}
	s.client = http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(func() {
		srv.Close()
		tr.CloseIdleConnections()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return s
}

// do sends a request with the headers, name and value in turn.
func (s *site) do(t *testing.T, method, target string, form url.Values, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, "http://"+s.at+target, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// signIn returns the cookie of a browser that came by a link.
func (s *site) signIn(t *testing.T) string {
	t.Helper()
	_, body := s.do(t, "POST", "/api/v1/signin-links", nil, "Authorization", "Bearer "+s.token)
	var l struct{ Link string }
	if err := json.Unmarshal([]byte(body), &l); err != nil {
		t.Fatal(err)
	}
	resp, _ := s.do(t, "GET", strings.TrimPrefix(l.Link, "http://"+s.at), nil)
	if len(resp.Cookies()) != 1 {
		t.Fatal(resp)
	}
	return resp.Cookies()[0].Name + "=" + resp.Cookies()[0].Value
}

var csrfOfPage = regexp.MustCompile(`data-csrf="([^"]{43,})"`)

// csrf is what the pages of a session send back.
func (s *site) csrf(t *testing.T, cookie string) string {
	t.Helper()
	_, body := s.do(t, "GET", "/connections", nil, "Cookie", cookie)
	m := csrfOfPage.FindStringSubmatch(body)
	if m == nil {
		t.Fatalf("the page has no CSRF value: %s", body)
	}
	return m[1]
}

// What changes something is done for a page of the session alone.
func TestCSRF(t *testing.T) {
	s := newSite(t)
	mine, other := s.signIn(t), s.signIn(t)
	good, foreign := s.csrf(t, mine), s.csrf(t, other)
	for _, what := range []struct {
		method, target string
		form           url.Values
		code           int
	}{
		{"DELETE", "/api/v1/connections/7", nil, 200},
		{"DELETE", "/api/v1/connections?user=bob", nil, 200},
		{"POST", "/connections/close", url.Values{"id": {"8"}}, 303},
		{"POST", "/connections/close?user=ci", url.Values{"of": {"ci"}}, 303},
		{"POST", "/config/reload", url.Values{}, 303},
		{"POST", "/api/v1/reload", url.Values{}, 200},
	} {
		for _, c := range []struct {
			name, header, field, cookie string
			code                        int
		}{
			{"none", "", "", mine, 403},
			{"wrong", "x", "x", mine, 403},
			{"of-another", foreign, "", mine, 403},
			{"of-another-in-field", "", foreign, mine, 403},
			{"signed-out", good, "", "", 401},
			{"header", good, "", mine, what.code},
			{"field", "", good, mine, what.code},
		} {
			if c.name == "field" && what.method == "DELETE" {
				continue // it has no form
			}
			s.ended = nil
			form := url.Values{}
			for k, v := range what.form {
				form[k] = v
			}
			form.Set("csrf", c.field)
			resp, body := s.do(t, what.method, what.target, form, "Cookie", c.cookie, "X-Csrf-Token", c.header)
			code := c.code
			if c.name == "field" && strings.Contains(what.target, "/7") {
				code = 404
			}
			if resp.StatusCode != code || len(s.ended) > 0 && c.code >= 400 {
				t.Errorf("%s %s: %s: %d %s, asked %q", what.method, what.target, c.name, resp.StatusCode, body, s.ended)
			}
		}
	}
	if len(s.connections) >= 20 {
		t.Error("nothing was closed")
	}
}

// Nothing of the console is for who has not signed in; and what the description says of the
// admin listener's own is so.
func TestOperations(t *testing.T) {
	s := newSite(t)
	operations, schemas := described(t)
	for what, o := range operations {
		method, path, _ := strings.Cut(what, " ")
		target := strings.Replace(path, "{id}", "1", 1)
		resp, _ := s.do(t, method, target, nil)
		open := slices.Contains([]string{"/healthz", "/readyz", "/metrics"}, path)
		if open != (resp.StatusCode == 200) || !open && resp.StatusCode != 401 {
			t.Errorf("%s signed out: %d", what, resp.StatusCode)
		}
		if !isOfAdmin(path) {
			continue
		}
		resp, body := s.do(t, method, target, nil, "Authorization", "Bearer "+s.token)
		for _, wrong := range o.checkBody(schemas, resp, body) {
			t.Errorf("%s: %s: %s", what, resp.Status, wrong)
		}
	}
	for _, p := range pages {
		if resp, _ := s.do(t, "GET", p.Href(), nil); resp.StatusCode != 401 {
			t.Errorf("%s signed out: %d", p.Href(), resp.StatusCode)
		}
		resp, _ := s.do(t, "GET", p.Href(), nil, "Authorization", "Bearer "+s.token)
		if policy := resp.Header.Get("Content-Security-Policy"); resp.StatusCode != 200 || !strings.Contains(policy, "script-src 'self'") {
			t.Errorf("%s: %d, %s", p.Href(), resp.StatusCode, policy)
		}
	}
}

// Requests that no client of ours makes.
func TestHostileRequests(t *testing.T) {
	s := newSite(t)
	for _, tt := range []struct {
		name, request string
		code          int
	}{
		{"traversal", "GET /console/../../../../etc/passwd HTTP/1.1\nHost: HOST\nAUTH\n\n", 307},
		{"traversal-escaped", "GET /console/%2e%2e%2f%2e%2e%2fconsole.go HTTP/1.1\nHost: HOST\nAUTH\n\n", 404},
		{"traversal-backslash", "GET /console/..\\..\\console.go HTTP/1.1\nHost: HOST\nAUTH\n\n", 404},
		{"traversal-nul", "GET /console/style.css%00.html HTTP/1.1\nHost: HOST\nAUTH\n\n", 404},
		{"double-slash", "GET //connections HTTP/1.1\nHost: HOST\nAUTH\n\n", 307},
		{"path-crlf", "GET /connections%0d%0aSet-Cookie:%20a=b HTTP/1.1\nHost: HOST\nAUTH\n\n", 404},
		{"path-crlf-id", "DELETE /api/v1/connections/1%0d%0aX:%20y HTTP/1.1\nHost: HOST\nAUTH\n\n", 400},
		{"query-crlf", "GET /connections?user=%0d%0aSet-Cookie:%20a=b HTTP/1.1\nHost: HOST\nAUTH\n\n", 400},
		{"redirect-crlf", "POST /connections/close?user=%0d%0aX:%20y HTTP/1.1\nHost: HOST\nAUTH\nContent-Length: 0\n\n", 400},
		{"head-too-long", "GET / HTTP/1.1\nHost: HOST\nAUTH\nX: " + strings.Repeat("x", 64<<10) + "\n\n", 431},
		{"query-too-long", "GET /connections?q=" + strings.Repeat("x", 10<<10) + " HTTP/1.1\nHost: HOST\nAUTH\n\n", 400},
		{"form-too-long", "POST /connections/close HTTP/1.1\nHost: HOST\nAUTH\nContent-Type: application/x-www-form-urlencoded\nContent-Length: 100000\n\nid=1&x=" + strings.Repeat("x", 100000-7), 400},
		{"form-of-another-kind", "POST /connections/close HTTP/1.1\nHost: HOST\nAUTH\nContent-Type: text/plain\nContent-Length: 4\n\nid=1", 400},
		{"id-in-query", "POST /connections/close?id=1 HTTP/1.1\nHost: HOST\nAUTH\nContent-Length: 0\n\n", 400},
		{"method-override", "POST /api/v1/connections/1 HTTP/1.1\nHost: HOST\nAUTH\nX-HTTP-Method-Override: DELETE\nContent-Length: 0\n\n", 405},
		{"foreign-site", "DELETE /api/v1/connections/1 HTTP/1.1\nHost: HOST\nAUTH\nSec-Fetch-Site: cross-site\n\n", 403},
		{"foreign-host", "DELETE /api/v1/connections/1 HTTP/1.1\nHost: evil.test\nAUTH\n\n", 421},
	} {
		c, err := net.Dial("tcp", s.at)
		if err != nil {
			t.Fatal(err)
		}
		request := strings.NewReplacer("HOST", s.at, "AUTH", "Authorization: Bearer "+s.token, "\n", "\r\n").Replace(tt.request)
		go io.WriteString(c, request) // a server that refuses a head does not read it all
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			c.Close()
			continue
		}
		body, _ := io.ReadAll(resp.Body)
		c.Close()
		if resp.StatusCode != tt.code || resp.Header.Get("X") != "" || len(resp.Cookies()) > 0 || strings.Contains(string(body), "package console") {
			t.Errorf("%s: %d %v %.200s", tt.name, resp.StatusCode, resp.Header, body)
		}
	}
	if len(s.ended) > 0 {
		t.Errorf("it was asked to end %q", s.ended)
	}
}

// Signing out ends the streams of the session, and no others.
func TestSignOutEndsStreams(t *testing.T) {
	s := newSite(t)
	open := func(cookie string) *http.Response {
		r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+s.at+"/api/v1/events?about=rules", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Cookie", cookie)
		resp, err := s.client.Do(r)
		if err != nil || resp.StatusCode != 200 {
			t.Fatal(resp, err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	mine, other := s.signIn(t), s.signIn(t)
	ends, stays := open(mine), open(other)
	csrf := s.csrf(t, mine)
	if resp, _ := s.do(t, "POST", "/signout", url.Values{"csrf": {csrf}}, "Cookie", mine); resp.StatusCode != 200 {
		t.Fatal(resp.Status)
	}
	if b, err := io.ReadAll(ends.Body); err != nil || !strings.Contains(string(b), "event: rules") {
		t.Errorf("the stream had %q: %v", b, err)
	}
	s.mu.Lock()
	s.rules = s.rules[:1]
	s.mu.Unlock()
	lines := bufio.NewScanner(stays.Body)
	for rules := 0; rules < 2 && lines.Scan(); {
		if lines.Text() == "event: rules" {
			rules++
		}
	}
	if lines.Err() != nil {
		t.Errorf("the stream of another ended: %v", lines.Err())
	}
}
