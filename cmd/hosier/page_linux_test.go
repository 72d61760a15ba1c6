package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"hosier/internal/debiantest"
	"hosier/internal/page"
	"hosier/internal/sockstest"
)

// TestPageFixes sets a browser up wrongly, and then as the page that it gets tells it to.
func TestPageFixes(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	h := s.start(t)

	lost := newBrowser(t, map[string]any{"proxy-server": "http://" + h.addr()})
	text := browse(t, lost, "http://"+s.host()+"/secret")
	if !strings.Contains(text, "Chromium is set to use it as a plain HTTP proxy") || strings.Contains(text, "secret") {
		t.Errorf("the page says %q", text)
	}
	pac := inBrowser(t, lost, chromedp.Text(chromedp.CSS(`section[aria-labelledby="pac"] code`)))
	flags := inBrowser(t, lost, chromedp.Evaluate[[]string](`Array.from(document.querySelectorAll("section.first code"), (c) => c.textContent)`))
	if names := askedFor(s); slices.Contains(names, webName) {
		t.Error("the DNS server was asked for what the browser was not to get")
	}

	for _, line := range flags {
		flag, value, _ := strings.Cut(strings.TrimPrefix(line, "chromium --"), "=")
		value = strings.Trim(value, `"`)
		if flag == "proxy-pac-url" && value != pac {
			t.Errorf("the page names %q and %q", value, pac)
		}
		t.Run(flag, func(t *testing.T) {
			fixed := newBrowser(t, map[string]any{flag: value})
			if text := browse(t, fixed, "http://"+s.host()+"/"); strings.TrimSpace(text)+"\n" != greeting(s.host()) {
				t.Errorf("the page says %q", text)
			}
			checkInBrowser(t, fixed, h.addr())
		})
	}
	if len(flags) != 2 {
		t.Errorf("the page has the lines %q", flags)
	}
	for _, name := range askedFor(s) {
		if strings.Contains(name, "invalid") {
			t.Errorf("the DNS server was asked for %s", name)
		}
	}
}

// askedFor returns the names that the site's DNS server was asked for. A browser asks for
// more than it is told to.
func askedFor(s *site) (names []string) {
	for _, q := range s.dns.Queries() {
		names = append(names, q.Name)
	}
	return names
}

// checkInBrowser presses the button that tells whether the settings work.
func checkInBrowser(t *testing.T, browser context.Context, address string) {
	t.Helper()
	browse(t, browser, "http://"+address+"/")
	inBrowser(t, browser, chromedp.Click(chromedp.CSS("a.button")))
	inBrowser(t, browser, chromedp.WaitVisible(chromedp.CSS("main.good")))
	title, facts := inBrowser(t, browser, chromedp.Title()), inBrowser(t, browser, chromedp.Text(chromedp.CSS("dl")))
	if title != "It works" || !strings.Contains(facts, "SOCKS5") || !strings.Contains(facts, "no, none was sent") {
		t.Errorf("%q: %q", title, facts)
	}
}

