//go:build unix

package tor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hosier/internal/tornet"
	"hosier/socks"
)

// gone reports whether a process that was waited for is no more.
func gone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// Two daemons: requests wait until they are ready; one is killed, and its keys are served
// by the other until it is back; none outlives the pool.
func TestSpawn(t *testing.T) {
	n := network.Get(t)
	dir := t.TempDir()
	members, err := Spawn(t.Context(), "", dir, 2, n.ClientTorrc())
	if err != nil {
		t.Fatal(err)
	}
	p := &Pool{Members: members}
	stop := run(t, p)
	address := serve(t, p)
	if got, err := get(dial(t, user(address, "early"), web(n, "www")), "/"); err != nil || got != tornet.Greeting {
		t.Fatalf("a request that came before tor was ready: %q, %v", got, err)
	}
	awaitWatched(t, p)
	onlyOurs(t, dir)
	before := p.Status(t.Context())
	first, other := p.all[0], p.all[1]

	a, b := userOf(p, address, first), userOf(p, address, other)
	running := dial(t, b, web(n, "www"))
	syscall.Kill(before[0].PID, syscall.SIGKILL)
	await(t, "the pool to see that", func() bool { return p.status(first).PID != before[0].PID })
	if got, err := get(dial(t, a, web(n, "www")), "/"); err != nil || got != tornet.Greeting {
		t.Errorf("a request of the killed one's key: %q, %v", got, err)
	}
	if got, err := get(running, "/"); err != nil || got != tornet.Greeting {
		t.Errorf("a stream through the other: %q, %v", got, err)
	}
	awaitWatched(t, p)
	after := p.Status(t.Context())
	if after[0].Starts != 2 || after[1].Starts != 1 || after[1].PID != before[1].PID || !strings.Contains(after[0].Error, "signal: killed") {
		t.Errorf("after the restart: %+v", after)
	}
	held := dial(t, a, web(n, "www"))
	if s := p.Status(t.Context()); s[0].Streams != 1 || s[1].Streams != 0 {
		t.Errorf("its key did not come back to it: %d and %d streams", s[0].Streams, s[1].Streams)
	}
	held.Close()

	stop()
	for _, s := range after {
		if !gone(s.PID) {
			t.Errorf("%s (pid %d) outlives the pool", s.Name, s.PID)
		}
	}
	if _, _, err := p.Dial(t.Context(), connectRequest("u")); err == nil || !strings.Contains(err.Error(), "the test has ended") {
		t.Errorf("a request though no tor runs: %v", err)
	}
}

// onlyOurs checks that nobody else can come near the sockets and the data.
func onlyOurs(t *testing.T, dir string) {
	t.Helper()
	for i := range 2 {
		name := filepath.Join(dir, fmt.Sprintf("tor%d", i))
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
		for _, socket := range []string{"socks", "control"} {
			if info, err := os.Stat(filepath.Join(name, socket)); err != nil || info.Mode().Type() != os.ModeSocket {
				t.Errorf("%s: %v, %v", socket, info, err)
			}
		}
	}
}

// userOf returns a client whose key leads to the member.
func userOf(p *Pool, listener string, m *member) *socks.Dialer {
	for i := 0; ; i++ {
		d := user(listener, fmt.Sprintf("%v-%d", m, i))
		if home(p, listener, d) == m {
			return d
		}
	}
}

// A tor that never gets ready: the request fails when its time is up, with a general
// failure, and the log says why.
func TestNeverReady(t *testing.T) {
	network.Get(t) // or there is no tor to run
	members, err := Spawn(t.Context(), "", t.TempDir(), 1, "DisableNetwork 1")
	if err != nil {
		t.Fatal(err)
	}
	var log logged
	p := &Pool{Members: members, Log: slog.New(slog.NewTextHandler(&log, nil))}
	run(t, p)
	awaitState(t, p, Starting)
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, _, err = p.Dial(ctx, connectRequest("u"))
		cancel()
		proxy := (*socks.ProxyError)(nil)
		if !errors.As(err, &proxy) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "bootstrapped 0%") {
			t.Errorf("got %v", err)
		}
	}
	if n := strings.Count(log.String(), "no tor is ready"); n != 1 {
		t.Errorf("the log says %d times that none is ready:\n%s", n, log.String())
	}
}

