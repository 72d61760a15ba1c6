package console

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
)

// newConsole returns what serves a console of f, without anybody to guard it.
func newConsole(f *fake) http.Handler {
	mux := http.NewServeMux()
	New(Options{Source: f.source(), CSRF: func(*http.Request) string { return "of-this-session" }}).Register(mux.Handle)
	return mux
}

func get(t testing.TB, h http.Handler, method, target string) *httptest.ResponseRecorder {
	t.Helper()
	return send(t, h, method, target, nil)
}

// send asks for a target as it is written, also one that no client would write.
func send(t testing.TB, h http.Handler, method, target string, form url.Values) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, "/", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	path, query, _ := strings.Cut(target, "?")
	r.URL.Path, r.URL.RawQuery = path, query
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// parse reads a page.
func parse(t *testing.T, w *httptest.ResponseRecorder) *html.Node {
	t.Helper()
	if got := w.Header().Get("Content-Type"); got != "text/html; charset=utf-8" {
		t.Errorf("it is %s", got)
	}
	root, err := html.Parse(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// skeleton is a page without its texts and values: which elements it has, in which others,
// and with which attributes.
func skeleton(n *html.Node) (lines []string) {
	var walk func(n *html.Node, inside string)
	walk = func(n *html.Node, inside string) {
		if n.Type == html.ElementNode {
			inside += "/" + n.Data
			line := inside
			for _, a := range n.Attr {
				line += " " + a.Key
			}
			lines = append(lines, line)
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c, inside)
		}
	}
	walk(n, "")
	return lines
}

// allPages are the pages, and what else a browser may be shown.
var allPages = []string{
	"/", "/connections", "/connections?limit=1000&sort=target", "/connections?q=x&user=y&sort=-up&closed=3", "/egresses", "/rules",
	"/rules?url=https://www.example/&user=ann&client=192.0.2.1&listener=lan", "/rules?url=bad", "/rules?url=smtp", "/leaks", "/failures",
	"/config", "/config?reloaded=yes", "/connections?limit=0",
}

// Names that somebody chose with hope make no element and no attribute: pages with them are
// built as pages with names that nobody could mind.
func TestHostileNames(t *testing.T) {
	var tame []string
	for range evil {
		tame = append(tame, "www.example")
	}
	for _, target := range allPages {
		bad := parse(t, get(t, newConsole(newFake(60)), "GET", target))
		good := parse(t, get(t, newConsole(newNamedFake(60, tame)), "GET", target))
		a, b := skeleton(bad), skeleton(good)
		if strings.Contains(target, "sort=") { // names are sorted by
			slices.Sort(a)
			slices.Sort(b)
		}
		if diff := cmp.Diff(b, a); diff != "" || len(a) < 20 {
			t.Errorf("%s: -tame +hostile\n%s", target, diff)
		}
		checkLinks(t, target, bad)
	}
	for _, param := range []string{"q", "user", "url", "client", "listener"} {
		path := "/connections?limit=1000&"
		if param != "q" {
			path = "/rules?url=www.example&"
		}
		if param == "url" {
			path = "/rules?"
		}
		good := skeleton(parse(t, get(t, newConsole(&fake{}), "GET", path+param+"=www.example")))
		for _, e := range evil {
			w := get(t, newConsole(&fake{}), "GET", path+param+"="+url.QueryEscape(e))
			wanted := http.StatusOK
			if strings.ContainsFunc(e, unicode.IsControl) || !utf8.ValidString(e) {
				wanted = http.StatusBadRequest
			}
			if w.Code != wanted {
				t.Errorf("%s=%q: %d", param, e, w.Code)
			}
			if root := parse(t, w); wanted == http.StatusOK {
				checkLinks(t, param, root)
				if diff := cmp.Diff(good, skeleton(root)); diff != "" {
					t.Errorf("%s=%q: -tame +hostile\n%s", param, e, diff)
				}
			}
		}
	}
}

// checkLinks fails the test if the page leads or loads from anywhere else, has a script of
// its own, or shows what cannot be seen.
func checkLinks(t *testing.T, name string, n *html.Node) {
	t.Helper()
	for n := range n.Descendants() {
		if n.Type == html.TextNode && strings.ContainsFunc(strings.NewReplacer("\n", "").Replace(n.Data), isHidden) {
			t.Errorf("%s: the text %q has hidden characters", name, n.Data)
		}
		for _, a := range n.Attr {
			leads := slices.Contains([]string{"href", "src", "action", "formaction", "data-stream", "data-link"}, a.Key)
			if leads && a.Val != "" && (!strings.HasPrefix(a.Val, "/") || strings.HasPrefix(a.Val, "//")) && a.Val != "#main" {
				t.Errorf("%s: %s=%q leads elsewhere", name, a.Key, a.Val)
			}
			if strings.HasPrefix(a.Key, "on") || a.Key == "style" {
				t.Errorf("%s: there is an attribute %s", name, a.Key)
			}
		}
		if (n.Data == "script" || n.Data == "style") && n.FirstChild != nil {
			t.Errorf("%s: a %s has content, which the policy of the listener refuses", name, n.Data)
		}
	}
}

// Each name is there to be read.
func TestNamesAreShown(t *testing.T) {
	root := parse(t, get(t, newConsole(newFake(60)), "GET", "/connections"))
	var texts []string
	for n := range root.Descendants() {
		if n.Type == html.TextNode {
			texts = append(texts, n.Data)
		}
	}
	for _, e := range evil {
		if !slices.Contains(texts, visible(e)+":443") || !slices.Contains(texts, visible(e)) {
			t.Errorf("%q is not shown", e)
		}
	}
}

// Neither a page nor the API waits long for a tor that does not answer.
func TestSlowTor(t *testing.T) {
	for target, most := range map[string]time.Duration{"/": pageTimeout, "/egresses": pageTimeout, "/api/v1/egresses": askTimeout} {
		synctest.Test(t, func(t *testing.T) {
			source := newFake(3).source()
			source.Egresses = func(ctx context.Context) []Egress {
				<-ctx.Done()
				return []Egress{{Name: "slow"}}
			}
			mux := http.NewServeMux()
			New(Options{Source: source, CSRF: func(*http.Request) string { return "" }}).Register(mux.Handle)
			start := time.Now()
			if w := get(t, mux, "GET", target); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "slow") {
				t.Errorf("%s: %d %s", target, w.Code, w.Body)
			}
			if took := time.Since(start); took > most {
				t.Errorf("%s took %v", target, took)
			}
		})
	}
}

