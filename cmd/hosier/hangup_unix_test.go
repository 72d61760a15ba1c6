//go:build unix

package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"hosier/internal/tcptest"
)

// Without a file a hangup is the end of the terminal: no new clients, and those that are
// there go on to their end. The second signal ends them.
func TestHangupWithoutFile(t *testing.T) {
	echo := tcptest.Listen(t, tcptest.Echo)
	h := start(t)
	c, err := converse(h.addr(), echo)
	if err != nil || c == nil {
		t.Fatal(c, err)
	}
	defer c.Close()
	h.signal(t, syscall.SIGHUP)
	h.awaitLog(t, "^hosier: stopping")
	if got := talk(t, c, "ping", 4); got != "ping" {
		t.Errorf("a connection that was open: %q", got)
	}
	h.signal(t, syscall.SIGTERM)
	if code := h.awaitExit(t); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

// Where nohup has the signal ignored, it stays so.
func TestHangupIgnored(t *testing.T) {
	echo := tcptest.Listen(t, tcptest.Echo)
	h := startUnder(t, []string{"nohup"})
	if runtime.GOOS == "linux" {
		// What is below passes also where hosier has yet to notice the signal.
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		ignored := regexp.MustCompile(`(?m)^SigIgn:.*[13579bdf]$`)
		if !ignored.Match(status) {
			t.Errorf("SIGHUP, the lowest bit, is not ignored:\n%s", status)
		}
	}
	h.signal(t, syscall.SIGHUP)
	for range 3 {
		c, err := converse(h.addr(), echo)
		if err != nil || c == nil {
			t.Fatal(c, err)
		}
		c.Close()
	}
	if h.hasExited() {
		t.Error("it ended")
	}
}

// Whatever is left of a file that is cut short, a reload sends nothing directly that another
// proxy was to have.
func TestReloadOfCutFile(t *testing.T) {
	echo := tcptest.Listen(t, tcptest.Echo)
	proxy := tcptest.Listen(t, func(c net.Conn) { c.Close() })
	whole := fmt.Sprintf("# hosier\n[log]\nconnections = true\n[limits]\nconns-per-client = 5000\n[egress.office]\nvia = %q\n[[rule]]\nvia = \"office\"\nport = \"1-65535\"\n",
		"socks5://"+proxy)
	file := filepath.Join(t.TempDir(), "hosier.toml")
	writeFile(t, file, whole)
	h := start(t, "--config", file, "--state-dir", t.TempDir())
	reload := func(text string) string {
		t.Helper()
		before := len(h.log.String())
		writeFile(t, file, text)
		h.signal(t, syscall.SIGHUP)
		outcome := ""
		await(t, "the reload", func() bool {
			outcome = h.log.String()[before:]
			return strings.Contains(outcome, "reloaded")
		})
		return outcome
	}
	for n := 0; n < len(whole); n += 7 {
		text := whole[:n]
		outcome := reload(text)
		c := dialOrFail(t, h.addr())
		if got := talk(t, c, "\x05\x01\x00"+target(t, echo), 4); !strings.HasPrefix(got, served+"\x05\x01") {
			t.Errorf("%q: the reply is %q", text, got)
		}
		c.Close()
		if !strings.HasSuffix(text, "\n") && !strings.Contains(outcome, "not reloaded") {
			t.Errorf("%q is taken", text)
		}
	}
	reload(whole)
	if outcome := reload(strings.TrimSuffix(whole, "port = \"1-65535\"\n")); !strings.Contains(outcome, "level=WARN") || !strings.Contains(outcome, "lines=1") {
		t.Errorf("nothing is said of a line that is missing at the end:\n%s", outcome)
	}
}
