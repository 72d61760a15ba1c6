package daemon

import (
	"context"
	"os"
	"time"

	"hosier/egress/tor"
)

// Report is the state of a running hosier.
type Report struct {
	Version     string           `json:"version"`
	PID         int              `json:"pid"`
	Started     time.Time        `json:"started"`
	Ready       bool             `json:"ready"`            // at least one egress can serve
	Config      string           `json:"config,omitempty"` // the file
	Loaded      time.Time        `json:"loaded"`           // when the configuration in force was read
	Admin       string           `json:"admin,omitempty"`  // http://host:port or unix:/path
	Connections int              `json:"connections"`      // that are open
	Listeners   []ListenerStatus `json:"listeners"`
	Egresses    []EgressStatus   `json:"egresses"`
	Tor         []tor.Status     `json:"tor"`
}

// ListenerStatus is the state of a listener.
type ListenerStatus struct {
	Name    string   `json:"name"`
	Address string   `json:"address"`
	Traits  []string `json:"traits"` // such as "TLS" and "users"
}

// EgressStatus is the state of an egress.
type EgressStatus struct {
	Name  string `json:"name"`
	Ready bool   `json:"ready"`
}

// report returns the state of this hosier.
func (d *Daemon) report(ctx context.Context) Report {
	g := d.current.Load()
	r := Report{
		Version: d.version, PID: os.Getpid(), Started: d.started, Ready: d.ready(ctx) == nil,
		Config: d.source.File, Loaded: g.loaded, Admin: d.adminAt, Connections: d.server.Open(),
	}
	for i := range g.config.Listeners {
		l := &g.config.Listeners[i]
		r.Listeners = append(r.Listeners, ListenerStatus{d.listenerName(g.at[l.Name]), g.at[l.Name], traitsOf(l)})
	}
	for _, e := range g.config.Egresses {
		x := g.egresses[e.Name]
		r.Egresses = append(r.Egresses, EgressStatus{x.name, x.ready()})
		if x.pool != nil {
			r.Tor = append(r.Tor, x.pool.Status(ctx)...)
		}
	}
	return r
}
