//go:build unix

package load

import (
	"os/exec"
	"syscall"
)

// ownSession makes cmd the leader of a session, and so of a process group of its number.
func ownSession(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid = true
}

// Shell returns the command that a person wrote as one text.
func Shell(text string) *exec.Cmd { return exec.Command("/bin/sh", "-c", "exec "+text) }

func (p *Process) terminate() { syscall.Kill(-p.PID(), syscall.SIGTERM) }
func (p *Process) kill()      { syscall.Kill(-p.PID(), syscall.SIGKILL) }
