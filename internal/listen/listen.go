// Package listen opens what clients come in by, and makes of an accepted connection the
// one that a client speaks on: TLS, PROXY headers, the user behind a Unix socket.
package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"

	"hosier/internal/via"
)

// An AddressError is an address that nobody could listen on: a mistake of whoever wrote
// it, not of the system.
type AddressError struct{ Text string }

func (e *AddressError) Error() string { return e.Text }

// Open opens a listener: host:port, unix:/path, or systemd:NAME for a socket that came
// with the process (see [Activated]). The mode is that of a Unix socket; 0600 if 0. A
// socket whose program is gone is replaced. The error names no address.
func Open(ctx context.Context, address string, mode fs.FileMode) (net.Listener, error) {
	if name, ok := strings.CutPrefix(address, "systemd:"); ok {
		return activated(name)
	}
	var lc net.ListenConfig
	// A SOCKS client gains nothing by MPTCP, and its sockets cost more.
	lc.SetMultipathTCP(false)
	if IsUnix(address) {
		return openUnix(ctx, &lc, strings.TrimPrefix(address, "unix:"), mode)
	}
	if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
		return nil, &AddressError{"write host:port, such as 127.0.0.1:1080, or unix:/path"}
	}
	l, err := lc.Listen(ctx, "tcp", address)
	return l, bare(err)
}

func openUnix(ctx context.Context, lc *net.ListenConfig, path string, mode fs.FileMode) (net.Listener, error) {
	if err := via.CheckPath(path); err != nil {
		return nil, &AddressError{err.Error()}
	}
	if err := RemoveStale(path); err != nil {
		return nil, err
	}
	l, err := Privately(func() (net.Listener, error) { return lc.Listen(ctx, "unix", path) })
	if err != nil || mode == 0 {
		return l, bare(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// IsUnix reports whether address is unix:/path. Without a path the system would make up
// a name that everybody on this host may connect to.
func IsUnix(address string) bool {
	path, ok := strings.CutPrefix(address, "unix:")
	return ok && path != ""
}

// bare takes off what repeats the address.
func bare(err error) error {
	if bad := (*net.AddrError)(nil); errors.As(err, &bad) {
		return &AddressError{bad.Error()}
	}
	if dns := (*net.DNSError)(nil); errors.As(err, &dns) && strings.HasPrefix(dns.Name, "tcp/") {
		return &AddressError{"the port " + strings.TrimPrefix(dns.Name, "tcp/") + " is neither a number nor a service that is known here"}
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		return op.Err
	}
	return err
}

// RemoveStale removes a socket that a program which is gone left behind. One that
// somebody listens on, or that is not a socket, stays, and is an error.
func RemoveStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("there is a file of this name that is not a socket")
	}
	c, err := net.Dial("unix", path)
	if err == nil {
		c.Close()
		return ErrTaken
	}
	if !isRefusal(err) {
		return err
	}
	return os.Remove(path)
}

// IsTaken reports whether Open failed since something else listens there.
func IsTaken(err error) bool { return errors.Is(err, ErrTaken) || errors.Is(err, addressInUse) }

// ErrTaken is the error of a Unix socket that a program listens on.
var ErrTaken = errors.New("another program listens there")

// IsLocal reports whether only programs of this host can reach the listener.
func IsLocal(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return !ok || tcp.IP.IsLoopback()
}

// noListener is what is said of a name that no socket of the process has.
func noListener(name string, have []string) error {
	if len(have) == 0 {
		return &AddressError{"no sockets came with this process: start it by a systemd socket unit"}
	}
	return &AddressError{fmt.Sprintf("no socket that came with this process is called %q; there are: %s "+
		"(FileDescriptorName= of the socket unit says how)", name, strings.Join(have, ", "))}
}
