package daemon

import (
	"context"
	"errors"
	"time"

	"hosier/egress"
	"hosier/egress/tor"
	"hosier/internal/config"
	"hosier/internal/leaks"
	"hosier/internal/limits"
	"hosier/internal/listen"
	"hosier/internal/policy"
	"hosier/internal/relay"
	"hosier/internal/rules"
	"hosier/internal/telemetry"
	"hosier/internal/users"
	"hosier/proxy"
	"hosier/resolver"
	"hosier/socks"
)

// newTelemetry returns the recorder of connections.
func (d *Daemon) newTelemetry(l config.Log) *telemetry.Telemetry {
	return telemetry.New(telemetry.Options{
		Redactor:    d.redactor(l),
		Log:         d.every,
		Connections: l.Connections,
		Version:     d.version,
		Stages:      func() proxy.Stages { return d.server.Stages() },
		Moved:       func() (up, down int64) { return d.server.Moved() },
		Health:      d.health,
		Names:       d.nameStats,
	})
}

func (d *Daemon) redactor(l config.Log) telemetry.Redactor {
	return telemetry.Redactor{Reveal: l.Reveal, Words: ownWords, Listener: d.listenerName}
}

// listenerName returns the name that the configuration has for the listener at an address, or
// the address of one that a reload has closed.
func (d *Daemon) listenerName(at string) string {
	if g := d.current.Load(); g != nil && g.names[at] != "" {
		return g.names[at]
	}
	return at
}

// ownWords returns the text of errors known to hold no client data: a user's mistake, a
// limit, a rule. Their texts name no client and no target: the mistake of a user, a
// limit, a rule.
func ownWords(err error) string {
	for _, known := range []error{
		policy.ErrNoPassword, policy.ErrNotClient, errReloaded, errOperator, errLoop, users.ErrWrong, users.ErrBusy, relay.ErrIdle, relay.ErrClosed,
		leaks.ErrUnsafe, egress.ErrNotPublic, egress.ErrUnspecified, resolver.ErrBusy,
		limits.ErrClient, limits.ErrRate, limits.ErrUser,
		listen.ErrHeader, listen.ErrPeer, listen.ErrNotTLS, listen.ErrTLS, listen.ErrNoCert, listen.ErrNoName,
	} {
		if err == known {
			return known.Error()
		}
	}
	if held, ok := err.(*users.BackoffError); ok {
		return held.Error()
	}
	if refusal, ok := err.(*rules.Refusal); ok {
		return refusal.Text
	}
	return ""
}

// closed records each connection at its end.
func (d *Daemon) closed(ses *proxy.Session) {
	d.limits.End(ses.ID)
	d.telemetry.Closed(ses)
	d.warnSOCKS4(ses)
}

// warnSOCKS4 logs, rarely and whether or not connections are logged, why a SOCKS4 client
// was refused: its user does nothing wrong, and the reply is only 5B.
func (d *Daemon) warnSOCKS4(ses *proxy.Session) {
	r := ses.Request
	if r == nil || r.Version != socks.V4 || !errors.Is(ses.Err, policy.ErrNoPassword) {
		return
	}
	d.socks4.Do(func() {
		d.log.Warn("a SOCKS4 client was refused: the listener is for users, and SOCKS4 cannot carry a password",
			"id", ses.ID, "listener", d.listenerName(ses.Listener), "client", d.telemetry.Redactor().Client(ses.Client),
			"fix", "have the client use SOCKS5 or HTTP CONNECT, or give it a listener with users = \"\"")
	})
}

// login counts a login, and logs now and then that logins are held off: the user who is
// held off may not be the one who guessed wrong.
func (d *Daemon) login(ses *proxy.Session, err error) {
	held := (*users.BackoffError)(nil)
	switch {
	case err == nil:
		d.telemetry.Login(telemetry.LoginAccepted)
	case errors.As(err, &held):
		d.telemetry.Login(telemetry.LoginHeldOff)
		d.heldOff.Do(func() {
			d.log.Warn("logins of a client are held off, right ones too, after wrong ones",
				"id", ses.ID, "listener", d.listenerName(ses.Listener), "client", d.telemetry.Redactor().Client(ses.Client),
				"for", time.Until(held.Until).Round(time.Second).String())
		})
	case errors.Is(err, users.ErrBusy):
		d.telemetry.Login(telemetry.LoginBusy)
	default:
		d.telemetry.Login(telemetry.LoginWrong)
	}
}

// trace returns a recorder of the decision about a request, for the log at level debug;
// nil at other levels.
func (d *Daemon) trace(ses *proxy.Session) *policy.Trace {
	if !d.telemetry.Traces() {
		return nil
	}
	r := d.telemetry.Redactor()
	t := &policy.Trace{Reason: func(err error) string {
		refused := *ses
		refused.Err = err
		return r.Reason(&refused)
	}}
	if !r.Reveal {
		t.Hidden = telemetry.Scrubbed
	}
	return t
}

func (d *Daemon) logTrace(ses *proxy.Session, t *policy.Trace) {
	var lines []string
	for _, s := range t.Steps {
		lines = append(lines, s.Label+": "+s.Text)
	}
	d.telemetry.Decision(ses, lines)
}

// health returns the state of each egress and tor.
func (d *Daemon) health() (all []telemetry.Health) {
	g := d.current.Load()
	if g == nil {
		return nil
	}
	for _, e := range g.config.Egresses {
		x := g.egresses[e.Name]
		all = append(all, telemetry.Health{Egress: x.name, Up: x.ready()})
		if x.pool == nil {
			continue
		}
		for _, s := range x.pool.Known() {
			all = append(all, telemetry.Health{Egress: x.name, Member: s.Name, Up: s.State == tor.Ready})
		}
	}
	return all
}

// ready returns why hosier cannot serve; nil if at least one egress can.
func (d *Daemon) ready(context.Context) error {
	var down []error
	for _, h := range d.health() {
		switch {
		case h.Member != "":
		case h.Up:
			return nil
		default:
			down = append(down, errors.New("egress "+h.Egress+" cannot serve"))
		}
	}
	return errors.Join(append(down, errors.New("no egress can serve"))...)
}
