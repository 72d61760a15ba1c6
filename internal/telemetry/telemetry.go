// Package telemetry tells what became of connections: a line in the log for each at its
// end, and numbers for Prometheus.
//
// It also has the one place that decides what may be told. A [Redactor] hides clients,
// targets and whatever text came from outside, and the log, the console and everything
// else that shows a session asks it.
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
)

// maxScrapes is how many readers of the metrics are served at once.
const maxScrapes = 4

// Options are what a [Telemetry] is made of. The zero value is ready: it hides clients
// and targets, writes no line a connection, and counts.
type Options struct {
	Redactor
	Log         *slog.Logger // slog.Default() if nil
	Connections bool         // write a line a connection, at its end
	Version     string       // of the program, for hosier_build_info

	// Stages counts the connections that are open, as [proxy.Server.Stages] does. It is
	// called for each reader of the metrics. Nil leaves out what is open.
	Stages func() proxy.Stages

	// Moved returns the bytes that moved, as [proxy.Server.Moved] does. Neither count may
	// fall. Nil leaves them out.
	Moved func() (up, down int64)

	// Health returns how each way out is. It is called for each reader of the metrics, and
	// must not block. Nil leaves it out.
	Health func() []Health
}

// Health says whether a way out can serve, or one of its members.
type Health struct {
	Egress string // its name
	Member string // "" for the way out as a whole
	Up     bool
}

// Telemetry counts and logs. Its methods may be called by many goroutines at once.
type Telemetry struct {
	o       Options
	telling atomic.Pointer[telling]
	log     *slog.Logger
	metrics *metrics

	history  history
	failures failures

	mu     sync.Mutex
	unsafe map[uint64]struct{} // open connections that were found unsafe, by ID
}

// New makes a Telemetry with a registry of its own.
func New(o Options) *Telemetry {
	t := &Telemetry{o: o, log: o.Log, unsafe: make(map[uint64]struct{})}
	if t.log == nil {
		t.log = slog.Default()
	}
	t.metrics = newMetrics(&t.o)
	t.Tell(o.Redactor, o.Connections)
	return t
}

// telling is what a reload may change.
type telling struct {
	Redactor
	connections bool
}

// Tell puts another Redactor in force, and says whether to write a line a connection.
func (t *Telemetry) Tell(r Redactor, connections bool) {
	t.telling.Store(&telling{r, connections})
	t.failures.tell(r.Reveal)
}

// Redactor returns what decides what may be told.
func (t *Telemetry) Redactor() Redactor { return t.telling.Load().Redactor }

// Closed takes a session at its end. It is a [proxy.Server.Closed].
func (t *Telemetry) Closed(ses *proxy.Session) {
	unsafe, fails := t.wasUnsafe(ses), failed(ses)
	t.metrics.count(ses)
	t.history.ended(ses, fails)
	now := t.telling.Load()
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

// Failures returns the last 200 connections that were refused, failed or were cut short, the
// latest first, in the words of when they ended. Not among them are those that ended in
// order, or as their clients wished, that got the page, and that said nothing. If it is
// told to hide what it was not before, it forgets them.
func (t *Telemetry) Failures() []Entry { return t.failures.last() }

// Sample has the history count the bytes that moved since it was called last, in the
// minute that it is now. It is to be called every few seconds: so many of them may count in
// the minute after the one in which they moved.
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
// possible. The caller judges that, once, before the session ends; its line will say so.
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

// Login is what became of a login.
type Login string

// What may become of a login.
const (
	LoginAccepted Login = "accepted"
	LoginWrong    Login = "wrong"
	LoginHeldOff  Login = "held_off" // not looked at: too many wrong ones before
	LoginBusy     Login = "busy"     // not looked at: too many at once
)

// Login counts a login.
func (t *Telemetry) Login(l Login) { t.metrics.logins.WithLabelValues(string(l)).Inc() }

// Traces reports whether Decision logs anything.
func (t *Telemetry) Traces() bool { return t.log.Enabled(context.Background(), slog.LevelDebug) }

// Decision logs at debug level how the way out of a session was found, a line a step,
// under the connection's id. What the steps have of clients and targets must come from the
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
