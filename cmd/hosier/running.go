package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"

	"hosier/internal/daemon"
)

// serviceStateDir is the state directory of the systemd service (StateDirectory=hosier).
const serviceStateDir = "/var/lib/hosier"

const runningDirUsage = stateDirUsage + "; where no hosier listens there, " + serviceStateDir + ", the system service's"

// runningStateDir returns the state directory by which a command finds a running hosier:
// the one that asked or the environment names; else that of the home directory, and where no
// hosier listens there, that of the service, so that root need not name it.
func runningStateDir(asked, service string) (string, error) {
	dir, err := daemon.StateDirPath(asked)
	if asked != "" || os.Getenv("STATE_DIRECTORY") != "" {
		return dir, err
	}
	if err == nil && listensIn(dir) == nil {
		return dir, nil
	}
	if err != nil || listensIn(service) == nil { // root of systemd's has no home directory
		return service, nil
	}
	return dir, nil
}

// listensIn returns nil if a hosier listens in the state directory.
func listensIn(dir string) error {
	c, err := net.Dial("unix", daemon.ControlSocket(dir))
	if err == nil {
		c.Close()
	}
	return err
}

// serviceHint returns what to do where a caller without the right to know asks and the
// hosier of the service may be meant, and else "".
func serviceHint(dir, service string) string {
	if dir == service || !errors.Is(listensIn(service), fs.ErrPermission) {
		return ""
	}
	return fmt.Sprintf("; to ask that of the system's service, in %s, run this as root", service)
}