// What every page has, for who sees it and for who does not.
func TestPagesReadable(t *testing.T) {
	for name, f := range map[string]*fake{"busy": newFake(40), "idle": {}} {
		for _, target := range allPages {
			root := parse(t, get(t, newConsole(f), "GET", target))
			found := map[string]int{}
			labels, ids := map[string]bool{}, map[string]int{}
			for n := range root.Descendants() {
				found[n.Data]++
				for _, a := range n.Attr {
					switch {
					case a.Key == "id":
						ids[a.Val]++
					case a.Key == "for":
						labels[a.Val] = true
					case a.Key == "aria-current":
						found["current"]++
					case n.Data == "th" && a.Key == "scope":
						found["scope"]++
					}
				}
			}
			for n := range root.Descendants() {
				if n.Data == "input" && attr(n, "type") != "hidden" && !labels[attr(n, "id")] {
					t.Errorf("%s: %s: an input has no label", name, target)
				}
				if by := attr(n, "aria-labelledby"); by != "" {
					for id := range strings.FieldsSeq(by) {
						if ids[id] != 1 {
							t.Errorf("%s: %s: %d elements have the id %s", name, target, ids[id], id)
						}
					}
				}
			}
			if found["h1"] != 1 || found["main"] != 1 || found["title"] < 1 || found["current"] > 1 || found["th"] != found["scope"] {
				t.Errorf("%s: %s: %v", name, target, found)
			}
		}
	}
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// What cannot be is refused, with what to write: JSON for scripts, a page for people.
func TestBadInput(t *testing.T) {
	long := strings.Repeat("x", maxWord+1)
	for _, tt := range []struct {
		method, target string
		code           int
		says           string
	}{
		{"GET", "/connections?limit=0", 400, "from 1 to 1000"},
		{"GET", "/connections?limit=1001", 400, "from 1 to 1000"},
		{"GET", "/connections?limit=99999999999999999999", 400, "from 1 to 1000"},
		{"GET", "/connections?limit=-1", 400, "from 1 to 1000"},
		{"GET", "/connections?limit=1e2", 400, "from 1 to 1000"},
		{"GET", "/connections?limit=", 400, "from 1 to 1000"},
		{"GET", "/connections?sort=password", 400, "write one of target, client, dialect"},
		{"GET", "/connections?q=" + long, 400, "at most 256"},
		{"GET", "/connections?user=" + long, 400, "at most 256"},
		{"GET", "/connections?q=%00", 400, "without control characters"},
		{"GET", "/connections?q=%0d%0aSet-Cookie:%20a=b", 400, "without control characters"},
		{"GET", "/connections?q=%c2%85", 400, "without control characters"},
		{"GET", "/connections?q=%ff", 400, "write UTF-8"},
		{"GET", "/connections?q=%zz", 400, "NAME=VALUE"},
		{"GET", "/connections?q=a;b", 400, "NAME=VALUE"},
		{"GET", "/connections?q=a&q=b", 400, "q= may stand here once"},
		{"GET", "/connections?Q=a", 400, "there are closed, limit, q, sort, user"},
		{"GET", "/connections?%3Cscript%3E=a", 400, "there is no parameter"},
		{"GET", "/connections?" + long + "=a", 400, "there is no parameter"},
		{"GET", "/connections?closed=many", 400, "it is a number"},
		{"GET", "/connections?closed=-1", 400, "it is a number"},
		{"GET", "/?limit=5", 400, "there are none"},
		{"GET", "/egresses?x", 400, "there are none"},
		{"GET", "/rules?url=" + strings.Repeat("x", maxURL+1), 400, "at most 2048"},
		{"GET", "/rules?url=bad", 400, "neither a URL nor host:port"},
		{"GET", "/rules?url=a&command=bind", 400, "there are client, listener, url, user"},
		{"GET", "/api/v1/status?x=1", 400, "there are none"},
		{"GET", "/api/v1/connections?limit=0", 400, "from 1 to 1000"},
		{"GET", "/api/v1/explain", 400, "url=URL"},
		{"GET", "/api/v1/explain?url=", 400, "url=URL"},
		{"GET", "/api/v1/explain?url=bad", 400, "neither a URL nor host:port"},
		{"GET", "/api/v1/events", 400, "about=TOPIC"},
		{"GET", "/api/v1/events?about=passwords", 400, "write one of status, connections"},
		{"GET", "/api/v1/events?about=", 400, "write one of status, connections"},
		{"DELETE", "/api/v1/connections", 400, "user=NAME"},
		{"DELETE", "/api/v1/connections?user=", 400, "user=NAME"},
		{"DELETE", "/api/v1/connections?usr=ann", 400, "there are user"},
		{"DELETE", "/api/v1/connections?user=ann&user=bob", 400, "once"},
		{"DELETE", "/api/v1/connections/0", 400, "is no connection"},
		{"DELETE", "/api/v1/connections/-1", 400, "is no connection"},
		{"DELETE", "/api/v1/connections/+1", 400, "is no connection"},
		{"DELETE", "/api/v1/connections/1x", 400, "is no connection"},
		{"DELETE", "/api/v1/connections/18446744073709551616", 400, "is no connection"},
		{"DELETE", "/api/v1/connections/" + long, 400, "is no connection"},
		{"DELETE", "/api/v1/connections/1?user=ann", 400, "there are none"},
		{"DELETE", "/api/v1/connections/18446744073709551615", 404, "is not open"},
		{"GET", "/api/v1/connections/1", 405, "here the methods are DELETE"},
		{"PUT", "/api/v1/connections", 405, "DELETE, GET, HEAD"},
		{"POST", "/api/v1/status", 405, "GET, HEAD"},
		{"OPTIONS", "/api/v1/events", 405, "GET, HEAD"},
		{"TRACE", "/", 405, "GET, HEAD"},
		{"DELETE", "/connections", 405, "GET, HEAD"},
		{"GET", "/connections/close", 405, "POST"},
		{"get", "/api/v1/status", 405, "GET, HEAD"},
		{"", "/console/style.css?", 200, ""},
		{"POST", "/console/style.css", 405, "GET, HEAD"},
		{"GET", "/console/layout.html", 404, "no such file"},
		{"GET", "/console/openapi.json", 404, "no such file"},
		{"GET", "/console/..", 404, "no such file"},
		{"POST", "/connections/close", 400, "is no connection"},
		{"POST", "/connections/close?id=1", 400, "there is no parameter"},
		{"POST", "/connections/close?q=%0d%0aX:%20y", 400, "without control characters"},
		{"POST", "/config/reload", 404, ""},
		{"GET", "/api/v1/nothing", 404, ""},
	} {
		f := newFake(20)
		var w *httptest.ResponseRecorder
		if tt.target == "/console/.." {
			r := httptest.NewRequest("GET", "/console/x", nil)
			r.SetPathValue("file", "../console.go")
			w = httptest.NewRecorder()
			serveAsset(w, r, query{})
		} else {
			w = get(t, newConsole(f), tt.method, tt.target)
		}
		name := tt.method + " " + tt.target[:min(len(tt.target), 60)]
		body := html.UnescapeString(w.Body.String())
		if w.Code != tt.code || !strings.Contains(body, tt.says) || len(f.ended) > 0 && tt.code != 404 {
			t.Errorf("%s: %d %v %s", name, w.Code, f.ended, body)
		}
		if (w.Header().Get("Allow") != "") != (tt.code == 405) || len(w.Header()["Set-Cookie"]) > 0 || w.Header().Get("Location") != "" {
			t.Errorf("%s: %v", name, w.Header())
		}
		if strings.HasPrefix(tt.target, api) && tt.says != "" {
			var p problem
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Error == "" || len(p.Error) > 300 {
				t.Errorf("%s: %v %q", name, err, p.Error)
			}
		}
	}
}

// What a browser without scripts sends.
func TestForms(t *testing.T) {
	for _, tt := range []struct {
		target  string
		form    url.Values
		code    int
		to      string
		ended   string
		remains int
	}{
		{"/connections/close", url.Values{"id": {"7"}}, 303, "/connections?closed=1", "7 ", 19},
		{"/connections/close?q=a%26b&sort=-down&user=ann&limit=5", url.Values{"id": {"7"}}, 303, "/connections?closed=1&limit=5&q=a%26b&sort=-down&user=ann", "7 ", 19},
		{"/connections/close?user=ann", url.Values{"of": {"ann"}}, 303, "/connections?closed=2&user=ann", "0 ann", 18},
		{"/connections/close", url.Values{"id": {"7"}, "of": {"ann"}}, 303, "/connections?closed=1", "7 ", 19},
		{"/connections/close", url.Values{"id": {"999"}}, 303, "/connections?closed=0", "999 ", 20},
		{"/connections/close", url.Values{"id": {""}, "of": {""}}, 400, "", "", 20},
		{"/connections/close", url.Values{"id": {"0"}, "of": {"ann"}}, 400, "", "", 20},
		{"/connections/close?q=//evil.test", url.Values{"id": {"7"}}, 303, "/connections?closed=1&q=%2F%2Fevil.test", "7 ", 19},
	} {
		f := newFake(20)
		h := newConsole(f)
		w := send(t, h, "POST", tt.target, tt.form)
		if w.Code != tt.code || w.Header().Get("Location") != tt.to || strings.Join(f.ended, " ") != tt.ended || len(f.connections) != tt.remains {
			t.Errorf("%s %v: %d to %q, asked %q, %d are open", tt.target, tt.form, w.Code, w.Header().Get("Location"), f.ended, len(f.connections))
		}
		if tt.to != "" {
			if body := get(t, h, "GET", tt.to).Body.String(); !strings.Contains(body, `class="done"`) {
				t.Errorf("%s does not say what was done", tt.to)
			}
		}
	}
}

func TestReloadForm(t *testing.T) {
	f := newFake(5)
	var fail error
	mux := http.NewServeMux()
	New(Options{Source: f.source(), CSRF: func(*http.Request) string { return "" }, Reload: func() error { return fail }}).Register(mux.Handle)
	if w := send(t, mux, "POST", "/config/reload", nil); w.Code != 303 || w.Header().Get("Location") != "/config?reloaded=yes" {
		t.Errorf("%d to %s", w.Code, w.Header().Get("Location"))
	}
	fail = errors.Join(errors.New("a.toml:1:1: one <b>"), errors.New("a.toml:2:1: two"))
	w := send(t, mux, "POST", "/config/reload", nil)
	for _, want := range []string{"a.toml:1:1: one &lt;b&gt;</p>", "a.toml:2:1: two</p>", "that was in force still is"} {
		if w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%d, and no %q", w.Code, want)
		}
	}
	for reload, h := range map[bool]http.Handler{true: mux, false: newConsole(f)} {
		if got := strings.Contains(get(t, h, "GET", "/config").Body.String(), `action="/config/reload"`); got != reload {
			t.Errorf("there is a button: %v, want %v", got, reload)
		}
	}
}

