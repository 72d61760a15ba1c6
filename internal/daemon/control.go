package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"time"

	"hosier/internal/listen"
	"hosier/internal/via"
)

// How long a question at the control socket may take.
const (
	StatusTimeout = 5 * time.Second
	ReloadTimeout = time.Minute // tors may have to be looked for
)

// ControlSocket returns the path of the socket in a state directory at which a running hosier
// answers the requests of the admin listener without a token. GET /api/v1/report returns a [Report],
// GET /resolve?name=NAME a [NameReport], and POST /resolve/flush a [Flushed].
func ControlSocket(dir string) string { return filepath.Join(dir, "hosier.sock") }

// openControl opens the socket in the state directory by which hosier status, hosier reload
// and hosier console find this one. It belongs to its owner alone. Where no other hosier could
// harm this one by the same directory, that there is none is no reason not to serve; and
// where there is nothing to reload or to open in a browser, it is not worth a warning.
func (d *Daemon) openControl(ctx context.Context, g *generation) (net.Listener, error) {
	if err := checkNamedStateDir(g.config.StateDir); err != nil {
		return nil, err
	}
	tors, spawned := false, false
	for _, x := range g.egresses {
		tors, spawned = tors || x.pool != nil, spawned || x.dir != ""
	}
	l, err := listenControl(ctx, g.config.StateDir)
	if err != nil && spawned {
		return nil, err // another hosier may run daemons in the same directories
	}
	if err != nil {
		level := slog.LevelInfo
		if tors || d.source.File != "" || g.config.Admin != "" {
			level = slog.LevelWarn
		}
		d.every.Log(ctx, level, "hosier status, hosier reload and hosier console will not find this one", "error", err)
		return nil, nil
	}
	return l, nil
}

// listenControl makes the socket. Its error says what to do.
func listenControl(ctx context.Context, asked string) (net.Listener, error) {
	dir, err := stateDir(asked)
	if err != nil {
		return nil, err
	}
	path := ControlSocket(dir)
	if err := via.CheckPath(path); err != nil {
		return nil, fmt.Errorf("state directory: %s: %w (--state-dir)", path, err)
	}
	if err := listen.RemoveStale(path); err != nil {
		return nil, fmt.Errorf("%s: %w; give each hosier a --state-dir of its own", path, err)
	}
	return listen.Privately(func() (net.Listener, error) { return new(net.ListenConfig).Listen(ctx, "unix", path) })
}
