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

// serveAdmin serves metrics, health and what changes something: to the owner of this process at
// the socket in the state directory, if control is not nil, and at the address that the
// configuration says, if it does, also the console.
func (d *Daemon) serveAdmin(ctx context.Context, g *generation, control net.Listener) error {
	o := admin.Options{
		Metrics: d.telemetry.Handler(), Log: d.log, Ready: d.ready,
		Report: func(ctx context.Context) any { return d.report(ctx) },
		// An egress that a reload starts must not end with the request for the reload.
		Reload: func() error { return d.reload(context.WithoutCancel(ctx)) },
	}
	address := g.config.Admin
	if address == "" {
		d.serveOwner(d.newAdmin(o), control)
		return nil
	}
	var err error
	if o.Token, err = adminToken(g.config.StateDir); err != nil {
		return err
	}
	l, err := listen.Open(ctx, address, 0)
	if err != nil {
		return fmt.Errorf("admin %s: %w", address, err)
	}
	srv := d.newAdmin(o)
	console.New(console.Options{
		Source: d.consoleSource(), CSRF: admin.CSRF, SignedIn: srv.SignedIn, Reload: o.Reload,
	}).Register(srv.Handle)
	d.adminAt = adminURL(l.Addr())
	fmt.Fprintf(d.stderr, "admin on %s\n", d.adminAt)
	go func() {
		if err := srv.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
			d.log.Error("the admin listener ended", "error", err)
		}
	}()
	d.serveOwner(srv, control)
	return nil
}

// newAdmin makes the server of what the console is not needed for.
func (d *Daemon) newAdmin(o admin.Options) *admin.Server {
	srv := admin.New(o)
	d.serveNames(srv.Handle)
	return srv
}

func (d *Daemon) serveOwner(srv *admin.Server, control net.Listener) {
	d.admin = srv
	if control != nil {
		go srv.ServeOwner(control)
	}
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
