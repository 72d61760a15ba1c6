package main

import (
	"context"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"hosier/internal/debiantest"
	"hosier/internal/tcptest"
	"hosier/internal/telemetry"
)

// named asks for a connection by name (RFC 1928 section 4).
func named(name string, port byte) string {
	return "\x05\x01\x00\x03" + string([]byte{byte(len(name))}) + name + string([]byte{0, port})
}

// startConsoleWith is startWithConsole with a file.
func startConsoleWith(t *testing.T, text string, args ...string) (h *consoleHost, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "hosier.toml")
	writeFile(t, file, text)
	return startWithConsole(t, append([]string{"--config", file}, args...)...), file
}

// What the log hides the console hides, and a reload by its button changes that, unless
// the file has mistakes.
func consoleReloads(t *testing.T, browser context.Context) {
	s := newSite(t)
	h, file := startConsoleWith(t, "[limits]\nconns-per-client = 99\n", "--via", "direct", "--dns", s.dns.Addr)
	h.signIn(t, browser)
	s.dns.Set("secret.test", "127.0.0.1")
	c := connectThrough(t, h.addr(), "secret.test:"+s.port)
	client := c.LocalAddr().String()
	talk(t, dialOrFail(t, h.addr()), "\x05\x01\x00"+named("secret.test", 9), 2+4)

	shows := func(redacted bool) {
		t.Helper()
		for _, page := range []string{"", "connections", "failures", "api/v1/connections", "api/v1/failures"} {
			text := browse(t, browser, h.url+page)
			for _, secret := range []string{"secret.test", client} {
				if redacted && strings.Contains(text, secret) {
					t.Errorf("/%s shows %s", page, secret)
				}
			}
			if strings.HasSuffix(page, "connections") && strings.Contains(text, telemetry.Scrubbed) != redacted {
				t.Errorf("/%s says %q", page, text)
			}
			if page == "connections" && !redacted && (!strings.Contains(text, "secret.test:"+s.port) || !strings.Contains(text, client)) {
				t.Errorf("/%s says %q", page, text)
			}
		}
	}
	shows(true)

	writeFile(t, file, "[limits]\nconns-per-client = \"many\"\n")
	browse(t, browser, h.url+"config")
	if text := press(t, browser, `form[action="/config/reload"] button`); !strings.Contains(text, "hosier.toml:2:20") || !strings.Contains(text, "still is") {
		t.Errorf("of a bad file it says %q", text)
	}
	shows(true)
	writeFile(t, file, "[limits]\nconns-per-client = 98\n[log]\nredact = false\n")
	browse(t, browser, h.url+"config")
	text := press(t, browser, `form[action="/config/reload"] button`)
	for _, want := range []string{"was read anew", "log.redact", "hosier.toml:4", "98", "--dns"} {
		if !strings.Contains(text, want) {
			t.Errorf("of a good file it does not say %s: %q", want, text)
		}
	}
	shows(false)
}

// The form tells what hosier explain does, with scripts and without.
func consoleExplains(t *testing.T, browser context.Context) {
	h, _ := startConsoleWith(t, "[[rule]]\nto = \".bad.test\"\nrefuse = \"not there\"\n[[rule]]\nvia = \"direct\"\n")
	h.signIn(t, browser)
	for _, none := range []bool{false, true} {
		noScripts(t, browser, none)
		for _, c := range []struct{ url, verdict, why string }{
			{"https://www.example/", "It would be served.", "hosier.toml:4: matches"},
			{"www.bad.test:25", "It would be refused.", "not there"},
			{"a b", "neither a URL nor host:port", `"a b"`},
		} {
			browse(t, browser, h.url+"rules")
			if err := chromedp.Do(browser, chromedp.SendKeys(chromedp.CSS("#url"), c.url)); err != nil {
				t.Fatal(err)
			}
			text := press(t, browser, `form[action="/rules"] button`)
			if !strings.Contains(text, c.verdict) || !strings.Contains(text, c.why) {
				t.Errorf("scripts: %t; %s: %q", !none, c.url, text)
			}
		}
	}
	noScripts(t, browser, false)
	// To ask is not to decide.
	if text := browse(t, browser, h.url+"api/v1/rules"); strings.Count(text, `"hits":0`) != 3 {
		t.Errorf("the rules are %s", text)
	}
}

// What others chose is text, wherever it stands, and a line of the log stays one. A target
// with such a name is none, and refused before it has a name anywhere but in the form.
func consoleShowsText(t *testing.T, browser context.Context) {
	const script, image = `<script>window.hacked=1</script>`, `<img/src=x/onerror=hacked=1>`
	curl := debiantest.Program(t, "curl", "curl")
	h, _ := startConsoleWith(t, "[log]\nredact = false\nconnections = true\n[[rule]]\nto = \"refused.test\"\nrefuse = \""+script+"\"\n[[rule]]\nvia = \"direct\"\n",
		"--connect-timeout", "300ms", "--users", usersFile(t, script))
	h.signIn(t, browser)

	// A program, and a user.
	cmd := exec.Command("bash", "-c", `exec -a "$0" "$@"`, image, curl, "-qsS", "-m", "5", "-x", "socks5h://"+h.addr(), "-U", script+":pw", "http://192.0.2.99/")
	cmd.Env = withoutProxies(nil)
	cmd.Run() // there is nothing at 192.0.2.99
	// A rule's reason, and targets that are none.
	login := "\x05\x01\x02\x01" + string(rune(len(script))) + script + "\x02pw"
	for _, name := range []string{"refused.test", script, "\"><b>", "\u202egnp.exe", "a\r\nb", strings.Repeat("<b>", 85)} {
		talk(t, dialOrFail(t, h.addr()), login+named(name, 80), 2+2+4)
	}
	talk(t, dialOrFail(t, h.addr()), "CONNECT "+script+":80 HTTP/1.1\r\nHost: "+image+"\r\nUser-Agent: "+image+"\r\n\r\n", 12)
	talk(t, dialOrFail(t, h.addr()), login+target(t, tcptest.Listen(t, func(c net.Conn) { io.Copy(io.Discard, c) })), 2+2+10)

	seen := ""
	for _, page := range []string{"", "connections", "connections?user=" + script + "&q=" + script, "egresses", "rules?url=" + script, "leaks", "failures", "config"} {
		for _, live := range []bool{false, true} {
			noScripts(t, browser, !live)
			seen += browse(t, browser, h.url+page)
			if live && page != "config" && !strings.HasPrefix(page, "rules?") {
				awaitPage(t, browser, `document.getElementById("state").dataset.state == "live"`)
				seen += inBrowser(t, browser, chromedp.Text(chromedp.CSS("body")))
			}
			if n := inBrowser(t, browser, chromedp.Evaluate[int](`document.querySelectorAll("script:not([src]), img, b:not([data-f])").length`)); n > 0 {
				t.Errorf("/%s has %d elements of others", page, n)
			}
		}
		if inBrowser(t, browser, chromedp.Evaluate[bool](`"hacked" in window`)) {
			t.Errorf("/%s ran a script of others", page)
		}
	}
	for _, want := range []string{script, image} {
		if !strings.Contains(seen, want) {
			t.Errorf("no page shows %s as text", want)
		}
	}
	h.awaitLog(t, `user="<script>`)
	for line := range strings.Lines(h.log.String()) {
		if !regexp.MustCompile(`^(time=\S+ level=|listening on |listener |admin on |hosier: )[\x20-\x7e]+\n$`).MatchString(line) {
			t.Errorf("the log has the line %q", line)
		}
	}
	if strings.Contains(seen, "\u202e") {
		t.Error("a page shows what turns its text around")
	}
}
