package load

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// Process is a server started for a measurement. It has a session of its own, since the
// kernel shares processors among sessions: two servers, one of them in the generator's
// session, cannot be compared.
type Process struct {
	cmd    *exec.Cmd
	exited chan struct{}
	said   tail
}

// Start starts cmd; what it prints on standard error is kept for a message, the end of it.
func Start(cmd *exec.Cmd) (*Process, error) {
	p := &Process{cmd: cmd, exited: make(chan struct{})}
	ownSession(cmd)
	cmd.Stderr = &p.said
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.exited)
		cmd.Wait()
	}()
	return p, nil
}

// PID returns the process's number.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Stop ends the process and what it started, gently first. It returns when it has ended.
func (p *Process) Stop() {
	p.terminate()
	select {
	case <-p.exited:
	case <-time.After(3 * time.Second):
		p.kill()
		<-p.exited
	}
}

// AwaitListening returns when connections to addr are accepted. The error says how the
// process ended before, or that it did not come to it in time.
func (p *Process) AwaitListening(ctx context.Context, addr string, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err == nil {
			c.Close()
		}
		select {
		case <-p.exited: // also if somebody else listens there
			return fmt.Errorf("%s ended (%v) before it listened on %s: %s", p.cmd.Args[0], p.cmd.ProcessState, addr, p.said.String())
		default:
		}
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
		case <-ctx.Done():
			return fmt.Errorf("%s does not listen on %s after %v: %s", p.cmd.Args[0], addr, patience, p.said.String())
		case <-time.After(tickEvery):
		}
	}
}

// tail keeps the end of what was written.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(b []byte) (int, error) {
	const most = 1000
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	t.buf = t.buf[max(len(t.buf)-most, 0):]
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(bytes.ToValidUTF8(t.buf, nil)))
}