// TestPageByCommandLine is the check for programs, and what never leaves hosier.
func TestPageByCommandLine(t *testing.T) {
	curl := debiantest.Program(t, "curl", "curl")
	s := newSite(t)
	h := s.start(t)
	url := "http://" + page.CheckName + "/"
	for _, tt := range []struct{ name, args, want string }{
		{"socks5h", "-x socks5h://HOSIER", "dialect: SOCKS5\nasked by: name, which nobody looked up\nkept apart by a user name: no, none was sent\n"},
		{"socks5h/user", "-x socks5h://me:hunter2@HOSIER", "kept apart by a user name: yes"},
		{"socks4a", "-x socks4a://HOSIER", "dialect: SOCKS4A\n"},
		{"connect", "-x http://HOSIER --proxytunnel", "dialect: HTTP CONNECT\n"},
		{"lost", "-x http://HOSIER", " on this computer) used it as a plain HTTP proxy"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			words := append([]string{curl, "-qsS"}, strings.Fields(strings.ReplaceAll(tt.args, "HOSIER", h.addr()))...)
			var got outcome
			await(t, "an answer", func() bool { // a busy machine may not find the program in time
				got = runProgram(t, "", append(words, url)...)
				return tt.name != "lost" || strings.Contains(got.stdout, tt.want)
			})
			if got.code != 0 || !strings.Contains(got.stdout, tt.want) || strings.Contains(got.stdout, "hunter2") {
				t.Errorf("exit code %d, it got %q %s", got.code, got.stdout, got.stderr)
			}
		})
	}
	for _, other := range []string{"https://" + page.CheckName, "http://" + page.CheckName + ":81", "http://a." + page.CheckName} {
		if got := runProgram(t, "", curl, "-qsS", "-x", "socks5h://"+h.addr(), other); got.code == 0 {
			t.Errorf("%s: %q", other, got.stdout)
		}
	}
	// Somebody who looks names up does not come: by the time, the name is not known.
	if got := runProgram(t, "", curl, "-qsS", "-x", "socks5://"+h.addr(), url); got.code == 0 {
		t.Errorf("socks5: %q", got.stdout)
	}
	s.asked(t)
}

// outcomes has a page try what there is to find out whether somebody is at a port: whether
// it loads, how it fails, and what can be seen of it afterwards. Times aside.
const outcomes = `async (port) => {
  const at = "http://127.0.0.1:" + port, out = {};
  const element = (tag, set) => new Promise((done) => {
    const e = document.createElement(tag);
    e.onload = () => done("load");
    e.onerror = () => done("error");
    set(e);
    document.body.append(e);
  });
  const name = (e) => e.name + ": " + e.message;
  for (const [key, path, options] of [
    ["fetch", "/", {mode: "no-cors"}], ["post", "/", {mode: "no-cors", method: "POST", body: "x"}], ["cors", "/", {}],
    ["pac", "/proxy.pac", {mode: "no-cors"}], ["escape", "/%zz", {mode: "no-cors"}], ["preflight", "/", {method: "DELETE"}],
    ["long", "/" + "x".repeat(9000), {mode: "no-cors"}], ["private", "/", {targetAddressSpace: "loopback", mode: "no-cors"}],
  ]) out[key] = await fetch(at + path, options).then((r) => r.type + " " + r.status, name);
  out.websocket = await new Promise((done) => {
    const s = new WebSocket("ws://127.0.0.1:" + port + "/"), seen = [];
    s.onopen = () => { seen.push("open"); s.close(); };
    s.onerror = () => seen.push("error");
    s.onclose = (e) => done(seen + " " + e.code + " " + e.wasClean + " " + e.reason);
  });
  out.events = await new Promise((done) => {
    const s = new EventSource(at + "/events");
    s.onopen = () => { s.close(); done("open"); };
    s.onerror = () => { s.close(); done("error"); };
  });
  out.image = await element("img", (e) => { e.src = at + "/a.png"; });
  out.favicon = await element("img", (e) => { e.src = at + "/favicon.ico"; });
  out.script = await element("script", (e) => { e.src = at + "/proxy.pac"; });
  out.style = await element("link", (e) => { e.rel = "stylesheet"; e.href = at + "/a.css"; });
  out.object = await element("object", (e) => { e.data = at + "/"; });
  for (const method of ["get", "post"]) {
    const frame = document.createElement("iframe"), form = document.createElement("form");
    frame.name = method + port;
    Object.assign(form, {method, action: at + "/", target: frame.name});
    document.body.append(frame, form);
    out["form " + method] = await new Promise((done) => {
      frame.onload = () => {
        let where;
        try { where = frame.contentWindow.location.href; } catch (e) { where = e.name; }
        if (where != "about:blank") done("load " + frame.contentWindow.length + " " + where);
      };
      form.submit();
    });
  }
  return JSON.stringify(out);
}`

