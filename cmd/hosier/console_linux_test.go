package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"golang.org/x/crypto/bcrypt"

	"hosier/internal/debiantest"
)

// signIn opens a page of the console in a browser, by a link.
func (h *consoleHost) signIn(t *testing.T, browser context.Context) {
	t.Helper()
	if text := browse(t, browser, h.link(t)); !strings.Contains(text, "hosier serves.") {
		t.Fatalf("the console says %q", text)
	}
}

// awaitPage waits until an expression is true in the page.
func awaitPage(t *testing.T, browser context.Context, expression string) {
	t.Helper()
	if _, err := chromedp.Run(browser, chromedp.Poll[bool]("Boolean("+expression+")")); err != nil {
		t.Fatalf("%s does not come true: %v\n%s", expression, err, inBrowser(t, browser, chromedp.Text(chromedp.CSS("main"))))
	}
}

// noScripts has the browser run no script from its next page on, or lets it again.
func noScripts(t *testing.T, browser context.Context, none bool) {
	t.Helper()
	inBrowser(t, browser, func(ctx context.Context, t *chromedp.Target) (v chromedp.Void, err error) {
		_, err = cdp.Call(ctx, t, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: none})
		return v, err
	})
}

// press clicks a button that leads to another page, and waits for that.
func press(t *testing.T, browser context.Context, css string) string {
	t.Helper()
	if _, err := chromedp.RunResponse(browser, chromedp.Click(chromedp.CSS(css))); err != nil {
		t.Fatalf("press %s: %v", css, err)
	}
	return inBrowser(t, browser, chromedp.Text(chromedp.CSS("body")))
}

// TestConsoleInBrowser is the console as Chromium has it, one for all.
func TestConsoleInBrowser(t *testing.T) {
	t.Parallel() // it waits more than it does
	browser := debiantest.Chromium(t, nil)
	for _, test := range []struct {
		name string
		run  func(*testing.T, context.Context)
	}{
		{"sign-in", consoleSignsIn},
		{"leaks", consoleNamesLeaks},
		{"close", consoleCloses},
		{"reload", consoleReloads},
		{"explain", consoleExplains},
		{"hostile-names", consoleShowsText},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, patiently(t, browser)) })
	}
}

// A link signs in one browser, and who signs out sees nothing any more, on other open
// pages, too.
func consoleSignsIn(t *testing.T, browser context.Context) {
	h := startWithConsole(t)
	link := h.link(t)
	if text := browse(t, browser, h.url); !strings.Contains(text, `run "hosier console"`) {
		t.Errorf("without a link: %q", text)
	}
	if text := browse(t, browser, link); !strings.Contains(text, "hosier serves.") || !strings.Contains(text, h.addr()) {
		t.Errorf("with the link: %q", text)
	}
	if at := inBrowser(t, browser, chromedp.Location()); at != h.url {
		t.Errorf("the link leads to %s", at)
	}
	awaitPage(t, browser, `document.getElementById("state").dataset.state == "live"`)

	// Another page of the same browser signs out.
	inBrowser(t, browser, chromedp.Evaluate[chromedp.Void](`fetch("/signout", {method: "POST", headers: {"X-Csrf-Token": document.body.dataset.csrf}}).then(() => null)`,
		chromedp.EvalAwaitPromise))
	awaitPage(t, browser, `document.getElementById("state").textContent.startsWith("Signed out")`)
	if text := browse(t, browser, h.url); !strings.Contains(text, `run "hosier console"`) {
		t.Errorf("signed out: %q", text)
	}
	if text := browse(t, browser, link); !strings.Contains(text, "This link was used") {
		t.Errorf("with the link again: %q", text)
	}
	h.signIn(t, browser)
	if text := press(t, browser, `form[action="/signout"] button`); !strings.Contains(text, "Signed out") {
		t.Errorf("signing out: %q", text)
	}
	if text := browse(t, browser, h.url); !strings.Contains(text, `run "hosier console"`) {
		t.Errorf("signed out: %q", text)
	}
}

// The page names curl while curl looks names up itself, and no longer once it does not.
func consoleNamesLeaks(t *testing.T, browser context.Context) {
	curl := debiantest.Program(t, "curl", "curl")
	h := startWithConsole(t, "--connect-timeout", "300ms")
	h.signIn(t, browser)
	if text := browse(t, browser, h.url+"leaks"); strings.Contains(text, "curl") {
		t.Errorf("at first: %q", text)
	}
	// On a busy machine a program may have ended before it was looked for.
	await(t, "the page to name curl", func() bool {
		runProgram(t, "", curl, "-qsS", "-m", "5", "--socks5", h.addr(), "--resolve", "leak.test:80:192.0.2.99", "http://leak.test/")
		return strings.Contains(inBrowser(t, browser, chromedp.Text(chromedp.CSS("main"))), "--socks5-hostname")
	})
	row := inBrowser(t, browser, chromedp.Evaluate[string](
		`[...document.querySelectorAll('[data-list="sources"] > tr')].map((e) => e.innerText).find((text) => text.includes("--socks5-hostname"))`))
	if !strings.HasPrefix(strings.TrimSpace(row), "curl") {
		t.Errorf("the page says %q", row)
	}
	noScripts(t, browser, true)
	if text := browse(t, browser, h.url); !strings.Contains(text, "curl") || !strings.Contains(text, "--socks5-hostname") {
		t.Errorf("the overview says %q", text)
	}
	noScripts(t, browser, false)
	browse(t, browser, h.url+"leaks")
	await(t, "the page to name curl no longer", func() bool {
		runProgram(t, "", curl, "-qsS", "-m", "5", "--socks5-hostname", h.addr(), "http://leak.invalid/")
		return !strings.Contains(inBrowser(t, browser, chromedp.Text(chromedp.CSS("main"))), "curl")
	})
}

