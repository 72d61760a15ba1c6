package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"hosier/internal/tcptest"
)

// raw sends text to the admin listener, where HOST and TOKEN are its own, and returns the
// answer; nil if there was none.
func (h *consoleHost) raw(t *testing.T, text string) (*http.Response, string) {
	t.Helper()
	host := strings.Trim(strings.TrimPrefix(h.url, "http:"), "/")
	c, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	method, _, _ := strings.Cut(text, " ")
	go io.WriteString(c, strings.NewReplacer("HOST", host, "TOKEN", h.token, "\n", "\r\n").Replace(text)) // all of it is not read
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		return nil, ""
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp, string(body)
}

// paths are what the API says that it has, and the pages.
func (h *consoleHost) paths(t *testing.T) []string {
	t.Helper()
	resp := h.open(t, t.Context(), "api/v1/openapi")
	defer resp.Body.Close()
	var document struct{ Paths map[string]any }
	if err := json.NewDecoder(resp.Body).Decode(&document); err != nil || len(document.Paths) < 12 {
		t.Fatal(document, err)
	}
	all := []string{"/", "/connections", "/egresses", "/rules", "/leaks", "/failures", "/config", "/connections/close", "/config/reload", "/signout", "/console/style.css"}
	for path := range document.Paths {
		all = append(all, strings.Replace(path, "{id}", "1", 1))
	}
	return all
}