// TestHostilePage: what a web page can find out of the port, it can find out of one where
// nobody listens.
func TestHostilePage(t *testing.T) {
	t.Parallel()
	h := start(t)
	_, port, _ := net.SplitHostPort(h.addr())
	closed := sockstest.RefusedPort(t)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "<!DOCTYPE html><title>evil</title><body>")
	}))
	defer web.Close()
	_, webPort, _ := net.SplitHostPort(web.Listener.Addr().String())
	browser := newBrowser(t, map[string]any{
		"host-resolver-rules": "MAP *.test 127.0.0.1",
		"disable-features":    "LocalNetworkAccessChecks", // hosier must not live by them
	})
	for _, origin := range []string{"http://evil.test:" + webPort, "http://127.0.0.1:" + webPort} {
		browse(t, browser, origin)
		seen := func(port any) string {
			return inBrowser(t, browser, chromedp.Evaluate[string](fmt.Sprintf("(%s)(%v)", outcomes, port), chromedp.EvalAwaitPromise))
		}
		of, none, open := seen(port), seen(closed), seen(webPort)
		if of != none {
			t.Errorf("%s: of hosier's port it sees\n%s\nand of one where nobody listens\n%s", origin, of, none)
		}
		if open == none || strings.Contains(open, `"fetch":"TypeError`) {
			t.Errorf("%s: the test sees nothing at an open port: %s", origin, open)
		}
	}
	// A name of its own that leads here.
	if err := chromedp.Do(browser, chromedp.Navigate("http://rebound.test:"+port+"/")); err == nil || !strings.Contains(err.Error(), "ERR_EMPTY_RESPONSE") {
		t.Errorf("by another name: %v", err)
	}
}

// TestPACFailure: what fails by way of the PAC file is not tried in another way, not looked
// up, and does not spoil what comes after it. It would with the word SOCKS in the file.
func TestPACFailure(t *testing.T) {
	s := newSite(t)
	h := s.start(t)
	for _, tt := range []struct {
		query string
		looks bool
	}{{"", false}, {"?socks", true}} {
		log := filepath.Join(t.TempDir(), "net.json")
		browser := newBrowser(t, map[string]any{"proxy-pac-url": "http://" + h.addr() + "/proxy.pac" + tt.query, "log-net-log": log})
		if err := chromedp.Do(browser, chromedp.Navigate("http://"+nowhereName+"/")); err == nil {
			t.Errorf("%q: there is a page of %s", tt.query, nowhereName)
		}
		if !tt.looks {
			if text := browse(t, browser, "http://"+s.host()+"/"); strings.TrimSpace(text)+"\n" != greeting(s.host()) {
				t.Errorf("after a failure the page says %q", text)
			}
		}
		closeBrowser(t, browser)
		if got := lookedUp(t, log, nowhereName); got != tt.looks {
			t.Errorf("%q: the browser looked the name up: %v, want %v", tt.query, got, tt.looks)
		}
	}
}

// lookedUp reads in the net log of Chromium whether it resolved the name.
func lookedUp(t *testing.T, file, name string) bool {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var log struct {
		Constants struct {
			LogEventTypes map[string]int `json:"logEventTypes"`
		} `json:"constants"`
		Events []struct {
			Type   int             `json:"type"`
			Params json.RawMessage `json:"params"`
		} `json:"events"`
	}
	if err := json.Unmarshal(b, &log); err != nil {
		t.Fatalf("net log: %v", err)
	}
	asked := log.Constants.LogEventTypes["HOST_RESOLVER_MANAGER_JOB"]
	if asked == 0 || len(log.Events) < 100 {
		t.Fatalf("the net log has %d events, and %d for what it looks up", len(log.Events), asked)
	}
	for _, e := range log.Events {
		if e.Type == asked && strings.Contains(string(e.Params), name) {
			return true
		}
	}
	return false
}
