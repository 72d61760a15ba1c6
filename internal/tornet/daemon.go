package tornet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// errPortTaken reports that another program got a port between its choice and
// the daemon's start. With other ports it will go better.
var errPortTaken = errors.New("port taken by another program")

// What a tor logs on its way.
const (
	started      = "Bootstrapped 0%"   // its ports are open, its keys and cookie written
	bootstrapped = "Bootstrapped 100%" // it has built a circuit
)

// daemon is one tor process, and after a restart the next one in its place.
type daemon struct {
	name    string
	program string
	dir     string // its data directory, with torrc in it
	host    string
	ports   []uint16

	mu      sync.Mutex
	process *process // nil before the first start
}

// process is one run of a daemon.
type process struct {
	cmd    *exec.Cmd
	output output
	exited chan struct{} // closed when the process is gone and waited for
}

// start runs the daemon with the torrc in its directory. It returns as soon as
// the process exists.
func (d *daemon) start() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.process != nil && !d.process.gone() {
		return fmt.Errorf("start %s: runs already with pid %d", d.name, d.process.cmd.Process.Pid)
	}
	p := &process{exited: make(chan struct{})}
	p.output.changed = make(chan struct{})
	p.cmd = exec.Command(d.program, "-f", filepath.Join(d.dir, "torrc"), "--defaults-torrc", os.DevNull)
	p.cmd.Dir = d.dir
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	p.cmd.WaitDelay = time.Second
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", d.name, err)
	}
	go func() {
		defer close(p.exited)
		// How it ended is in its log; a daemon that was killed is no error.
		_ = p.cmd.Wait()
	}()
	d.process = p
	return nil
}

// kill ends the daemon with SIGKILL and waits until it is gone. It may be gone
// already, or never have run.
func (d *daemon) kill() error {
	p := d.current()
	if p == nil {
		return nil
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", d.name, err)
	}
	<-p.exited
	return nil
}

// pid returns the process's number, 0 if none runs.
func (d *daemon) pid() int {
	p := d.current()
	if p == nil || p.gone() {
		return 0
	}
	return p.cmd.Process.Pid
}

// check returns an error if the daemon has ended.
func (d *daemon) check() error {
	p := d.current()
	if p == nil || !p.gone() {
		return nil
	}
	return d.lost(p)
}

// await waits until the daemon has printed text. It fails when the daemon ends
// or ctx does, and then says what the daemon printed last.
func (d *daemon) await(ctx context.Context, text string) error {
	p := d.current()
	for {
		found, changed := p.output.contains(text)
		if found {
			return nil
		}
		select {
		case <-changed:
		case <-p.exited:
			return d.lost(p)
		case <-ctx.Done():
			return fmt.Errorf("%s (pid %d): waiting for %q: %w; %s", d.name, p.cmd.Process.Pid, text, context.Cause(ctx), p.output.end())
		}
	}
}

// lost returns the error for a daemon that ended unasked.
func (d *daemon) lost(p *process) error {
	for _, port := range d.ports {
		if !isFree(d.host, port) {
			return fmt.Errorf("%s: %w: %s:%d; %s", d.name, errPortTaken, d.host, port, p.output.end())
		}
	}
	return fmt.Errorf("%s (pid %d) ended (%v); %s", d.name, p.cmd.Process.Pid, p.cmd.ProcessState, p.output.end())
}

// logEnd returns what the daemon logged last, in words fit for an error.
func (d *daemon) logEnd() string { return d.current().output.end() }

func (d *daemon) current() *process {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.process
}

func (p *process) gone() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// output collects what a process prints. The zero value lacks its channel.
type output struct {
	mu      sync.Mutex
	text    []byte
	changed chan struct{} // closed and replaced at each write
}

// Write implements [io.Writer].
func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, b...)
	close(o.changed)
	o.changed = make(chan struct{})
	return len(b), nil
}

// contains reports whether s was printed, and returns a channel that is closed
// when more is.
func (o *output) contains(s string) (bool, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Contains(o.text, []byte(s)), o.changed
}

// end returns the last lines in words fit for an error.
func (o *output) end() string {
	const most = 8
	o.mu.Lock()
	defer o.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(string(o.text)), "\n")
	return "its log ends:\n" + strings.Join(lines[max(0, len(lines)-most):], "\n")
}
