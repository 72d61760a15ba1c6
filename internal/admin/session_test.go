package admin

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// browser keeps cookies, and follows no redirect.
type browser struct {
	*http.Client
	cookie *http.Cookie
}

// do sends a request with the cookie, and the one header if it is not "".
func (b *browser) do(t *testing.T, method, url, header string, form url.Values) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if len(form) > 0 {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Origin", "null") // as browsers do with our Referrer-Policy
	if name, value, ok := strings.Cut(header, ": "); ok {
		r.Header.Set(name, value)
	}
	if b.cookie != nil {
		r.AddCookie(b.cookie)
	}
	resp, err := b.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for _, c := range resp.Cookies() {
		b.cookie = c
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func newBrowser(t *testing.T) *browser {
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return &browser{Client: &http.Client{
		Transport:     tr,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// link asks for a one-time link.
func (s *site) link(t *testing.T) string {
	t.Helper()
	resp, body := s.raw(t, "POST /api/v1/signin-links HTTP/1.1\nHost: HOST\n"+bearer+"Content-Length: 0\n\n")
	var got struct {
		Link    string    `json:"link"`
		Expires time.Time `json:"expires"`
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("%d %s: %v", resp.StatusCode, body, err)
	}
	if left := time.Until(got.Expires); left > time.Minute || left <= 0 {
		t.Errorf("link expires in %v", left)
	}
	return got.Link
}

func TestSignIn(t *testing.T) {
	t.Parallel()
	s := newSite(t, "tcp", Options{})
	b, base, link := newBrowser(t), "http://"+s.at, s.link(t)
	if !strings.HasPrefix(link, base+"/signin?code=") {
		t.Fatal(link)
	}
	if code, _ := b.do(t, "HEAD", link, "", nil); code != http.StatusMethodNotAllowed || b.cookie != nil {
		t.Errorf("HEAD of a link: %d", code)
	}
	if code, _ := b.do(t, "GET", link, "", nil); code != http.StatusSeeOther {
		t.Fatalf("link: %d", code)
	}
	c := b.cookie
	if c == nil || c.Name != "hosier-"+base[strings.LastIndexByte(base, ':')+1:] || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode ||
		c.Path != "/" || c.Domain != "" || c.MaxAge != 12*3600 || len(c.Value) < 43 {
		t.Fatalf("cookie: %v", c)
	}
	other := newBrowser(t)
	if code, _ := other.do(t, "GET", link, "", nil); code != http.StatusForbidden || other.cookie != nil {
		t.Errorf("the link was used again: %d", code)
	}

	code, page := b.do(t, "GET", base+"/", "", nil)
	csrf, _ := strings.CutPrefix(page, "console ")
	if code != http.StatusOK || len(csrf) < 43 || csrf == c.Value {
		t.Fatalf("console: %d %q", code, page)
	}
	other.do(t, "GET", s.link(t), "", nil)
	_, page = other.do(t, "GET", base+"/", "", nil)
	foreign, _ := strings.CutPrefix(page, "console ")
	change := base + "/api/v1/change"
	for _, c := range []struct {
		name, header string
		form         url.Values
		want         int
	}{
		{"none", "", nil, 403},
		{"wrong", "X-CSRF-Token: x", nil, 403},
		{"other-session", "X-CSRF-Token: " + foreign, nil, 403},
		{"field-wrong", "", url.Values{"csrf": {"x"}}, 403},
		{"field-in-url", "", nil, 403},
		{"too-large", "", url.Values{"a": {strings.Repeat("x", 100<<10)}, "csrf": {csrf}}, 403},
		{"header", "X-CSRF-Token: " + csrf, nil, 200},
		{"field", "", url.Values{"csrf": {csrf}}, 200},
	} {
		to := change
		if c.name == "field-in-url" {
			to += "?csrf=" + csrf
		}
		before := s.changes.Load()
		if code, body := b.do(t, "POST", to, c.header, c.form); code != c.want || (s.changes.Load() != before) != (c.want == 200) {
			t.Errorf("csrf %s: %d %q", c.name, code, body)
		}
	}
	if code, _ := b.do(t, "POST", base+"/api/v1/signin-links", "X-CSRF-Token: "+csrf, nil); code != http.StatusUnauthorized {
		t.Errorf("a browser got a link: %d", code)
	}
	was := b.cookie
	if code, _ := b.do(t, "POST", base+"/signout", "X-CSRF-Token: "+csrf, nil); code != http.StatusOK || b.cookie.MaxAge >= 0 {
		t.Errorf("sign out: %d %v", code, b.cookie)
	}
	b.cookie = was
	if code, _ := b.do(t, "GET", base+"/", "", nil); code != http.StatusUnauthorized {
		t.Errorf("signed out: %d", code)
	}
}

// A handler that goes on learns when its session has ended.
func TestSignedIn(t *testing.T) {
	t.Parallel()
	s := newSite(t, "tcp", Options{})
	base := "http://" + s.at
	asks := make(chan chan bool)
	stream := func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		http.NewResponseController(w).Flush()
		for answer := range asks {
			answer <- s.SignedIn(r)
		}
	}
	s.Handle("GET /stream", http.HandlerFunc(stream))
	isIn := func() bool {
		answer := make(chan bool)
		asks <- answer
		return <-answer
	}
	b := newBrowser(t)
	b.do(t, "GET", s.link(t), "", nil)
	_, page := b.do(t, "GET", base+"/", "", nil)
	csrf, _ := strings.CutPrefix(page, "console ")
	for _, c := range []struct {
		name, header string
		end          func()
		after        bool
	}{
		{"token", "Authorization: Bearer " + s.o.Token.Reveal(), func() {}, true},
		{"session", "", func() { b.do(t, "POST", base+"/signout", "X-CSRF-Token: "+csrf, nil) }, false},
	} {
		r, err := http.NewRequest("GET", base+"/stream", nil)
		if err != nil {
			t.Fatal(err)
		}
		if name, value, ok := strings.Cut(c.header, ": "); ok {
			r.Header.Set(name, value)
		} else {
			r.AddCookie(b.cookie)
		}
		resp, err := b.Do(r)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatal(c.name, resp, err)
		}
		if !isIn() {
			t.Errorf("%s: not signed in", c.name)
		}
		c.end()
		if isIn() != c.after {
			t.Errorf("%s: signed in at the end: %t", c.name, !c.after)
		}
		resp.Body.Close()
	}
	close(asks)
	for _, bad := range []string{"Bearer x", "Basic " + s.o.Token.Reveal()} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", bad)
		if s.SignedIn(r) {
			t.Errorf("%s: signed in", bad[:6])
		}
	}
	if s.SignedIn(httptest.NewRequest("GET", "/", nil)) {
		t.Error("nobody is signed in")
	}
}

func TestSessionsAge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s sessions
		code, _ := s.newLink()
		time.Sleep(linkLife)
		if _, ok := s.redeem(code); ok {
			t.Error("an expired link was taken")
		}
		code, _ = s.newLink()
		time.Sleep(linkLife - 1)
		id, ok := s.redeem(code)
		if !ok {
			t.Fatal("a link was not taken")
		}
		if _, ok := s.redeem(code); ok {
			t.Error("a link was taken twice")
		}
		time.Sleep(sessionLife - 1)
		if _, ok := s.find(id); !ok {
			t.Error("a session ended early")
		}
		time.Sleep(time.Nanosecond)
		if _, ok := s.find(id); ok || len(s.all) > 0 {
			t.Error("a session lives on")
		}

		first, _ := s.newLink()
		for range 10 * maxLinks {
			time.Sleep(time.Millisecond)
			code, _ = s.newLink()
		}
		if _, ok := s.redeem(first); ok || len(s.links) > maxLinks {
			t.Errorf("%d links", len(s.links))
		}
		if _, ok := s.redeem(code); !ok {
			t.Error("the last link is lost")
		}
		for range 10 * maxSessions {
			time.Sleep(time.Millisecond)
			code, _ = s.newLink()
			id, _ = s.redeem(code)
		}
		if _, ok := s.find(id); !ok || len(s.all) > maxSessions {
			t.Errorf("%d sessions", len(s.all))
		}
		time.Sleep(sessionLife)
		if s.newLink(); len(s.links) > 1 {
			t.Errorf("%d links, all but one of them expired", len(s.links))
		}
	})
}
