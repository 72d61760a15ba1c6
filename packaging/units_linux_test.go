package packaging_test

import (
	"bytes"
	"context"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hosier/internal/debiantest"
	"hosier/internal/tcptest"
	"hosier/socks"
)

// exposure is the most that systemd-analyze may make of the sandbox, in tenths: what
// Debian 12's says, and two for what others know.
const exposure = "15"

func TestUnits(t *testing.T) {
	debiantest.Program(t, "systemd-analyze", "systemd")
	dir := t.TempDir()
	// What the unit starts must exist, to be verified.
	service := strings.ReplaceAll(read(t, "hosier.service"), "=/usr/bin/hosier ", "=/bin/true ")
	write(t, filepath.Join(dir, "hosier.service"), service, 0o644)
	write(t, filepath.Join(dir, "hosier.socket"), read(t, "hosier.socket"), 0o644)
	for _, unit := range []string{"hosier.service", "hosier.socket"} {
		cmd := exec.Command("systemd-analyze", "verify", "--man=no", filepath.Join(dir, unit))
		if said, err := cmd.CombinedOutput(); err != nil || bytes.Contains(said, []byte(dir)) {
			t.Errorf("%s: %v: %s", unit, err, said)
		}
	}
	output(t, "systemd-analyze", "security", "--offline=true", "--threshold="+exposure, filepath.Join(dir, "hosier.service"))
}

// directive returns the words of all lines of hosier.service that set a directive.
func directive(t *testing.T, name string) (words []string) {
	t.Helper()
	for line := range strings.Lines(read(t, "hosier.service")) {
		if value, ok := strings.CutPrefix(line, name+"="); ok {
			words = append(words, strings.Fields(value)...)
		}
	}
	if len(words) == 0 {
		t.Fatalf("hosier.service has no %s", name)
	}
	return words
}

// allowed returns the system calls that the filter of hosier.service lets pass.
func allowed(t *testing.T) map[string]bool {
	t.Helper()
	calls, sign := map[string]bool{}, true
	var set func(name string)
	set = func(name string) {
		if !strings.HasPrefix(name, "@") {
			calls[name] = sign
			return
		}
		for line := range strings.Lines(output(t, "systemd-analyze", "syscall-filter", name)) {
			if word := strings.TrimSpace(line); word != "" && word != name && word[0] != '#' {
				set(word)
			}
		}
	}
	set("@default")
	for _, word := range directive(t, "SystemCallFilter") {
		if rest, refused := strings.CutPrefix(word, "~"); refused { // this, and what follows
			sign, word = false, rest
		}
		set(word)
	}
	return calls
}

var (
	callLine   = regexp.MustCompile(`(?m)^\d+ +(\w+)\((.*)$`)
	socketCall = regexp.MustCompile(`^(AF_\w+),`)
)

// staysInSandbox fails the test if the program does what hosier.service forbids it. It
// serves, moves bytes, is asked for a public address, reloads and ends, under strace.
func staysInSandbox(t *testing.T, hosier string) {
	debiantest.Program(t, "systemd-analyze", "systemd")
	debiantest.Program(t, "strace", "strace")
	may, families := allowed(t), directive(t, "RestrictAddressFamilies")
	trace, config := filepath.Join(t.TempDir(), "trace"), filepath.Join(t.TempDir(), "hosier.toml")
	write(t, config, "listen = [\"127.0.0.1:0\", \"0.0.0.0:0\"]\nallow-client = \"127.0.0.0/8\"\nconnect-timeout = \"100ms\"\nvia = \"direct\"\n", 0o600)
	cmd := exec.Command("strace", "-D", "-f", "-qq", "-o", trace, hosier, "serve", "--config", config)
	cmd.Env = []string{"STATE_DIRECTORY=" + t.TempDir()}
	s := serve(t, cmd)
	fetch(t, s.addr(t, 0))
	d := socks.Dialer{Proxy: s.addr(t, 1)}
	if c, err := d.DialContext(t.Context(), "tcp", "[4000::1]:9"); err == nil { // of nobody (RFC 4291 s. 2.4), and so of nobody private
		c.Close()
	}
	s.cmd.Process.Signal(syscall.SIGHUP)
	s.await(t, "configuration reloaded", 1)
	s.end(t, s.cmd.Process.Pid)

	seen := map[string]bool{}
	for _, m := range callLine.FindAllStringSubmatch(read(t, trace), -1) {
		call, rest := m[1], m[2]
		if !may[call] && !seen[call] {
			t.Errorf("SystemCallFilter= does not let %s pass: %s(%s", call, call, rest)
		}
		seen[call] = true
		if f := socketCall.FindStringSubmatch(rest); call == "socket" {
			seen[f[1]] = true
			if !slices.Contains(families, f[1]) {
				t.Errorf("RestrictAddressFamilies= does not let %s pass", f[1])
			}
		}
		if strings.Contains(rest, "PROT_WRITE|PROT_EXEC") {
			t.Errorf("MemoryDenyWriteExecute= does not let pass: %s(%s", call, rest)
		}
	}
	for _, want := range []string{"accept4", "splice", "AF_INET", "AF_UNIX", "AF_NETLINK"} {
		if !seen[want] {
			t.Errorf("the program did not use %s: this test no longer sees what it does", want)
		}
	}
}

// server is a running hosier.
type server struct {
	cmd   *exec.Cmd
	ended chan error

	mu  sync.Mutex
	log bytes.Buffer
}

func (s *server) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(b)
}

// serve starts a command that is hosier serve, or leads to it.
func serve(t *testing.T, cmd *exec.Cmd) *server {
	t.Helper()
	s := &server{cmd: cmd, ended: make(chan error, 1)}
	cmd.Stderr = s
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.ended <- cmd.Wait() }()
	t.Cleanup(func() { cmd.Process.Kill() })
	return s
}

// await waits until the log matches n times, and returns the last group of each match.
func (s *server) await(t *testing.T, pattern string, n int) (found []string) {
	t.Helper()
	re, text := regexp.MustCompile(`(?m)`+pattern), ""
	for end := time.Now().Add(time.Minute); len(found) < n; time.Sleep(5 * time.Millisecond) {
		s.mu.Lock()
		text = s.log.String()
		s.mu.Unlock()
		if time.Now().After(end) {
			t.Fatalf("hosier did not say %q: %s", pattern, text)
		}
		found = nil
		for _, m := range re.FindAllStringSubmatch(text, -1) {
			found = append(found, m[len(m)-1])
		}
	}
	return found
}

func (s *server) addr(t *testing.T, i int) string {
	t.Helper()
	return strings.Replace(s.await(t, `^listening on (\S+)`, i+1)[i], "[::]", "127.0.0.1", 1)
}

// end has the process end, which is that of the command or one that it started, and waits.
func (s *server) end(t *testing.T, pid int) {
	t.Helper()
	syscall.Kill(pid, syscall.SIGTERM)
	select {
	case err := <-s.ended:
		if err != nil {
			t.Fatalf("hosier ended with %v: %s", err, s.log.String())
		}
	case <-time.After(time.Minute):
		t.Fatalf("hosier has not ended: %s", s.log.String())
	}
}

// fetch has bytes echoed through the proxy.
func fetch(t *testing.T, proxy string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	d := socks.Dialer{Proxy: proxy}
	c, err := d.DialContext(ctx, "tcp", tcptest.Listen(t, tcptest.Echo))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	sent := bytes.Repeat([]byte("hosier"), 1<<19)
	go c.Write(sent)
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("what came back is not what was sent: %v", err)
	}
}
