package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"

	"hosier/internal/daemon"
)

// notFound says that no hosier answers at the socket of a state directory.
type notFound struct {
	dir string
	err error
}

func (e *notFound) Error() string {
	if errors.Is(e.err, fs.ErrPermission) {
		return fmt.Sprintf("state directory %s: %v; ask as root, or as the user that hosier runs as", e.dir, e.err)
	}
	return fmt.Sprintf("no hosier with a configuration file, an admin listener or an egress through Tor serves with the state directory %s (%v); "+
		"name its --state-dir%s", e.dir, e.err, serviceHint(e.dir, serviceStateDir))
}

func (e *notFound) Unwrap() error { return e.err }

// askControl asks the hosier that serves with the state directory.
func askControl(ctx context.Context, dir, method, path string) (*http.Response, error) {
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", daemon.ControlSocket(dir))
		},
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://hosier"+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "text/plain") // of mistakes; the rest is JSON in any case
	resp, err := transport.RoundTrip(req)
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		return nil, &notFound{dir, op.Err}
	}
	if err != nil {
		return nil, fmt.Errorf("%s of %s: %w", path, daemon.ControlSocket(dir), err)
	}
	return resp, nil
}
