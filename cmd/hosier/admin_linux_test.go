package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"hosier/internal/debiantest"
	"hosier/internal/sockstest"
	"hosier/internal/tcptest"
)

// adminOf waits for the address of the admin listener.
func adminOf(t *testing.T, h *process) string {
	t.Helper()
	h.awaitLog(t, `^admin on http://`)
	return regexp.MustCompile(`(?m)^admin on (http://.*)$`).FindStringSubmatch(h.log.String())[1]
}

// ask sends a request and returns the code and the text of the answer.
func ask(t *testing.T, method, url, token, host string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	req.Host = host
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// The admin listener tells how hosier is, and changes it for whoever has the token.
func TestAdmin(t *testing.T) {
	dir := t.TempDir()
	echo := tcptest.Listen(t, tcptest.Echo)
	h := startConfig(t, dir, "via = \"direct\"\nadmin = \"127.0.0.1:0\"\n[limits]\nconns-per-client = 5\n", 0)
	url := adminOf(t, h)
	hello := "\x05\x01\x00" + target(t, echo)
	c := dialOrFail(t, h.addr())
	if got := talk(t, c, hello+"ping", 16); !strings.HasSuffix(got, "ping") {
		t.Fatalf("got %q", got)
	}
	c.Close()
	for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ok"} {
		if code, text := ask(t, "GET", url+path, "", ""); code != 200 || strings.TrimSpace(text) != want {
			t.Errorf("%s: %d %q", path, code, text)
		}
	}
	counted := `hosier_connections_total{command="CONNECT",dialect="SOCKS5",egress="direct",status="succeeded"} 1`
	await(t, counted, func() bool {
		_, text := ask(t, "GET", url+"/metrics", "", "")
		return strings.Contains(text, counted)
	})
	if code, _ := ask(t, "GET", url+"/metrics", "", "evil.test"); code/100 != 4 {
		t.Errorf("a foreign host: %d", code)
	}
	token, err := os.ReadFile(filepath.Join(dir, "state", "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	if code, _ := ask(t, "POST", url+"/api/v1/reload", "wrong", ""); code != 401 {
		t.Errorf("a wrong token: %d", code)
	}
	if code, text := ask(t, "POST", url+"/api/v1/reload", strings.TrimSpace(string(token)), ""); code != 200 {
		t.Errorf("reload: %d %s", code, text)
	}
	h.awaitLog(t, "configuration reloaded")
	writeFile(t, filepath.Join(dir, "hosier.toml"), "via = \"nowhere\"\n")
	if code, text := ask(t, "POST", url+"/api/v1/reload", strings.TrimSpace(string(token)), ""); code != 422 || !strings.Contains(text, "toml:1:7") {
		t.Errorf("a bad file: %d %s", code, text)
	}
}

// Nothing can serve, so hosier is not ready.
func TestNotReady(t *testing.T) {
	h := start(t, "--via", "socks5://127.0.0.1:9", "--admin", "127.0.0.1:0", "--state-dir", t.TempDir())
	url := adminOf(t, h)
	talk(t, dialOrFail(t, h.addr()), "\x05\x01\x00"+target(t, "127.0.0.1:80"), 4)
	await(t, "/readyz to say no", func() bool {
		code, text := ask(t, "GET", url+"/readyz", "", "")
		return code == 503 && strings.Contains(text, "socks5://127.0.0.1:9")
	})
}

// Of a list of egresses, the one that fails is reported as down, and the list serves.
func TestHealthOfList(t *testing.T) {
	echo := tcptest.Listen(t, tcptest.Echo)
	h := start(t, "--via", "socks5://127.0.0.1:9", "--via", "direct", "--admin", "127.0.0.1:0", "--state-dir", t.TempDir())
	url := adminOf(t, h)
	up := func(way string, want int) bool {
		_, text := ask(t, "GET", url+"/metrics", "", "")
		return strings.Contains(text, fmt.Sprintf("hosier_egress_up{egress=%q,member=\"\"} %d\n", way, want))
	}
	if !up("socks5://127.0.0.1:9", 1) || !up("direct", 1) {
		t.Error("down before anybody asked for anything")
	}
	await(t, "the first of the list to be down", func() bool {
		c := dialOrFail(t, h.addr())
		defer c.Close()
		if got := talk(t, c, "\x05\x01\x00"+target(t, echo), 4); got != "\x05\x00"+served {
			t.Fatalf("got %q", got)
		}
		return up("socks5://127.0.0.1:9", 0)
	})
	if code, text := ask(t, "GET", url+"/readyz", "", ""); code != 200 || !up("direct", 1) {
		t.Errorf("the list serves, but: %d %s", code, text)
	}
}

// Whoever was told an address here, and asks for that, has looked up nothing elsewhere.
func TestResolvedHere(t *testing.T) {
	curl := debiantest.Program(t, "curl", "curl")
	dns := sockstest.NewDNS(t)
	dns.Set("told.test", "192.0.2.99")
	h := start(t, "--unsafe", "refuse", "-v", "--connect-timeout", "300ms", "--dns", dns.Addr)
	fetch := func() {
		runProgram(t, "", curl, "-qsS", "--socks5", h.addr(), "--resolve", "told.test:80:192.0.2.99", "http://told.test/")
	}
	fetch()
	h.awaitLog(t, `id=1 .*target=192\.0\.2\.99:80 unsafe=true .*status="02 `)
	runProgram(t, "", "hosier", "resolve", "--proxy", h.addr(), "told.test").want(t, "192.0.2.99\n")
	fetch()
	h.awaitLog(t, `id=3 .*target=192\.0\.2\.99:80 unsafe=false `)
	if regexp.MustCompile(`id=3 .*status="02 `).MatchString(h.log.String()) {
		t.Errorf("refused:\n%s", h.log.String())
	}
}

// A curl that looks a name up itself is named with the fix, and refused where the
// listener says so; one that sends the name, or was told the address here, is not.
func TestLeaks(t *testing.T) {
	const leak = `program=curl`
	curl := debiantest.Program(t, "curl", "curl")
	for _, mode := range []string{"allow", "warn", "refuse"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			h := start(t, "--unsafe", mode, "-v", "--connect-timeout", "300ms")
			runProgram(t, "", curl, "-qsS", "--socks5-hostname", h.addr(), "http://leak.invalid/")
			runProgram(t, "", curl, "-qsS", "--socks5", h.addr(), "http://127.0.0.1:9/")
			if strings.Contains(h.log.String(), leak) {
				t.Errorf("accused: %s", h.log.String())
			}
			await(t, "curl to be named", func() bool { // a busy machine may not find it in time
				runProgram(t, "", curl, "-qsS", "--socks5", h.addr(), "--resolve", "leak.test:80:192.0.2.99", "http://leak.test/")
				h.awaitLog(t, `target=192\.0\.2\.99:80 unsafe=`)
				return mode == "allow" || strings.Contains(h.log.String(), leak)
			})
			text := h.log.String()
			if named := strings.Contains(text, leak) && strings.Contains(text, "--socks5-hostname"); named != (mode != "allow") {
				t.Errorf("named: %t\n%s", named, text)
			}
			if refused := strings.Contains(text, `status="02 not allowed by ruleset"`); refused != (mode == "refuse") {
				t.Errorf("refused: %t\n%s", refused, text)
			}
		})
	}
}
