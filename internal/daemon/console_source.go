package daemon

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"hosier/internal/config"
	"hosier/internal/console"
	"hosier/internal/policy"
	"hosier/internal/rules"
	"hosier/internal/telemetry"
	"hosier/proxy"
)

// consoleSource is what the console shows of d.
func (d *Daemon) consoleSource() console.Source {
	return console.Source{
		Status:      d.consoleStatus,
		Connections: d.consoleConnections,
		History:     d.telemetry.History,
		Failures:    d.telemetry.Failures,
		Egresses:    d.consoleEgresses,
		Names:       d.consoleNames,
		Rules:       func() []rules.Listed { return d.current.Load().config.Rules.List() },
		Leaks:       d.consoleLeaks,
		Config:      d.consoleConfig,
		End:         d.endConnections,
		Explain:     d.explain,
	}
}

func (d *Daemon) consoleStatus() console.Status {
	g := d.current.Load()
	s := console.Status{
		Version:  d.version,
		Started:  d.started,
		Redacted: !d.telemetry.Redactor().Reveal,
		Ready:    slices.ContainsFunc(d.health(), func(h telemetry.Health) bool { return h.Member == "" && h.Up }),
		Open:     d.server.Open(),
		MaxConns: d.server.MaxConns,
	}
	for _, l := range g.config.Listeners {
		s.Listeners = append(s.Listeners, g.at[l.Name])
	}
	s.Up, s.Down = d.server.Moved()
	return s
}

func (d *Daemon) consoleConnections() []telemetry.Entry {
	all, r := d.server.Sessions(), d.telemetry.Redactor()
	open := make([]telemetry.Entry, len(all))
	for i := range all {
		open[i] = r.Entry(&all[i])
	}
	return open
}

func (d *Daemon) consoleConfig() console.Config {
	g := d.current.Load()
	return console.Config{File: d.source.File, Loaded: g.loaded, Settings: g.config.Settings}
}

func (d *Daemon) consoleLeaks() console.Leaks {
	l := console.Leaks{Mode: leakModes(d.current.Load().config), Counts: d.leaks.Counts(), Sources: d.leaks.Report()}
	for i := range l.Sources {
		if l.Sources[i].Client != "" && !d.telemetry.Redactor().Reveal {
			l.Sources[i].Client = telemetry.Scrubbed
		}
	}
	return l
}

// leakModes returns the words for the treatment of unsafe requests by all listeners.
func leakModes(c *config.Config) string {
	var words []string
	for _, l := range c.Listeners {
		if word := string(cmp.Or(l.Unsafe, config.UnsafeWarn)); !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	return strings.Join(words, ", ")
}

// endConnections ends one connection, or if id is 0 those of a user, for the operator.
func (d *Daemon) endConnections(id uint64, user string) int {
	match := func(ses *proxy.Session) bool { return ses.ID == id }
	if id == 0 {
		if user == "" {
			return 0 // those of nobody in particular
		}
		r := d.telemetry.Redactor()
		match = func(ses *proxy.Session) bool { return r.Entry(ses).User == user } // as it is shown
	}
	n := d.server.End(errOperator, match)
	switch {
	case n == 0:
	case id == 0:
		d.log.Info("the operator ended the connections of a user", "user", user, "ended", n)
	default:
		d.log.Info("the operator ended a connection", "id", id)
	}
	return n
}

// explain answers the form of the console.
func (d *Daemon) explain(q console.Question) (console.Explanation, error) {
	g := d.current.Load()
	e := policy.Explainer{Config: g.config, At: g.at, State: policy.State{
		HasUser: g.hasUser, Leak: policy.OfflineLeak, Pool: g.pool,
	}}
	text, refusal, err := e.Explain(policy.Question{Target: q.URL, Listener: q.Listener, Client: q.Client, User: q.User, Command: "connect"})
	return console.Explanation{Refused: refusal != nil, Text: text}, err
}

// hasUser judges by those that a login is judged by, which the file may not have any more.
func (g *generation) hasUser(file, user string) error {
	v := g.users[file]
	if v == nil {
		return fmt.Errorf("%s is not in force", file)
	}
	return policy.HasUser(v.List(), file, user)
}
