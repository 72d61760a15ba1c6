package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"hosier/probe"
)

// runInside runs the program in this process.
func runInside(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = run(ctx, args, &out, &err)
	return code, out.String(), err.String()
}

// TestProbeDNS: with the resolver pointed at it, probe sees what is asked for.
func TestProbeDNS(t *testing.T) {
	code, stdout, stderr := 0, "", ""
	for range 5 { // somebody else may take the port before probe does
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		dns := c.LocalAddr().String()
		c.Close()
		addr, stop, err := serveModel(dns, nil)
		if err != nil {
			t.Fatal(err)
		}
		code, stdout, stderr = runInside(t.Context(), "probe", "-v", "--dns-listen", dns, "--only", "leak", addr)
		stop()
		if !strings.Contains(stderr, "in use") {
			break
		}
	}
	if code != exitOK || !regexp.MustCompile(`(?m)^pass +should leak/once-connect-socks5 .*\n +asked for A and AAAA$`).MatchString(stdout) {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
}

// TestProbeTarget: one probe has its targets from another one.
func TestProbeTarget(t *testing.T) {
	addr, stop, err := serveModel("", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	ctx, cancel := context.WithCancel(t.Context())
	var log output
	served := make(chan int, 1)
	go func() { served <- run(ctx, []string{"probe", "--serve", "127.0.0.1:0"}, &log, &log) }()
	var far string
	for end := time.Now().Add(patience); far == "" && time.Now().Before(end); time.Sleep(time.Millisecond) {
		if m := regexp.MustCompile(`listening on (\S+)\n`).FindStringSubmatch(log.String()); m != nil {
			far = m[1]
		}
	}
	code, stdout, stderr := runInside(t.Context(), "probe", "--target", far, "--only", "connect/once,halfclose,socks4", addr)
	if code != exitOK || !strings.Contains(stdout, "everything that was checked holds") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	cancel()
	if code := <-served; code != exitOK {
		t.Errorf("probe --serve ends with %d\n%s", code, log.String())
	}
}

// TestProbeLogin: with a login, and without where one is wanted.
func TestProbeLogin(t *testing.T) {
	addr, stop, err := serveModel("", &probe.Login{User: "alice", Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	code, stdout, stderr := runInside(t.Context(), "probe", "--user", "alice:secret", "--only", "auth", addr)
	if code != exitOK {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	if code, _, stderr := runInside(t.Context(), "probe", "--only", "auth", addr); code != exitUsage || !strings.Contains(stderr, "--user") {
		t.Errorf("without a login: exit %d\n%s", code, stderr)
	}
}

func TestProbeTable(t *testing.T) {
	check := probe.Check{ID: "greeting/x", Title: "it holds", Clause: "RFC 1928 s.3", Why: "It matters."}
	r := &probe.Report{Proxy: "127.0.0.1:1080", Results: []probe.Result{
		{Check: check},
		{Check: check, Outcome: probe.Failed, Reason: "it said \x1b]0;evil\x07"},
	}}
	var plain, coloured strings.Builder
	if err := writeProbeTable(&plain, r, false, false); err != nil {
		t.Fatal(err)
	}
	if err := writeProbeTable(&coloured, r, false, true); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(plain.String(), "\x1b\x07") || strings.Contains(coloured.String(), "\x1b]") {
		t.Errorf("a control character came through:\n%q", plain.String())
	}
	if stripped := regexp.MustCompile(`\x1b\[\d*m`).ReplaceAllString(coloured.String(), ""); stripped != plain.String() {
		t.Errorf("the colours change the text:\n%s\n%s", stripped, plain.String())
	}
	if !strings.Contains(coloured.String(), "\x1b[31mfail") {
		t.Error("a must that fails is not red")
	}
}

func TestColours(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "xterm")
	if colours(&bytes.Buffer{}) || colours(null) {
		t.Error("colours without a terminal")
	}
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Logf("no terminal to be had: %v", err)
		return
	}
	defer terminal.Close()
	if !colours(terminal) {
		t.Error("no colours on a terminal")
	}
	for name, value := range map[string]string{"NO_COLOR": "1", "TERM": "dumb"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, value)
			if colours(terminal) {
				t.Error("colours nevertheless")
			}
		})
	}
}

func TestProgress(t *testing.T) {
	var b strings.Builder
	tell := progress(&b)
	tell(1, 2, &probe.Result{})
	tell(2, 2, &probe.Result{Outcome: probe.Failed})
	if want := clearLine + "1 of 2 checks, 0 failed" + clearLine + "2 of 2 checks, 1 failed"; b.String() != want {
		t.Errorf("said %q", b.String())
	}
}
