//go:build unix

package tor

import (
	"os"
	"syscall"
)

func canSpawn() error { return nil }

// apart keeps the interrupt that a terminal sends to a whole group of processes from the
// daemon, which has to serve open connections until they have ended.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func endGently(p *os.Process) error { return p.Signal(syscall.SIGTERM) }
