package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
)

// listen opens the listener that --listen names: host:port or unix:/path.
func listen(ctx context.Context, address string) (net.Listener, error) {
	var lc net.ListenConfig
	// A SOCKS client gains nothing by MPTCP, and its sockets cost more.
	lc.SetMultipathTCP(false)
	if isUnix(address) {
		path := strings.TrimPrefix(address, "unix:")
		if err := removeStale(path); err != nil {
			return nil, fmt.Errorf("--listen %s: %w", address, err)
		}
		l, err := listenPrivately(func() (net.Listener, error) { return lc.Listen(ctx, "unix", path) })
		return l, listenError(address, err)
	}
	if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
		return nil, usageError{fmt.Errorf("--listen %s: write host:port, such as 127.0.0.1:1080, or unix:/path", address)}
	}
	l, err := lc.Listen(ctx, "tcp", address)
	return l, listenError(address, err)
}

// isUnix reports whether address is unix:/path. Without a path the system would make up
// a name that everybody on this host may connect to.
func isUnix(address string) bool {
	path, ok := strings.CutPrefix(address, "unix:")
	return ok && path != ""
}

func listenError(address string, err error) error {
	if err == nil {
		return nil
	}
	if bad := (*net.AddrError)(nil); errors.As(err, &bad) {
		return usageError{fmt.Errorf("--listen %s: %w", address, bad)}
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		err = op.Err
	}
	return fmt.Errorf("--listen %s: %w", address, err)
}

// removeStale removes a socket that a program which is gone left behind. One that
// somebody listens on, or that is not a socket, stays, and listening then fails.
func removeStale(path string) error {
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
		return errors.New("another program listens there")
	}
	if !isRefusal(err) {
		return err
	}
	return os.Remove(path)
}

// isLocal reports whether only programs of this host can reach the listener.
func isLocal(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return !ok || tcp.IP.IsLoopback()
}
