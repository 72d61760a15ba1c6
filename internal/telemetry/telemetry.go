// Package telemetry records how connections ended: a line in the log for each, and
// metrics for Prometheus.
//
// It is also the one place that decides what may be shown. A [Redactor] hides clients,
// targets and all text from outside; the log, the console and everything else that shows
// a session use it.
package telemetry

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"hosier/proxy"
	"hosier/resolver"
)

// maxScrapes is the number of concurrent readers of the metrics.
const maxScrapes = 4

// Options configure a [Telemetry]. The zero value is usable: it hides clients and
// targets, logs no connections, and counts.
type Options struct {
	Redactor
	Log         *slog.Logger // slog.Default() if nil
	Connections bool         // log each connection when it ends
	Version     string       // of the program, for hosier_build_info

	// Stages counts the connections that are open, as [proxy.Server.Stages] does. It is
	// called for each reader of the metrics. If nil, open connections are not reported.
	Stages func() proxy.Stages

	// Moved returns the bytes that moved, as [proxy.Server.Moved] does. Neither count may
	// fall. If nil, bytes are not reported.
	Moved func() (up, down int64)

	// Health returns the health of each egress. It is called for each reader of the
	// metrics, and must not block. If nil, health is not reported.
	Health func() []Health

	// Names returns the counts of lookups, nil if this host looks nothing up. It is called for
	// each reader of the metrics. Nil leaves them out.
	Names func() *resolver.Stats
}

// Health reports whether an egress, or one of its members, can serve.
type Health struct {
	Egress string // its name
	Member string // "" for the egress as a whole
	Up     bool
}

// Telemetry counts and logs. Its methods may be called by many goroutines at once.
type Telemetry struct {
	o        Options
	settings atomic.Pointer[settings]
	log      *slog.Logger
	metrics  *metrics

	history  history
	failures failures

	mu     sync.Mutex
	unsafe map[uint64]struct{} // open connections with an unsafe request, by ID
}

// New makes a Telemetry with a registry of its own.
func New(o Options) *Telemetry {
	t := &Telemetry{o: o, log: o.Log, unsafe: make(map[uint64]struct{})}
	if t.log == nil {
		t.log = slog.Default()
	}
	t.metrics = newMetrics(&t.o)
	t.Configure(o.Redactor, o.Connections)
	return t
}

// settings are what a reload may change.
type settings struct {
	Redactor
	connections bool
}

// Configure replaces the Redactor, and switches the lines of connections on or off.
func (t *Telemetry) Configure(r Redactor, connections bool) {
	t.settings.Store(&settings{r, connections})
	t.failures.setReveal(r.Reveal)
}

// Redactor returns the Redactor in use.
func (t *Telemetry) Redactor() Redactor { return t.settings.Load().Redactor }

// Closed records a session at its end. It is a [proxy.Server.Closed]. It is a
// [proxy.Server.Closed].
func (t *Telemetry) Closed(ses *proxy.Session) {
	unsafe, fails := t.wasUnsafe(ses), failed(ses)
	t.metrics.count(ses)
	t.history.ended(ses, fails)
	now := t.settings.Load()
	fails = fails || cutShort(ses)
	logs := now.connections && t.log.Enabled(context.Background(), slog.LevelInfo)
	if !fails && !logs {
		return
	}
	e := now.Entry(ses)
	if fails {
		t.failures.add(e, now.Reveal)
	}
	if logs {
		var room [maxFields]slog.Attr
		t.log.LogAttrs(context.Background(), slog.LevelInfo, "connection", line(room[:0], ses, &e, unsafe)...)
	}
}

// Failures returns the last 200 connections that were refused, failed or were cut short,
// the latest first, worded when they ended. Connections that ended normally or were ended
// by their clients, that got the page, or that sent nothing are not included. Turning
// redaction on discards the failures from before.
func (t *Telemetry) Failures() []Entry { return t.failures.last() }

// Sample has the history count the bytes moved since the previous call in the current
// minute. Call it every few seconds: bytes may count in the minute after the one in which
// they moved by as much.
func (t *Telemetry) Sample() {
	if t.o.Moved != nil {
		up, down := t.o.Moved()
		t.history.moved(time.Now(), up, down)
	}
}

// History returns what happened in each of the last 60 minutes, the oldest first. The last
// one is not over. It samples.
func (t *Telemetry) History() []Minute {
	t.Sample()
	return t.history.last(time.Now())
}

// Unsafe counts the request of a session as one that carried an address where a name was
// possible. The caller decides that, once, before the session ends; the session's line
// then says so.
func (t *Telemetry) Unsafe(ses *proxy.Session) {
	t.metrics.unsafe.WithLabelValues(dialect(ses.Request)).Inc()
	t.mu.Lock()
	t.unsafe[ses.ID] = struct{}{} // until Closed: there are no more than open connections
	t.mu.Unlock()
}

func (t *Telemetry) wasUnsafe(ses *proxy.Session) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, was := t.unsafe[ses.ID]
	delete(t.unsafe, ses.ID)
	return was
}

// Login is the result of a login.
type Login string

// The results of a login.
const (
	LoginAccepted Login = "accepted"
	LoginWrong    Login = "wrong"
	LoginHeldOff  Login = "held_off" // not checked: too many wrong ones before
	LoginBusy     Login = "busy"     // not checked: too many at once
)

// Login counts a login.
func (t *Telemetry) Login(l Login) { t.metrics.logins.WithLabelValues(string(l)).Inc() }

// Traces reports whether Decision logs anything.
func (t *Telemetry) Traces() bool { return t.log.Enabled(context.Background(), slog.LevelDebug) }

// Decision logs at debug level, a line a step and with the connection's id, how the
// egress of a session was chosen. Clients and targets in the steps must come from the
// Redactor.
func (t *Telemetry) Decision(ses *proxy.Session, steps []string) {
	for i, step := range steps {
		t.log.LogAttrs(context.Background(), slog.LevelDebug, "decision",
			slog.Uint64("id", ses.ID), slog.Int("step", i+1), slog.String("text", clean(step, maxText)))
	}
}

// Handler serves the metrics.
func (t *Telemetry) Handler() http.Handler {
	return promhttp.HandlerFor(t.metrics.registry, promhttp.HandlerOpts{
		Registry:            t.metrics.registry,
		MaxRequestsInFlight: maxScrapes,
	})
}
