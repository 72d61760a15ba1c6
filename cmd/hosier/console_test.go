package main

import (
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"

	"hosier/internal/admin"
)

// consoleLink runs hosier console with the arguments and returns what it prints.
func consoleLink(tb testing.TB, args ...string) string {
	tb.Helper()
	got := runProgram(tb, "", append([]string{"hosier", "console"}, args...)...)
	if got.code != exitOK {
		tb.Fatalf("hosier console: exit code %d: %s", got.code, got.stderr)
	}
	return strings.TrimSpace(got.stdout)
}

// consoleHost is a hosier with a console.
type consoleHost struct {
	*process
	dir    string      // its state directory
	url    string      // of the console, with a / at the end
	token  string      // of scripts
	client http.Client // for them
}

func startWithConsole(tb testing.TB, args ...string) *consoleHost {
	tb.Helper()
	return startWithConsoleUnder(tb, nil, args...)
}

// startWithConsoleUnder is to startWithConsole what startUnder is to start.
func startWithConsoleUnder(tb testing.TB, wrapper []string, args ...string) *consoleHost {
	tb.Helper()
	h := &consoleHost{dir: stateDirFor(tb)}
	args = append([]string{"--admin", "127.0.0.1:0", "--state-dir", h.dir}, args...)
	h.process = startUnder(tb, wrapper, args...)
	h.url, _, _ = strings.Cut(h.link(tb), "signin")
	token, err := admin.ReadToken(h.dir)
	if err != nil {
		tb.Fatal(err)
	}
	transport := &http.Transport{}
	tb.Cleanup(transport.CloseIdleConnections)
	h.token, h.client.Transport = token.Reveal(), transport
	return h
}

// link is a new one that signs a browser in.
func (h *consoleHost) link(tb testing.TB) string {
	tb.Helper()
	return consoleLink(tb, "--state-dir", h.dir)
}

// newVisitor is a browser without a screen: it keeps cookies.
func newVisitor(tb testing.TB) *http.Client {
	tb.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		tb.Fatal(err)
	}
	transport := &http.Transport{}
	tb.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Jar: jar, Timeout: patience}
}

// visit returns the code that the last of the redirects answers.
func visit(tb testing.TB, visitor *http.Client, url string) int {
	tb.Helper()
	resp, err := visitor.Get(url)
	if err != nil {
		tb.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// A link of hosier console lets one browser in.
func TestConsoleLink(t *testing.T) {
	h := startWithConsole(t)
	link, home := h.link(t), h.url
	in, out := newVisitor(t), newVisitor(t)
	if code := visit(t, out, home); code != http.StatusUnauthorized {
		t.Errorf("without a link: %d", code)
	}
	visit(t, in, link)
	if code := visit(t, in, home); code != http.StatusOK {
		t.Errorf("with the link: %d", code)
	}
	if code := visit(t, out, link); code != http.StatusForbidden {
		t.Errorf("with the same link: %d", code)
	}
	if code := visit(t, out, home); code != http.StatusUnauthorized {
		t.Errorf("after the same link: %d", code)
	}
	visit(t, out, consoleLink(t, "--admin", home, "--state-dir", h.dir))
	if code := visit(t, out, home); code != http.StatusOK {
		t.Errorf("with a link of its own: %d", code)
	}
}
