package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// process is a running hosier.
type process struct {
	cmd    *exec.Cmd
	addrs  []string // what it listens on, in the order of its --listen
	log    output   // its standard error
	exited chan struct{}
}

// start runs "hosier serve" with the arguments until the test ends, and returns when it
// listens. Without a --listen among them it gets a port of 127.0.0.1.
func start(tb testing.TB, args ...string) *process {
	tb.Helper()
	return startUnder(tb, nil, args...)
}

// startUnder is start by way of another program, such as strace, that becomes hosier:
// the process that it runs in must stay the same.
func startUnder(tb testing.TB, wrapper []string, args ...string) *process {
	tb.Helper()
	if !slices.Contains(args, "--listen") {
		args = append([]string{"--listen", "127.0.0.1:0"}, args...)
	}
	return startWords(tb, count(args, "--listen"), slices.Concat(wrapper, []string{"hosier", "serve"}, args)...)
}

// startWords runs a command line that becomes a hosier with so many listeners.
func startWords(tb testing.TB, listeners int, words ...string) *process {
	tb.Helper()
	p := &process{cmd: exec.Command(words[0], words[1:]...), exited: make(chan struct{})}
	p.cmd.Env = append(withoutProxies(os.Environ()), "XDG_STATE_HOME="+stateDirFor(tb))
	p.cmd.Stderr = &p.log
	if err := p.cmd.Start(); err != nil {
		tb.Fatalf("start %v: %v", words, err)
	}
	go func() {
		defer close(p.exited)
		p.cmd.Wait()
	}()
	tb.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.exited
		if strings.Contains(p.log.String(), "DATA RACE") {
			tb.Errorf("hosier has a data race:\n%s", p.log.String())
		}
	})
	p.awaitListeners(tb, listeners)
	return p
}

// stateDirFor returns a directory with a path short enough for a Unix socket in it.
func stateDirFor(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "hosier")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func count(words []string, word string) (n int) {
	for _, w := range words {
		if w == word {
			n++
		}
	}
	return n
}

var listeningLine = regexp.MustCompile(`(?m)^listening on (.+)$`)

func (p *process) awaitListeners(tb testing.TB, n int) {
	tb.Helper()
	await(tb, "hosier to listen", func() bool {
		found := listeningLine.FindAllStringSubmatch(p.log.String(), -1)
		for _, f := range found[len(p.addrs):] {
			p.addrs = append(p.addrs, f[1])
		}
		return len(p.addrs) >= n || p.hasExited()
	})
	if len(p.addrs) < n {
		tb.Fatalf("hosier ended (%v) with %d of %d listeners:\n%s", p.cmd.ProcessState, len(p.addrs), n, p.log.String())
	}
}

func (p *process) addr() string { return p.addrs[0] }

func (p *process) signal(tb testing.TB, s os.Signal) {
	tb.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		tb.Fatalf("signal hosier: %v", err)
	}
}

func (p *process) hasExited() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// awaitLog waits until the log matches the pattern.
func (p *process) awaitLog(tb testing.TB, pattern string) {
	tb.Helper()
	re := regexp.MustCompile(`(?m)` + pattern)
	await(tb, "the log to match "+pattern, func() bool {
		ended := p.hasExited()
		if re.MatchString(p.log.String()) {
			return true
		}
		if ended {
			tb.Fatalf("hosier ended (%v) without a log line that matches %s:\n%s", p.cmd.ProcessState, pattern, p.log.String())
		}
		return false
	})
}

// awaitExit waits for the end of the program and returns its exit code, -1 if it was a
// signal that ended it.
func (p *process) awaitExit(tb testing.TB) int {
	tb.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		tb.Fatalf("hosier has not ended after %v:\n%s", patience, p.log.String())
	}
	return p.cmd.ProcessState.ExitCode()
}

// await polls until the condition holds.
func await(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("waited %v for %s", patience, what)
		}
	}
}

// output is what a program prints, as it prints it.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// outcome is a program that has ended.
type outcome struct {
	stdout, stderr string
	code           int
}

// runProgram runs a program to its end, with stdin as its input.
func runProgram(tb testing.TB, stdin string, words ...string) outcome {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Env = withoutProxies(os.Environ())
	cmd.Stdin = strings.NewReader(stdin)
	cmd.WaitDelay = patience // for what the pipes still hold when it has ended
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if ctx.Err() != nil {
		tb.Fatalf("%v has not ended after %v: stdout %q, stderr %q", words, patience, stdout.String(), stderr.String())
	}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		tb.Fatalf("run %v: %v", words, err)
	}
	return outcome{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// withoutProxies keeps a proxy that the environment names from standing between a
// program and hosier.
func withoutProxies(env []string) []string {
	return slices.DeleteFunc(env, func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return strings.HasSuffix(strings.ToLower(name), "_proxy")
	})
}