// download is a curl that loads something without an end.
type download struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

func startDownload(t *testing.T, proxy, user, url string) *download {
	t.Helper()
	d := &download{exec.Command(debiantest.Program(t, "curl", "curl"), "-qsS", "-o", "/dev/null", "-x", "socks5h://"+user+":pw@"+proxy, url), make(chan struct{})}
	d.cmd.Env = withoutProxies(os.Environ())
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(d.ended)
		d.cmd.Wait()
	}()
	t.Cleanup(func() {
		d.cmd.Process.Kill()
		<-d.ended
	})
	return d
}

// awaitBreak waits for the end, which curl must take for a break.
func (d *download) awaitBreak(t *testing.T) {
	t.Helper()
	select {
	case <-d.ended:
	case <-time.After(patience):
		t.Fatal("the download goes on")
	}
	if code := d.cmd.ProcessState.ExitCode(); code == 0 {
		t.Error("curl took the end for one in order")
	}
}

func (d *download) goesOn() bool {
	select {
	case <-d.ended:
		return false
	default:
		return true
	}
}

// endless serves bytes until the client has enough, but not many.
func endless(t *testing.T) (port string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for piece := make([]byte, 16<<10); ; {
			if _, err := w.Write(piece); err != nil {
				return
			}
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
		}
	}))
	t.Cleanup(s.Close)
	_, port, _ = net.SplitHostPort(s.Listener.Addr().String())
	return port
}

// usersFile is a file of these users, all with the password pw.
func usersFile(t *testing.T, names ...string) string {
	t.Helper()
	var text strings.Builder
	for _, name := range names {
		hash, err := bcrypt.GenerateFromPassword([]byte("pw"), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "%s:%s\n", name, hash)
	}
	file := filepath.Join(t.TempDir(), "users")
	writeFile(t, file, text.String())
	return file
}

// A running download is shown, and who ends it there has ended it.
func consoleCloses(t *testing.T, browser context.Context) {
	s := newSite(t)
	url := "http://" + webName + ":" + endless(t) + "/"
	h := startWithConsole(t, "--dns", s.dns.Addr, "--users", usersFile(t, "ann", "bob"))
	h.signIn(t, browser)
	of := map[string][]*download{}
	for _, user := range []string{"ann", "ann", "bob", "bob", "bob"} {
		of[user] = append(of[user], startDownload(t, h.addr(), user, url))
	}

	browse(t, browser, h.url+"connections?user=ann&sort=age")
	const first = `document.querySelector('[data-list="connections"] > tr')`
	awaitPage(t, browser, first+`?.querySelector('[data-f="rate"]')?.title.match(/^[1-9]/)`)
	size := first + `.querySelector('[data-f="down"]').title.replaceAll(/[^0-9]/g, "")`
	before := inBrowser(t, browser, chromedp.Evaluate[string](size))
	awaitPage(t, browser, size+" > "+before)
	id := inBrowser(t, browser, chromedp.Evaluate[string](first+".dataset.key"))
	row := `document.querySelector('tr[data-key="` + id + `"]')`
	inBrowser(t, browser, chromedp.Click(chromedp.CSS(`tr[data-key="`+id+`"] button`)))
	awaitPage(t, browser, `!`+row+` || `+row+`.hasAttribute("data-gone")`)
	inBrowser(t, browser, chromedp.MouseClickXY(1, 1)) // nobody points at it any more
	inBrowser(t, browser, chromedp.Evaluate[chromedp.Void](`document.activeElement.blur()`))
	awaitPage(t, browser, `!`+row)
	await(t, "a download of ann's to end", func() bool { return !of["ann"][0].goesOn() || !of["ann"][1].goesOn() })
	closed, open := of["ann"][0], of["ann"][1]
	if closed.goesOn() {
		closed, open = open, closed
	}
	closed.awaitBreak(t)

	// Those of a user, without scripts.
	noScripts(t, browser, true)
	if text := browse(t, browser, h.url+"connections"); strings.Count(text, "ann") != 1 || strings.Count(text, "bob") != 3 {
		t.Errorf("the page says %q", text)
	}
	if text := browse(t, browser, h.url+"connections?user=bob"); strings.Contains(text, "ann") || !strings.Contains(text, "Close all of bob") {
		t.Errorf("the page says %q", text)
	}
	if text := press(t, browser, `button[name="of"]`); !strings.Contains(text, "3 connections closed.") {
		t.Errorf("the page says %q", text)
	}
	for _, d := range of["bob"] {
		d.awaitBreak(t)
	}
	await(t, "bob's connections to go", func() bool {
		text := browse(t, browser, h.url+"connections")
		return !strings.Contains(text, "bob")
	})
	if text := browse(t, browser, h.url+"failures"); strings.Count(text, "ended by the operator") != 4 {
		t.Errorf("the failures are %q", text)
	}
	h.awaitLog(t, `the operator ended a connection" id=`+id)
	h.awaitLog(t, `the operator ended the connections of a user" user=bob ended=3`)
	browse(t, browser, h.url+"connections")
	if !open.goesOn() {
		t.Error("ann's other download has ended")
	}
	if text := press(t, browser, `tbody button[name="id"]`); !strings.Contains(text, "One connection closed.") {
		t.Errorf("the page says %q", text)
	}
	open.awaitBreak(t)
}
