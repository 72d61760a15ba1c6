//go:build !unix

package tor

import (
	"errors"
	"os"
	"syscall"
)

func canSpawn() error {
	return errors.New("on this system tor has no Unix sockets, so hosier cannot start it: start it yourself and name its address")
}

func apart() *syscall.SysProcAttr { return nil }

func endGently(p *os.Process) error { return p.Kill() }