// program writes a script that stands for tor.
func program(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "tor")
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestSpawnErrors(t *testing.T) {
	ctx := t.Context()
	const recent = "case $1 in --version) echo 'Tor version 0.4.9.11.'; exit;; esac\n"
	long := filepath.Join(t.TempDir(), strings.Repeat("x", 100))
	for _, c := range []struct {
		name, program, dir string
		n                  int
		want               string
		isProgram          bool
	}{
		{"missing", filepath.Join(t.TempDir(), "tor"), t.TempDir(), 1, "apt-get install tor", true},
		{"too old", program(t, "echo 'Tor version 0.3.5.16.'\n"), t.TempDir(), 1, "is tor 0.3.5.16, and 0.4.7.1 is the oldest", true},
		{"not tor", program(t, "echo hello\n"), t.TempDir(), 1, "this is no tor", true},
		{"fails", program(t, "exit 3\n"), t.TempDir(), 1, "--version: exit status 3", false},
		{"bad torrc", program(t, recent+"echo 'Jan 01 00:00:00.000 [warn] Unknown option X'; exit 1\n"), t.TempDir(), 1, "Unknown option X", false},
		{"long directory", program(t, recent), long, 1, "a Unix socket's path at most 103", false},
		{"no daemons", "tor", t.TempDir(), 0, "the number is 1 to 64", false},
		{"too many", "tor", t.TempDir(), 65, "the number is 1 to 64", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			members, err := Spawn(ctx, c.program, c.dir, c.n, "")
			if members != nil || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, %v, want %q in it", members, err, c.want)
			}
			if errors.Is(err, ErrProgram) != c.isProgram {
				t.Errorf("%v: is ErrProgram: %t", err, !c.isProgram)
			}
		})
	}
	network.Get(t)
	if _, err := Spawn(ctx, "", t.TempDir(), 1, "NoSuchOption 1"); err == nil || !strings.Contains(err.Error(), "NoSuchOption") {
		t.Errorf("a torrc line that tor does not know: %v", err)
	}
}

// However the further lines end, hosier's own come after them and count, or Spawn fails.
func TestTorrcCannotSwallow(t *testing.T) {
	network.Get(t) // or there is no tor to run
	include := filepath.Join(t.TempDir(), "included")
	if err := os.WriteFile(include, []byte("ContactInfo me \\"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, torrc string
		refused     bool
	}{
		{"plain", "ContactInfo me", false},
		{"backslash", `ContactInfo me \`, false},
		{"backslash and line feed", "ContactInfo me \\\n", false},
		{"backslash and CR LF", "ContactInfo me \\\r\n", false},
		{"two backslashes", `ContactInfo me \\`, false},
		{"comment with a backslash", `# me \`, false},
		{"continued by a comment", "ContactInfo me \\\n# me \\", false},
		{"included backslash", "%include " + include, false},
		{"include with a backslash", "%include " + include + ` \`, true},
		{"open quote", `ContactInfo "me`, true},
		{"open quote and backslash", `ContactInfo "me \`, true},
		{"NUL", "ContactInfo me\x00", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			members, err := Spawn(t.Context(), "", t.TempDir(), 1, c.torrc)
			if c.refused != (err != nil) {
				t.Fatal(err)
			}
			if err != nil {
				return
			}
			d := members[0].Daemon
			out, err := exec.Command(d.Program, append(d.args(), "--dump-config", "short")...).Output()
			if want := "DataDirectory " + d.file("data") + "\n"; err != nil || !strings.Contains(string(out), want) {
				t.Errorf("%q is not in what tor reads, %v:\n%s", want, err, out)
			}
		})
	}
}

// One that ends at once is started again, with pauses that grow, and requests do not wait
// for it beyond their time.
func TestCrashLoop(t *testing.T) {
	text := `for a; do case $a in --version) echo 'Tor version 0.4.9.11.'; exit;; --verify-config) exit;; esac; done
echo "Jan 01 00:00:00.000 [warn] It is broken"
exit 7
`
	members, err := Spawn(t.Context(), program(t, text), t.TempDir(), 1, "")
	if err != nil {
		t.Fatal(err)
	}
	var log logged
	p := &Pool{Members: members, Log: slog.New(slog.NewTextHandler(&log, nil))}
	run(t, p)
	await(t, "the second start", func() bool { return p.status(p.all[0]).Starts >= 2 })
	await(t, "its end", func() bool { return p.status(p.all[0]).State == Down })
	s := p.status(p.all[0])
	if !strings.Contains(s.Error, "exit status 7") || !strings.Contains(s.Error, "It is broken") {
		t.Errorf("status %+v", s)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, _, err := p.Dial(ctx, connectRequest("u")); err == nil || !strings.Contains(err.Error(), "It is broken") {
		t.Errorf("a request: %v", err)
	}
	if n := strings.Count(log.String(), `level=INFO msg="starting tor" tor=tor0`); n == 0 {
		t.Errorf("the log does not say that tor is started:\n%s", log.String())
	}
	if !strings.Contains(log.String(), `msg="tor says" tor=tor0 text="It is broken"`) {
		t.Errorf("the log:\n%s", log.String())
	}
}

func TestBackoff(t *testing.T) {
	b := backoff{least: 1, most: 5}
	for _, want := range []time.Duration{1, 2, 4, 5, 5} {
		if !b.wait(t.Context()) || b.next != want {
			t.Errorf("waits %d, want %d", b.next, want)
		}
	}
	b.reset()
	if b.wait(t.Context()); b.next != 1 {
		t.Errorf("after a reset it waits %d", b.next)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b = backoff{least: time.Hour, most: time.Hour}
	if b.wait(ctx) {
		t.Error("it waits on though its context has ended")
	}
}