// Requests that nobody means well by change nothing, get nothing, and leave a log in which
// each line is hosier's own.
func TestHostileAdminRequests(t *testing.T) {
	h := startWithConsole(t, "-v")
	kept := connectThrough(t, h.addr(), tcptest.Listen(t, tcptest.Echo))
	exchange(t, kept, "before")
	const bearer = "Authorization: Bearer TOKEN\n"
	host, evil := "Host: HOST\n", "Host: evil.test\n"
	end := "Content-Length: 0\n\n"
	type request struct {
		name, text string
		codes      []int
	}
	all := []request{
		{"traversal", "GET /console/../../../../../etc/passwd HTTP/1.1\n" + host + bearer + "\n", []int{307}},
		{"traversal-escaped", "GET /console/..%2f..%2f..%2fetc%2fpasswd HTTP/1.1\n" + host + bearer + "\n", []int{404}},
		{"traversal-absolute", "GET /console/%2fetc%2fpasswd HTTP/1.1\n" + host + bearer + "\n", []int{404}},
		{"traversal-token", "GET /console/..%2f..%2fadmin.token HTTP/1.1\n" + host + bearer + "\n", []int{404}},
		{"path-nul", "GET /connections%00 HTTP/1.1\n" + host + bearer + "\n", []int{404}},
		{"path-of-bytes", "GET /\xff\xfe\x1b[31m HTTP/1.1\n" + host + bearer + "\n", []int{400, 404}},
		{"inject-path", "GET /x%0d%0aSet-Cookie:%20a=b%0d%0a HTTP/1.1\n" + host + bearer + "\n", []int{404}},
		{"inject-code", "GET /signin?code=%0d%0aLocation:%20http://evil.test HTTP/1.1\n" + host + "\n", []int{403}},
		{"inject-redirect", "POST /connections/close?q=%0d%0aX:%20y HTTP/1.1\n" + host + bearer + "Content-Type: application/x-www-form-urlencoded\nContent-Length: 4\n\nid=9", []int{400}},
		{"inject-log", "GET /\" level=ERROR msg=\"owned HTTP/1.1\n" + host + bearer + "\n", []int{400, 404, 505}},
		{"explain-bytes", "GET /rules?url=%ff%00%1b%5b31m HTTP/1.1\n" + host + bearer + "\n", []int{400}},
		{"explain-long", "GET /api/v1/explain?url=" + strings.Repeat("a", 9000) + " HTTP/1.1\n" + host + bearer + "\n", []int{400}},
		{"explain-user", "GET /api/v1/explain?url=http://a:hunter2@b.test/&user=%00 HTTP/1.1\n" + host + bearer + "\n", []int{400}},
		{"id-zero", "DELETE /api/v1/connections/0 HTTP/1.1\n" + host + bearer + end, []int{400}},
		{"id-negative", "DELETE /api/v1/connections/-1 HTTP/1.1\n" + host + bearer + end, []int{400}},
		{"id-wraps", "DELETE /api/v1/connections/18446744073709551617 HTTP/1.1\n" + host + bearer + end, []int{400}},
		{"id-of-others", "DELETE /api/v1/connections/18446744073709551615 HTTP/1.1\n" + host + bearer + end, []int{404}},
		{"user-nobody", "DELETE /api/v1/connections?user= HTTP/1.1\n" + host + bearer + end, []int{400}},
		{"user-twice", "DELETE /api/v1/connections?user=a&user=b HTTP/1.1\n" + host + bearer + end, []int{400}},
		{"form-nothing", "POST /connections/close HTTP/1.1\n" + host + bearer + end, []int{400}},
		{"head-long", "GET / HTTP/1.1\n" + host + bearer + "X: " + strings.Repeat("x", 1<<20) + "\n\n", []int{431}},
		{"head-many", "GET / HTTP/1.1\n" + host + bearer + strings.Repeat("X: y\n", 20_000) + "\n", []int{431}},
		{"cookie-long", "GET / HTTP/1.1\n" + host + "Cookie: hosier=" + strings.Repeat("x", 15<<10) + "\n\n", []int{401, 431}},
		{"body-long", "POST /api/v1/reload HTTP/1.1\n" + host + bearer + "Content-Length: 99999999999999999999\n\n", []int{400}},
		{"body-both", "POST /connections/close HTTP/1.1\n" + host + bearer + "Content-Length: 4\nTransfer-Encoding: chunked\n\n4\nid=1\n0\n\n", []int{400}},
		{"body-bad-chunk", "POST /connections/close HTTP/1.1\n" + host + bearer + "Content-Type: application/x-www-form-urlencoded\nTransfer-Encoding: chunked\n\nzz\nid=1", []int{400}},
		{"upgrade", "GET /api/v1/events?about=status HTTP/1.1\n" + evil + bearer + "Connection: Upgrade\nUpgrade: websocket\n\n", []int{421}},
		{"events-nothing", "GET /api/v1/events HTTP/1.1\n" + host + bearer + "\n", []int{400}},
		{"events-unknown", "GET /api/v1/events?about=passwords HTTP/1.1\n" + host + bearer + "\n", []int{400}},
		{"events-foreign", "GET /api/v1/events?about=status HTTP/1.1\n" + host + bearer + "Origin: http://evil.test\n\n", []int{403}},
		{"method-odd", "BR\x01EW / HTTP/1.1\n" + host + bearer + "\n", []int{400}},
		{"connect", "CONNECT evil.test:80 HTTP/1.1\nHost: evil.test:80\n" + bearer + "\n", []int{421}},
		{"socks", "\x05\x01\x00\n\n", []int{400}},
		{"tls", "\x16\x03\x01\x02\x00\x01\x00\n\n", []int{400}},
	}
	open := []string{"/healthz", "/readyz", "/metrics"}
	for _, path := range h.paths(t) {
		if !slices.Contains(open, path) {
			for _, method := range []string{"GET", "POST", "DELETE"} {
				all = append(all, request{"signed-out", method + " " + path + " HTTP/1.1\n" + host + end, []int{401}})
			}
		}
		for _, method := range []string{"PUT", "PATCH", "TRACE", "OPTIONS", "get", "DELETEX"} {
			all = append(all, request{"method", method + " " + path + " HTTP/1.1\n" + host + bearer + end, []int{404, 405}})
		}
		all = append(all,
			request{"rebinding", "GET " + path + " HTTP/1.1\n" + evil + bearer + "\n", []int{421}},
			request{"parameter", "GET " + path + "?__proto__=1&%00=%ff HTTP/1.1\n" + host + bearer + "\n", []int{200, 400, 404, 405}})
	}
	for _, r := range all {
		what, _, _ := strings.Cut(r.text, "\n")
		what = r.name + ": " + what[:min(len(what), 80)]
		resp, body := h.raw(t, r.text)
		if resp == nil {
			t.Errorf("%s: no answer", what)
			continue
		}
		if !slices.Contains(r.codes, resp.StatusCode) {
			t.Errorf("%s: %d %.100q, want %d", what, resp.StatusCode, body, r.codes)
		}
		for name := range resp.Header {
			if name == "Set-Cookie" || name == "X" || strings.HasPrefix(name, "Access-Control") {
				t.Errorf("%s: the answer has %s", what, name)
			}
		}
		if strings.Contains(body, "root:") || strings.Contains(body, h.token) || strings.Contains(body, "hunter2") || strings.ContainsAny(body, "\x00\x1b") {
			t.Errorf("%s: %.200q", what, body)
		}
		if to := resp.Header.Get("Location"); to != "" && (to[0] != '/' || strings.HasPrefix(to, "//")) {
			t.Errorf("%s: leads to %s", what, to)
		}
	}
	if len(all) < 200 {
		t.Errorf("only %d requests", len(all))
	}
	exchange(t, kept, "after")
	if code, text := ask(t, "GET", h.url+"healthz", "", ""); code != 200 {
		t.Errorf("health: %d %s", code, text)
	}
	line := regexp.MustCompile(`^(time=\S+ level=(INFO|WARN) |listening on |listener |admin on |hosier: )[\x20-\x7e]+\n$`)
	for l := range strings.Lines(h.log.String()) {
		if !line.MatchString(l) || strings.Contains(l, h.token) {
			t.Errorf("the log has %q", l)
		}
	}
}
