package daemon

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"hosier/internal/config"
	"hosier/internal/console"
	"hosier/internal/leaks"
	"hosier/internal/policy"
	"hosier/internal/telemetry"
	"hosier/proxy"
)

// consoleSource is what the console shows of d.
func (d *Daemon) consoleSource() console.Source {
	return console.Source{
		Status:      d.consoleStatus,
		Connections: d.consoleConnections,
		History:     d.consoleHistory,
		Failures:    d.consoleFailures,
		Egresses:    d.consoleEgresses,
		Rules:       d.consoleRules,
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

func (d *Daemon) consoleConnections() []console.Connection {
	all, r := d.server.Sessions(), d.telemetry.Redactor()
	open := make([]console.Connection, len(all))
	for i := range all {
		e := r.Entry(&all[i])
		open[i] = console.Connection{
			ID: e.ID, Stage: e.Stage, Start: e.Start, Listener: e.Listener, Client: e.Client, User: e.User, Dialect: e.Dialect,
			Command: e.Command, Target: e.Target, Rule: e.Rule, Egress: e.Egress, Member: e.Member, Up: e.Up, Down: e.Down,
		}
	}
	return open
}

func (d *Daemon) consoleHistory() (all []console.Minute) {
	for _, m := range d.telemetry.History() {
		all = append(all, console.Minute{
			At: m.At, Connections: m.Connections, Failed: m.Failed, Up: m.Up, Down: m.Down,
			Handshake: inMilliseconds(m.Handshake), Connect: inMilliseconds(m.Connect), FirstByte: inMilliseconds(m.FirstByte),
		})
	}
	return all
}

func inMilliseconds(q telemetry.Quantiles) console.Quantiles {
	return console.Quantiles{P50: float64(q.P50.Microseconds()) / 1000, P95: float64(q.P95.Microseconds()) / 1000}
}

func (d *Daemon) consoleFailures() (all []console.Failure) {
	for _, e := range d.telemetry.Failures() {
		all = append(all, console.Failure{
			ID: e.ID, At: e.End, Listener: e.Listener, Client: e.Client, User: e.User, Dialect: e.Dialect, Command: e.Command,
			Target: e.Target, Rule: e.Rule, Egress: e.Egress, Status: e.Status, Reason: e.Reason,
		})
	}
	return all
}

func (d *Daemon) consoleRules() (all []console.Rule) {
	for _, r := range d.current.Load().config.Rules.List() {
		is := "rule"
		if r.Default {
			is = "default"
		}
		all = append(all, console.Rule{At: r.At, If: r.If, Then: r.Then, Hits: r.Hits, Is: is})
	}
	return all
}

func (d *Daemon) consoleConfig() console.Config {
	g := d.current.Load()
	c := console.Config{File: d.source.File, Loaded: g.loaded}
	for _, s := range g.config.Settings {
		c.Settings = append(c.Settings, console.Setting{Key: s.Key, Value: s.Value, At: s.At})
	}
	return c
}

func (d *Daemon) consoleLeaks() console.Leaks {
	c := d.leaks.Counts()
	l := console.Leaks{Mode: leakModes(d.current.Load().config), Unsafe: c.Unsafe, Refused: c.Refused, Private: c.Private, Answered: c.Answered}
	for _, e := range d.leaks.Report() {
		l.Sources = append(l.Sources, console.Leak{
			Program: e.Program, PID: e.PID, Client: d.leakClient(e), Unsafe: e.Unsafe, First: e.First, Last: e.Last, Fix: e.Fix,
		})
	}
	return l
}

// leakClient is the client as the log has it: the address alone, since it counts for many
// connections.
func (d *Daemon) leakClient(e leaks.Entry) string {
	switch {
	case !e.Client.IsValid():
		return ""
	case !d.telemetry.Redactor().Reveal:
		return telemetry.Scrubbed
	}
	return e.Client.String()
}

// leakModes are the words of all listeners for what becomes of such requests.
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
