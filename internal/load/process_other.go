//go:build !unix

package load

import (
	"os/exec"
	"strings"
)

func ownSession(*exec.Cmd) {}

// Shell returns the command that a person wrote as one text; here its words are what
// spaces part.
func Shell(text string) *exec.Cmd {
	words := append(strings.Fields(text), "")
	return exec.Command(words[0], words[1:len(words)-1]...)
}

func (p *Process) terminate() { p.kill() }
func (p *Process) kill()      { p.cmd.Process.Kill() }
