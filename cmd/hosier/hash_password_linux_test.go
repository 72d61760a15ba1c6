package main

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hosier/internal/users"
)

// newTerminal returns both ends of a pseudo-terminal.
func newTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { master.Close() })
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	return master, slave
}

// atTerminal is hosier hash-password with somebody at the terminal.
type atTerminal struct {
	cmd            *exec.Cmd
	master, slave  *os.File
	screen, stdout output
	exited         chan struct{}
}

func startAtTerminal(t *testing.T) *atTerminal {
	a := &atTerminal{cmd: exec.Command("hosier", "hash-password", "--user", "alice"), exited: make(chan struct{})}
	a.master, a.slave = newTerminal(t)
	a.cmd.Stdin, a.cmd.Stderr, a.cmd.Stdout = a.slave, a.slave, &a.stdout
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		b := make([]byte, 1024)
		for {
			n, err := a.master.Read(b)
			if err != nil {
				return
			}
			a.screen.Write(b[:n])
		}
	}()
	go func() {
		defer close(a.exited)
		a.cmd.Wait()
	}()
	t.Cleanup(func() {
		a.cmd.Process.Kill()
		<-a.exited
		a.slave.Close()
		<-read
	})
	return a
}

// answer types a line when the prompt is there and the terminal does not echo.
func (a *atTerminal) answer(t *testing.T, prompt, line string) {
	t.Helper()
	await(t, "the prompt "+prompt, func() bool {
		return strings.HasSuffix(a.screen.String(), prompt) && !a.echoes(t)
	})
	if _, err := a.master.WriteString(line); err != nil {
		t.Fatal(err)
	}
}

func (a *atTerminal) echoes(t *testing.T) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(a.slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

func (a *atTerminal) wait(t *testing.T) {
	t.Helper()
	select {
	case <-a.exited:
	case <-time.After(patience):
		t.Fatalf("hosier has not ended; on the screen is:\n%s", a.screen.String())
	}
}

func TestHashPasswordAtTerminal(t *testing.T) {
	t.Parallel()
	a := startAtTerminal(t)
	a.answer(t, "Password: ", "hunter2\n")
	a.answer(t, "The same again: ", "hunter2\n")
	a.wait(t)
	if strings.Contains(a.screen.String(), "hunter2") {
		t.Errorf("the password is on the screen:\n%s", a.screen.String())
	}
	file := t.TempDir() + "/users"
	if err := os.WriteFile(file, []byte(a.stdout.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := users.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := users.NewVerifier(l, 0).Verify(t.Context(), netip.IPv6Loopback(), "alice", "hunter2"); err != nil {
		t.Errorf("the line that was made does not know the password: %v", err)
	}
}

func TestHashPasswordDiffers(t *testing.T) {
	t.Parallel()
	a := startAtTerminal(t)
	a.answer(t, "Password: ", "hunter2\n")
	a.answer(t, "The same again: ", "hunter3\n")
	a.wait(t)
	await(t, "why there is no hash", func() bool {
		return strings.Contains(a.screen.String(), "hosier: the two passwords are not the same: nothing was made")
	})
	if a.cmd.ProcessState.ExitCode() != exitFailed || a.stdout.String() != "" {
		t.Errorf("exit code %d, output %q", a.cmd.ProcessState.ExitCode(), a.stdout.String())
	}
}

// Whoever interrupts it has a terminal that echoes again.
func TestHashPasswordInterrupted(t *testing.T) {
	t.Parallel()
	a := startAtTerminal(t)
	a.answer(t, "Password: ", "hun\x03")
	a.wait(t)
	if !a.echoes(t) {
		t.Error("the terminal does not echo")
	}
	if a.cmd.ProcessState.ExitCode() != exitFailed {
		t.Errorf("it ended with %v", a.cmd.ProcessState)
	}
}

// What comes in by a pipe is taken as it is, but for the end of its line.
func TestReadPassword(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"secret\n": "secret", "secret\r\n": "secret", "secret": "secret", " s\x00\xff \n": " s\x00\xff ", "a\rb\n": "a\rb",
	} {
		got, err := readPassword(t.Context(), bytes.NewReader([]byte(in)), nil)
		if err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", in, got, err, want)
		}
	}
}
