package listen

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// firstFD is the first descriptor that systemd passes (sd_listen_fds(3)).
const firstFD = 3

// inherited are the sockets that came with the process. They are of the process, as the
// environment is that tells of them.
var inherited = sync.OnceValues(takeInherited)

// Activated returns the names of the sockets that came with this process, by the
// convention of systemd's socket activation (sd_listen_fds(3)). The environment that told
// of them is cleared, so that no child takes them for its own.
func Activated() ([]string, error) {
	all, err := inherited()
	var names []string
	for _, f := range all {
		names = append(names, f.Name())
	}
	return names, err
}

// activated returns a listener on the socket of this name. It may be asked again after
// that listener is closed: the socket itself stays open while the process lives.
func activated(name string) (net.Listener, error) {
	all, err := inherited()
	if err != nil {
		return nil, err
	}
	is := func(f *os.File) bool { return f.Name() == name }
	i := slices.IndexFunc(all, is)
	if i < 0 {
		names, _ := Activated()
		return nil, noListener(name, names)
	}
	if slices.ContainsFunc(all[i+1:], is) { // nobody would accept from the second
		return nil, &AddressError{fmt.Sprintf("several sockets that came with this process are called %q: "+
			"make a socket unit for each, with a FileDescriptorName= of its own", name)}
	}
	l, err := net.FileListener(all[i])
	if err != nil {
		return nil, fmt.Errorf("socket %s that came with this process: %w", name, err)
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // the file is systemd's
	}
	return l, nil
}

// InheritedAt returns the name of the socket that came with this process and keeps others
// from listening at an address; "" if none does.
func InheritedAt(address netip.AddrPort) string {
	all, err := inherited()
	if err != nil {
		return ""
	}
	for _, f := range all {
		l, err := net.FileListener(f)
		if err != nil {
			continue
		}
		bound, ok := l.Addr().(*net.TCPAddr)
		l.Close()
		if !ok || bound.Port != int(address.Port()) {
			continue
		}
		if have := bound.AddrPort().Addr().Unmap(); have == address.Addr() || have.IsUnspecified() || address.Addr().IsUnspecified() {
			return f.Name()
		}
	}
	return ""
}

func takeInherited() ([]*os.File, error) {
	return parseInherited(os.Getpid(), os.Getenv, os.Unsetenv, func(fd int, name string) *os.File {
		closeOnExec(fd)
		return os.NewFile(uintptr(fd), name)
	})
}

func parseInherited(pid int, getenv func(string) string, unsetenv func(string) error, open func(fd int, name string) *os.File) (all []*os.File, err error) {
	const keyPID, keyN, keyNames = "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"
	if getenv(keyPID) != strconv.Itoa(pid) {
		return nil, nil // for another process, or for none
	}
	n, err := strconv.ParseUint(getenv(keyN), 10, 8)
	if err != nil {
		return nil, fmt.Errorf("%s=%q: not a number of sockets", keyN, getenv(keyN))
	}
	names := strings.Split(getenv(keyNames), ":")
	for i := range int(n) {
		name := "unknown" // as systemd calls what has no name
		if i < len(names) && names[i] != "" {
			name = names[i]
		}
		all = append(all, open(firstFD+i, name))
	}
	for _, key := range []string{keyPID, keyN, keyNames} {
		if err := unsetenv(key); err != nil {
			return all, err
		}
	}
	return all, nil
}

// Notify tells the service manager about the state of this process: READY=1, STOPPING=1
// and so on, one a line (sd_notify(3)). Without a manager that wants to know it does
// nothing.
func Notify(state ...string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	c, err := net.Dial("unixgram", path) // an @ in front is the abstract namespace, to Go as to systemd
	if err != nil {
		return fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	defer c.Close()
	c.SetWriteDeadline(time.Now().Add(time.Second))
	if _, err := c.Write([]byte(strings.Join(state, "\n"))); err != nil {
		return fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	return nil
}
