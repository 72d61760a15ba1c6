package main

import (
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"
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
	dir := stateDirFor(t)
	start(t, "--admin", "127.0.0.1:0", "--state-dir", dir)
	link := consoleLink(t, "--state-dir", dir)
	home, _, _ := strings.Cut(link, "signin")
	in, out := newVisitor(t), newVisitor(t)
	if code := visit(t, out, home); code != http.StatusUnauthorized {
		t.Errorf("without a link: %d", code)
	}
	visit(t, in, link)
	if code := visit(t, in, home); code == http.StatusUnauthorized {
		t.Errorf("with the link: %d", code)
	}
	if code := visit(t, out, link); code != http.StatusForbidden {
		t.Errorf("with the same link: %d", code)
	}
	if code := visit(t, out, home); code != http.StatusUnauthorized {
		t.Errorf("after the same link: %d", code)
	}
	visit(t, out, consoleLink(t, "--admin", home, "--state-dir", dir))
	if code := visit(t, out, home); code == http.StatusUnauthorized {
		t.Errorf("with a link of its own: %d", code)
	}
}
