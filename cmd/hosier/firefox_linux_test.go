package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"hosier/internal/debiantest"
)

// firefox is a running Firefox, and the connection over which Marionette, its remote
// control, is asked: lines "LENGTH:JSON".
type firefox struct {
	conn net.Conn
	r    *bufio.Reader
	last int
}

// newFirefox runs Debian's Firefox until the test ends, with preferences beside those that
// keep it quiet, and keep no page.
func newFirefox(t *testing.T, preferences map[string]any) *firefox {
	t.Helper()
	path := debiantest.Program(t, "firefox-esr", "firefox-esr")
	dir, err := os.MkdirTemp("", "hosier")
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	all := map[string]any{
		"marionette.port": 0, "browser.shell.checkDefaultBrowser": false, "datareporting.policy.dataSubmissionEnabled": false,
		"browser.startup.page": 0, "browser.aboutwelcome.enabled": false, "toolkit.telemetry.reportingpolicy.firstRun": false,
		"browser.cache.disk.enable": false, "browser.cache.memory.enable": false,
		"network.dns.native_https_query": false,
	}
	maps.Copy(all, preferences)
	for name, value := range all {
		v, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "user_pref(%q, %s);\n", name, v)
	}
	writeFile(t, filepath.Join(dir, "user.js"), text.String())
	cmd := exec.Command(path, "--headless", "--no-remote", "--marionette", "--remote-allow-system-access", "--profile", dir)
	cmd.Env = append(withoutProxies(os.Environ()), "HOME="+dir, "MOZ_CRASHREPORTER_DISABLE=1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		cmd.Wait()
	}()
	f := &firefox{}
	t.Cleanup(func() {
		if f.conn != nil {
			f.ask("Marionette:Quit", map[string]any{"flags": []string{"eForceQuit"}}, nil) // which ends its children, too
			f.conn.Close()
		}
		select {
		case <-ended:
		case <-time.After(patience):
			cmd.Process.Kill()
			<-ended
		}
		os.RemoveAll(dir)
	})
	await(t, "Firefox to listen", func() bool {
		port, err := os.ReadFile(filepath.Join(dir, "MarionetteActivePort"))
		if err != nil || len(port) == 0 {
			return false
		}
		f.conn, err = net.Dial("tcp", net.JoinHostPort("127.0.0.1", string(port)))
		return err == nil
	})
	f.r = bufio.NewReader(f.conn)
	f.conn.SetDeadline(time.Now().Add(5 * patience))
	if _, err := f.read(); err != nil { // its greeting
		t.Fatal(err)
	}
	f.do(t, "WebDriver:NewSession", map[string]any{"acceptInsecureCerts": true}, nil)
	return f
}

func (f *firefox) read() ([]byte, error) {
	length, err := f.r.ReadString(':')
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(length, ":"))
	if err != nil {
		return nil, err
	}
	b := make([]byte, n)
	_, err = io.ReadFull(f.r, b)
	return b, err
}

// ask sends a command, and puts what it comes to into result.
func (f *firefox) ask(command string, parameters, result any) error {
	f.last++
	b, err := json.Marshal([]any{0, f.last, command, parameters})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(f.conn, "%d:%s", len(b), b); err != nil {
		return err
	}
	if b, err = f.read(); err != nil {
		return err
	}
	var failure *struct{ Error, Message string }
	answer := []any{new(int), new(int), &failure, &result}
	if err := json.Unmarshal(b, &answer); err != nil {
		return fmt.Errorf("%s: %w", b, err)
	}
	if failure != nil {
		return fmt.Errorf("%s: %s: %s", command, failure.Error, failure.Message)
	}
	return nil
}

func (f *firefox) do(t *testing.T, command string, parameters, result any) {
	t.Helper()
	if err := f.ask(command, parameters, result); err != nil {
		t.Fatal(err)
	}
}

// script runs the body of a function in the page and returns what it returns.
func (f *firefox) script(t *testing.T, body string) string {
	t.Helper()
	var result struct{ Value any }
	f.do(t, "WebDriver:ExecuteScript", map[string]any{"script": body, "args": []any{}}, &result)
	return fmt.Sprint(result.Value)
}

// chrome runs the body of a function in Firefox itself, beside the page, and returns what it
// returns.
func (f *firefox) chrome(t *testing.T, body string, args ...any) string {
	t.Helper()
	f.do(t, "Marionette:SetContext", map[string]any{"value": "chrome"}, nil)
	var result struct{ Value any }
	f.do(t, "WebDriver:ExecuteScript", map[string]any{"script": body, "args": append([]any{}, args...)}, &result)
	f.do(t, "Marionette:SetContext", map[string]any{"value": "content"}, nil)
	return fmt.Sprint(result.Value)
}

// browse opens an address.
func (f *firefox) browse(url string) error {
	return f.ask("WebDriver:Navigate", map[string]any{"url": url}, nil)
}

// at returns the address of the document at hand, that of an error page where nothing opens, or
// "" while it loads. It runs no script in the document: one that runs in an error page too soon
// keeps that empty for good.
func (f *firefox) at(t *testing.T) string {
	t.Helper()
	return f.chrome(t, `const b = gBrowser.selectedBrowser; return b.webProgress.isLoadingDocument ? "" : b.documentURI.spec`)
}

// text returns what the page reads like, which has loaded.
func (f *firefox) text(t *testing.T) string {
	t.Helper()
	return f.script(t, "return document.body.innerText")
}

// set gives Firefox these preferences of its proxy in place of those that it has, as a person
// does in its settings, and the login of that proxy, if it is one of HTTP, as one that was typed
// into the dialog that a 407 opens. It goes on in a tab of its own, where no event of an earlier
// page arrives.
func (f *firefox) set(t *testing.T, preferences map[string]any, user, password string) {
	t.Helper()
	var tab struct{ Handle string }
	f.do(t, "WebDriver:NewWindow", map[string]any{"type": "tab"}, &tab)
	f.do(t, "WebDriver:SwitchToWindow", map[string]any{"handle": tab.Handle}, nil)
	// In one turn of its loop: a request of Firefox's own may come at any time.
	f.chrome(t, `const [all, user, password] = arguments;
		for (const tab of [...gBrowser.tabs]) if (tab != gBrowser.selectedTab) gBrowser.removeTab(tab);
		if ("network.proxy.http" in all) {
			Cc["@mozilla.org/network/http-auth-manager;1"].getService(Ci.nsIHttpAuthManager).setAuthIdentity(
				"http", all["network.proxy.http"], all["network.proxy.http_port"], "basic", "hosier", "", "", user, password);
		}
		const proxy = Services.prefs.getBranch("network.proxy.");
		for (const [name, value] of Object.entries(all)) {
			if (typeof value == "boolean") Services.prefs.setBoolPref(name, value);
			else if (typeof value == "number") Services.prefs.setIntPref(name, value);
			else Services.prefs.setStringPref(name, value);
		}
		for (const name of proxy.getChildList("")) {
			if (!(proxy.root + name in all)) proxy.clearUserPref(name);
		}
		Services.dns.clearCache(true);
		Services.obs.notifyObservers(null, "net:prune-all-connections");`, preferences, user, password)
}