// Every form that changes something has what proves whose page it is on.
func TestFormsProveThemselves(t *testing.T) {
	for _, target := range allPages {
		root := parse(t, get(t, newConsole(newFake(5)), "GET", target))
		for n := range root.Descendants() {
			if n.Data != "form" || attr(n, "method") != "post" {
				continue
			}
			proves := false
			for in := range n.Descendants() {
				proves = proves || in.Data == "input" && attr(in, "name") == "csrf" && attr(in, "value") == "of-this-session"
			}
			if !proves {
				t.Errorf("%s: the form for %s does not", target, attr(n, "action"))
			}
		}
	}
}

// A number that JSON has not is an error, and not half an answer.
func TestAnswerFails(t *testing.T) {
	w := httptest.NewRecorder()
	answer(w, http.StatusOK, func() {})
	if w.Code != http.StatusInternalServerError || !json.Valid(w.Body.Bytes()) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestAssets(t *testing.T) {
	h := newConsole(&fake{})
	for name, kind := range assets {
		w := get(t, h, "GET", "/console/"+name)
		if w.Code != http.StatusOK || w.Body.Len() < 100 || w.Header().Get("Content-Type") != kind {
			t.Errorf("%s: %d %s, %d bytes", name, w.Code, w.Header().Get("Content-Type"), w.Body.Len())
		}
		for _, outside := range []string{"http:", "https:", "@import", "innerHTML", "insertAdjacentHTML", "eval("} {
			if strings.Contains(strings.ReplaceAll(w.Body.String(), "http://www.w3.org/2000/svg", ""), outside) {
				t.Errorf("%s has %s", name, outside)
			}
		}
	}
}
