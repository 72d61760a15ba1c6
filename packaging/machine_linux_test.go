package packaging_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hosier/internal/debiantest"
)

// machine is a Debian that systemd has booted in namespaces of its own, with no network but
// loopback. What is written there is gone when the test ends.
type machine struct {
	init    int // the process that is number 1 there
	console bytes.Buffer
	mu      sync.Mutex // of console
}

func (m *machine) Write(b []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.console.Write(b)
}

func (m *machine) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.console.String()
}

// boot starts a machine in which the file is /FILE.
func boot(t *testing.T, file string) *machine {
	t.Helper()
	debiantest.Program(t, "systemd-nspawn", "systemd-container")
	debiantest.Program(t, "debootstrap", "debootstrap")
	debiantest.Program(t, "nsenter", "util-linux")
	if os.Getuid() != 0 {
		debiantest.Unable(t, "only root may boot a machine")
	}
	cmd := exec.Command("../.ci/debian-root")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	root, err := cmd.Output()
	if err != nil {
		debiantest.Unable(t, fmt.Sprintf(".ci/debian-root: %v: %s", err, stderr.String()))
	}
	m := &machine{}
	name := "hosier-test-" + strconv.Itoa(os.Getpid())
	nspawn := exec.Command("systemd-nspawn", "--boot", "--register=no", "--keep-unit", "--private-network", "--volatile=overlay",
		"--console=read-only", "--machine="+name, "--directory="+strings.TrimSpace(string(root)),
		"--bind-ro="+file+":/"+filepath.Base(file))
	nspawn.Stdout, nspawn.Stderr = m, m
	if err := nspawn.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		nspawn.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		if m.init > 0 {
			syscall.Kill(m.init, syscall.SIGKILL) // and with it all processes there
		} else {
			nspawn.Process.Kill()
		}
		select {
		case <-ended:
		case <-time.After(time.Minute):
			nspawn.Process.Kill()
			t.Error("systemd-nspawn has not ended")
		}
	})
	for end := time.Now().Add(time.Minute); m.init == 0; time.Sleep(10 * time.Millisecond) {
		m.init = descendant(nspawn.Process.Pid, isFirst)
		select {
		case <-ended:
			debiantest.Unable(t, fmt.Sprintf("systemd-nspawn cannot run here: %s", m))
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("systemd-nspawn starts nothing: %s", m)
		}
	}
	await(t, m.String, "systemd to have started", func() bool {
		said, _ := m.run("systemctl", "is-system-running", "--wait")
		return said == "running\n"
	})
	return m
}

// descendant returns the first process that descends from pid and is sought; 0 if there is none.
func descendant(pid int, sought func(pid int) bool) int {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		children, _ := os.ReadFile(task)
		for _, word := range strings.Fields(string(children)) {
			child, err := strconv.Atoi(word)
			if err != nil {
				continue
			}
			if sought(child) {
				return child
			}
			if found := descendant(child, sought); found > 0 {
				return found
			}
		}
	}
	return 0
}

// isFirst reports whether the process is number 1 of a namespace.
func isFirst(pid int) bool {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return strings.Contains(string(status), fmt.Sprintf("\nNSpid:\t%d\t1\n", pid))
}

// await waits until the condition holds; if it never does, the test ends with what state says.
func await(t *testing.T, state func() string, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s: %s", what, state())
		}
	}
}

// run runs a program in the machine as root, with as little of an environment as systemd
// gives, and returns what it prints.
func (m *machine) run(words ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"--target=" + strconv.Itoa(m.init), "--all", "--"}, words...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	said, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%v: %w", words, err)
	}
	return string(said), err
}

// sh runs lines of a shell, which must all end well.
func (m *machine) sh(t *testing.T, lines string) string {
	t.Helper()
	said, err := m.run("sh", "-ec", lines)
	if err != nil {
		t.Fatalf("%v: %s\n%s", err, said, m.journal())
	}
	return said
}

// fails runs lines of a shell that must end with a code of their own, and returns what they print.
func (m *machine) fails(t *testing.T, lines string) (said string, code int) {
	t.Helper()
	said, err := m.run("sh", "-ec", lines)
	exit := (*exec.ExitError)(nil)
	if !errors.As(err, &exit) {
		t.Fatalf("%s: %v, want a failure: %s", lines, err, said)
	}
	return said, exit.ExitCode()
}

func (m *machine) journal() string {
	said, _ := m.run("journalctl", "--no-pager", "--boot", "--lines=60", "--unit=hosier.service", "--unit=hosier.socket")
	return said
}

// show returns a property of hosier.service.
func (m *machine) show(t *testing.T, property string) string {
	t.Helper()
	return strings.TrimSpace(m.sh(t, "systemctl show --value --property="+property+" hosier.service"))
}

func (m *machine) awaitActive(t *testing.T) {
	t.Helper()
	await(t, m.journal, "hosier.service to be active", func() bool {
		said, _ := m.run("systemctl", "is-active", "hosier.service")
		return said == "active\n"
	})
}

// configure writes hosier.toml, as an editor does that keeps the file's mode.
func (m *machine) configure(t *testing.T, lines string) {
	t.Helper()
	m.sh(t, "cat >/etc/hosier/hosier.toml <<'END'\n"+lines+"END")
}

// inside calls f on a thread that is in the network of the machine, and returns when f does.
// Sockets that f opens stay there.
func (m *machine) inside(t *testing.T, f func()) {
	t.Helper()
	ended := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		ended <- func() error {
			ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", m.init))
			if err != nil {
				return err
			}
			defer ns.Close()
			if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("setns: %w", err)
			}
			f()
			return nil
		}()
	}()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
