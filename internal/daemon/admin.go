package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"hosier/internal/admin"
	"hosier/internal/console"
	"hosier/internal/listen"
)

// serveAdmin serves metrics, health and what changes something at the address that the
// configuration says, if it does.
func (d *Daemon) serveAdmin(ctx context.Context, g *generation) error {
	address := g.config.Admin
	if address == "" {
		return nil
	}
	token, err := adminToken(g.config.StateDir)
	if err != nil {
		return err
	}
	l, err := listen.Open(ctx, address, 0)
	if err != nil {
		return fmt.Errorf("admin %s: %w", address, err)
	}
	// A way out that a reload starts must not end with the request for the reload.
	reload := func() error { return d.reload(context.WithoutCancel(ctx)) }
	srv := admin.New(admin.Options{
		Token:   token,
		Metrics: d.telemetry.Handler(),
		Log:     d.log,
		Ready:   d.ready,
		Reload:  reload,
	})
	console.New(console.Options{
		Source: d.consoleSource(), CSRF: admin.CSRF, SignedIn: srv.SignedIn, Reload: reload,
	}).Register(srv.Handle)
	d.admin, d.adminAt = srv, adminURL(l.Addr())
	fmt.Fprintf(d.stderr, "admin on %s\n", d.adminAt)
	go func() {
		if err := srv.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
			d.log.Error("the admin listener ended", "error", err)
		}
	}()
	return nil
}

// adminToken is that of the state directory, or where there is none, of this run.
func adminToken(asked string) (admin.Token, error) {
	dir, err := stateDir(asked)
	if err != nil {
		if asked != "" {
			return admin.Token{}, err
		}
		return admin.NewToken(), nil
	}
	return admin.LoadToken(dir)
}

func adminURL(a net.Addr) string {
	if a.Network() == "unix" {
		return "unix:" + a.String()
	}
	return "http://" + a.String()
}
