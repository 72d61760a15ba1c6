package main

import (
	"bytes"
	"io"
	"log/slog"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hosier/egress/tor"
)

// On a terminal there is one bar, and what is logged goes above it.
func TestBootstrapBar(t *testing.T) {
	var terminal bytes.Buffer
	b := newBootstraps(&screen{w: &terminal}, slog.New(slog.DiscardHandler))
	status := func(name string, state tor.State, percent int, phase string) {
		b.changed("tors", tor.Status{Name: name, State: state, Bootstrap: percent, Phase: phase})
	}
	status("tor0", tor.Starting, 50, "Loading relays, of which there are more than a line has room for")
	status("tor1", tor.Starting, 10, "Connected to a relay")
	io.WriteString(b.screen, "listening on 127.0.0.1:1080\n")
	status("tor1", tor.Ready, 100, "Done")
	b.changed("others", tor.Status{Name: "tor0", State: tor.Ready, Bootstrap: 100}) // of another egress
	status("tor0", tor.Ready, 100, "Done")
	io.WriteString(b.screen, "after\n")
	const zero, one = "tor0 [###############...............]  50% Loading relays, of which there are more ", "tor1 [###...........................]  10% Connected to a relay (and 1 more)"
	want := clearLine + zero + clearLine + one + clearLine + "listening on 127.0.0.1:1080\n" + one + clearLine + zero + clearLine + "after\n"
	if got := terminal.String(); got != want {
		t.Errorf("got\n%q, want\n%q", got, want)
	}
}

// A control port that says more than anybody can read does not have the bar redrawn for each.
func TestBootstrapBarFlood(t *testing.T) {
	var terminal bytes.Buffer
	b := newBootstraps(&screen{w: &terminal}, slog.New(slog.DiscardHandler))
	for i := range 12_000 {
		b.changed("tors", tor.Status{Name: "tor0", State: tor.Starting, Bootstrap: i % 100})
	}
	b.changed("tors", tor.Status{Name: "tor0", State: tor.Ready, Bootstrap: 100})
	if n := strings.Count(terminal.String(), clearLine); n > 1000 || !strings.HasSuffix(terminal.String(), clearLine) {
		t.Errorf("%d bars, and at the end %q", n, terminal.String()[max(0, terminal.Len()-40):])
	}
}

// Elsewhere there is a line for each step, but of one tor none within a second of another, and
// the last one is never left out.
func TestBootstrapLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out output
		seen := 0 // of what it holds
		unseen := func() string {
			text := out.String()[seen:]
			seen += len(text)
			return text
		}
		changed := newBootstraps(&out, slog.New(slog.NewTextHandler(&out, nil))).changed
		starting := func(name string, percent int) {
			changed("tors", tor.Status{Name: name, State: tor.Starting, Bootstrap: percent, Phase: "phase"})
		}
		want := func(after time.Duration, percents ...string) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			var got []string
			for _, m := range regexp.MustCompile(`msg="tor bootstraps" (tor=\S+ percent=\d+) phase=phase\n`).FindAllStringSubmatch(unseen(), -1) {
				got = append(got, m[1])
			}
			if !slices.Equal(got, percents) {
				t.Errorf("lines of %q, want %q", got, percents)
			}
		}
		for _, percent := range []int{0, 10, 10, 20, 50} {
			starting("tor0", percent)
		}
		starting("tor1", 5)
		want(0, "tor=tor0 percent=10", "tor=tor1 percent=5")
		want(2*time.Second, "tor=tor0 percent=50")
		for i := range 12_000 { // in three seconds
			time.Sleep(time.Second / 4000)
			starting("tor0", 1+i%99)
		}
		if n := strings.Count(unseen(), "\n"); n < 3 || n > 4 {
			t.Errorf("%d lines in three seconds", n)
		}
		want(2*time.Second, "tor=tor0 percent=21")
		starting("tor0", 90)
		starting("tor0", 95)
		changed("tors", tor.Status{Name: "tor0", State: tor.Ready, Bootstrap: 100, Phase: "Done"})
		want(2*time.Second, "tor=tor0 percent=90")
	})
}

// Without a tor there is none to start or to find, and the message names the package.
func TestNoTorInstalled(t *testing.T) {
	hosier, err := exec.LookPath("hosier")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", t.TempDir())
	got := runProgram(t, "", hosier, "serve", "--listen", "127.0.0.1:0", "--via", "tor+spawn://?daemons=2", "--state-dir", t.TempDir())
	if got.code != exitFailed || !strings.Contains(got.stderr, "apt-get install tor") {
		t.Errorf("exit code %d: %s", got.code, got.stderr)
	}
}
