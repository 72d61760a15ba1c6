package console

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// newConsole returns what serves a console of f, without anybody to guard it.
func newConsole(f *fake) http.Handler {
	mux := http.NewServeMux()
	New(Options{Source: f.source(), CSRF: func(*http.Request) string { return "of-this-session" }}).Register(mux.Handle)
	return mux
}

func get(t *testing.T, h http.Handler, method, target string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, "/", nil)
	path, query, _ := strings.Cut(target, "?")
	r.URL.Path, r.URL.RawQuery = path, query
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestPages(t *testing.T) {
	h := newConsole(newFake(30))
	for _, p := range pages {
		w := get(t, h, "GET", p.Href())
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "<h1>"+p.Title+"</h1>") {
			t.Errorf("%s: %d %s", p.name, w.Code, w.Body)
		}
	}
}
