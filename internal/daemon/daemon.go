// Package daemon is the running hosier: its listeners, egresses and server, the generations of
// its configuration, reloads, and what answers questions about it. It is for cmd/hosier alone;
// a test can start one without a command line.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"hosier/egress/tor"
	"hosier/internal/config"
	"hosier/internal/leaks"
	"hosier/internal/limits"
	"hosier/internal/listen"
	"hosier/internal/logging"
	"hosier/internal/policy"
	"hosier/internal/telemetry"
	"hosier/proxy"
)

// sampleEvery is how often the bytes that moved are noted in the history.
const sampleEvery = 5 * time.Second

// Reasons to end a connection from here.
var (
	errReloaded = errors.New("ended by a reload (reload-drain)")
	errOperator = errors.New("ended by the operator")
)

// Daemon is the running hosier: one server, the listeners, and the generation of the
// configuration that new connections get.
type Daemon struct {
	source    Source
	version   string
	stderr    io.Writer    // takes whole lines, and never blocks
	log       *slog.Logger // folds what repeats, so that no peer can flood it
	every     *slog.Logger // has each line: connections, and what the operator does
	fold      *logging.Fold
	level     slog.LevelVar
	show      func(egress string, s tor.Status) // how tors bootstrap
	started   time.Time
	server    *proxy.Server
	current   atomic.Pointer[generation]
	failed    chan error  // a listener ended by itself
	stopping  atomic.Bool // there are no more reloads
	limits    limits.Limiter
	sockets   int // for questions, of each DNS server
	telemetry *telemetry.Telemetry
	leaks     *leaks.Watch
	socks4    rate.Sometimes // tells of SOCKS4 clients of listeners with users
	heldOff   rate.Sometimes // tells of logins that are held off

	mu        sync.Mutex         // of start and reload
	text      []byte             // of the file in force
	listeners map[string]*opened // by keyOf
	egresses  []*liveEgress      // all that were started
	control   io.Closer          // of hosier status and hosier reload
	admin     io.Closer          // of --admin
	adminAt   string             // where that is; "" for nowhere
}

// Options are what a Daemon needs to know beside its configuration.
type Options struct {
	Source  Source // is read again at a reload
	Text    []byte // that the configuration was made of
	Version string

	// Bootstraps returns the function to call with each change of a tor, given the
	// logger. Nil shows nothing.
	Bootstraps func(*slog.Logger) func(egress string, s tor.Status)
}

// New returns a Daemon that has opened nothing. Its messages are whole lines to stderr, which
// must not block. Close ends what it began.
func New(c *config.Config, stderr io.Writer, o Options) *Daemon {
	conns, sockets := shares(descriptors(), c.MaxConns)
	d := &Daemon{
		source: o.Source, text: o.Text, version: o.Version, started: time.Now(), listeners: map[string]*opened{}, failed: make(chan error, 1),
		sockets: sockets,
		socks4:  rate.Sometimes{First: 1, Interval: time.Minute},
		heldOff: rate.Sometimes{First: 1, Interval: time.Minute},
	}
	d.stderr = stderr
	lines := logging.NewHandler(stderr, c.Log.JSON, &d.level)
	d.fold = logging.NewFold(lines)
	d.log, d.every = slog.New(d.fold), slog.New(lines)
	d.show = func(string, tor.Status) {}
	if o.Bootstraps != nil {
		d.show = o.Bootstraps(d.log)
	}
	d.telemetry = d.newTelemetry(c.Log)
	d.leaks = leaks.New(d.log, func(client netip.AddrPort) string { return d.telemetry.Redactor().Client(client) })
	d.server = &proxy.Server{
		NonBlocking: true, // rules and limits are in memory
		PolicyFor:   func(ses *proxy.Session) *proxy.Policy { return d.current.Load().policies[ses.Listener] },
		Closed:      d.closed,
		MaxConns:    conns,
		Log:         d.log,
	}
	return d
}

// Start opens everything that c configures and serves; after an error, Close ends what
// was started.
func (d *Daemon) Start(ctx context.Context, c *config.Config) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	g, err := d.newGeneration(ctx, c)
	if err != nil {
		return err
	}
	change, err := d.openAll(ctx, g)
	if err != nil {
		return err
	}
	control, err := d.openControl(ctx, g)
	if err != nil {
		d.undo(ctx, change)
		return err
	}
	if control != nil {
		d.control = control
	}
	d.put(ctx, g, change)
	if err := d.serveAdmin(ctx, g, control); err != nil {
		return err
	}
	d.introduce(g)
	return listen.Notify("READY=1")
}

// introduce writes, once, what a person needs to know after the start.
func (d *Daemon) introduce(g *generation) {
	if !g.config.Log.Connections {
		fmt.Fprintln(d.stderr, "hosier: connections are not logged; -v, or log.connections = true, logs a line for each")
	}
	for i := range g.config.Listeners {
		l := &g.config.Listeners[i]
		if at := g.at[l.Name]; policy.IsLocal(at) && l.TLSCert == "" && len(l.ProxyFrom) == 0 && !strings.HasPrefix(at, "unix:") {
			fmt.Fprintf(d.stderr, "hosier: how programs and browsers are set up: http://%s/\n", at)
			return
		}
	}
}

// put makes g the generation of new connections, and serves its new listeners.
func (d *Daemon) put(ctx context.Context, g *generation, c *listenerChange) {
	d.setLevel(g.config.Log)
	d.telemetry.Configure(d.redactor(g.config.Log), g.config.Log.Connections)
	for _, x := range g.egresses {
		if !slices.Contains(d.egresses, x) {
			x.start(ctx, func(s tor.Status) { d.show(x.name, s) })
			d.egresses = append(d.egresses, x)
		}
	}
	l := g.config.Limits
	if d.limits.Set(limits.Limits{
		ConnsPerClient: l.ConnsPerClient, ConnsPerUser: l.ConnsPerUser,
		NewConnsPerSecond: l.NewConnsPerSecond, BytesPerSecond: l.BytesPerSecond,
	}) {
		d.adoptOpen()
	}
	d.current.Store(g)
	d.putListeners(g, c)
}

// adoptOpen makes new limits count the connections that are already open.
func (d *Daemon) adoptOpen() {
	adopted := map[uint64]bool{}
	for _, ses := range d.server.Sessions() {
		d.limits.Adopt(ses.ID, ses.Client.Addr(), ses.User)
		adopted[ses.ID] = true
	}
	for _, ses := range d.server.Sessions() {
		delete(adopted, ses.ID)
	}
	for id := range adopted { // it ended, perhaps before it was adopted
		d.limits.End(id)
	}
}

// Log returns the logger, which folds what repeats.
func (d *Daemon) Log() *slog.Logger { return d.log }

// serve accepts until the listener or the server is closed.
func (d *Daemon) serve(o *opened) {
	err := d.server.Serve(o.Listener)
	if o.gone.Load() || errors.Is(err, proxy.ErrServerClosed) {
		return
	}
	d.fail(fmt.Errorf("listener %s: %w", o.name, err))
}

// fail makes Run return err.
func (d *Daemon) fail(err error) {
	select {
	case d.failed <- err:
	default: // one reason to end is enough
	}
}

func (d *Daemon) setLevel(l config.Log) {
	d.level.Set(slog.LevelInfo)
	if l.Debug {
		d.level.Set(slog.LevelDebug)
	}
}

// Run serves until ctx ends and the connections have drained, or a listener fails. At each
// hangup it reloads, or without a file, ends.
func (d *Daemon) Run(ctx context.Context, hangup <-chan os.Signal) error {
	sample := time.NewTicker(sampleEvery)
	defer sample.Stop()
	if d.adminAt == "" { // nobody will ask for the history
		sample.Stop()
	}
	for {
		select {
		case <-sample.C:
			d.telemetry.Sample()
		case err := <-d.failed:
			return err
		case <-hangup:
			if d.source.File == "" { // the terminal is gone
				d.drain(ctx)
				return nil
			}
			d.reload(ctx) // which has said what is wrong
		case <-ctx.Done():
			d.drain(context.Background())
			return nil
		}
	}
}

// drain lets open connections end, until ctx does.
func (d *Daemon) drain(ctx context.Context) {
	d.stopping.Store(true)
	limit := d.current.Load().config.Drain
	d.notify("STOPPING=1")
	fmt.Fprintf(d.stderr, "hosier: stopping; open connections may go on for %v\n", limit)
	drain, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if d.server.Shutdown(drain) != nil {
		fmt.Fprintf(d.stderr, "hosier: ending the connections that are left\n")
	}
}

// Close ends everything that was started.
func (d *Daemon) Close() error {
	d.stopping.Store(true) // or a reload that waits would start egresses that nobody ends
	err := d.server.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, x := range d.egresses {
		x.stop()
	}
	if g := d.current.Load(); g != nil {
		g.resolver.Close()
	}
	for _, c := range []io.Closer{d.control, d.admin} {
		if c != nil {
			c.Close()
		}
	}
	d.fold.Close()
	return err
}

// notify tells the service manager. That it cannot be told is no reason to end.
func (d *Daemon) notify(state ...string) {
	if err := listen.Notify(state...); err != nil {
		d.log.Warn("the service manager was not told", "error", err)
	}
}

// admitter judges clients before anything is computed for them: whether they may use the
// listener, and have another connection.
func (d *Daemon) admitter(l *config.Listener) func(*proxy.Session) error {
	at := policy.Listener{Listener: l}
	return func(ses *proxy.Session) error {
		if err := at.Admits(ses.Listener, ses.Client.Addr()); err != nil {
			ses.Rule = policy.ClientRule
			return err
		}
		return overLimit(d.limits.Begin(ses.ID, ses.Client.Addr()))
	}
}

// overLimit makes err one that the server knows as a limit.
func overLimit(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", proxy.ErrLimit, err)
}

// errNoFile is the error of a reload without a configuration file.
var errNoFile = UsageError{errors.New("there is no configuration file to read again: this hosier was started without --config")}

// errStopping is the outcome of a reload that comes too late.
var errStopping = errors.New("this hosier is stopping, and does not reload")

// reload reads the configuration again. A bad one changes nothing.
func (d *Daemon) reload(ctx context.Context) error {
	if d.source.File == "" {
		return errNoFile
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopping.Load() {
		return errStopping
	}
	d.notify("RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", monotonic()))
	defer d.notify("READY=1")
	began := time.Now()
	err := d.replace(ctx)
	if err != nil {
		fmt.Fprintf(d.stderr, "hosier: the configuration was not reloaded, and what was in force stays so:\n%v\n", err)
		return err
	}
	ended := 0
	if d.current.Load().config.ReloadEnd {
		ended = d.server.End(errReloaded, func(ses *proxy.Session) bool { return ses.Start.Before(began) })
	}
	d.every.Info("configuration reloaded", "file", d.source.File, "ended", ended)
	return nil
}

func (d *Daemon) replace(ctx context.Context) error {
	old := d.current.Load()
	text, err := d.source.Read()
	if err != nil {
		return err
	}
	missing, inLine := cut(d.text, text)
	if inLine {
		return UsageError{fmt.Errorf("%s: the file ends in the middle of a line that is whole in what is in force: "+
			"it was cut short (a full disk, or a write that is not over); write it whole, and reload again", d.source.File)}
	}
	c, err := d.source.Parse(text)
	if err != nil {
		return err
	}
	if err := sameForever(old.config, c); err != nil {
		return err
	}
	defer d.retireUnused()
	g, err := d.newGeneration(ctx, c)
	if err != nil {
		return err
	}
	change, err := d.openAll(ctx, g)
	if err != nil {
		return err
	}
	d.put(ctx, g, change)
	d.text = text
	if missing > 0 {
		d.every.Warn("the configuration file ends where the one before it went on", "file", d.source.File, "lines", missing,
			"fix", "if those lines were not removed on purpose, the file was cut short: write it whole, and reload again")
	}
	return nil
}

// retireUnused retires the egresses that the current configuration no longer has, and
// forgets those that have ended.
func (d *Daemon) retireUnused() {
	g := d.current.Load()
	d.egresses = slices.DeleteFunc(d.egresses, (*liveEgress).isOver)
	for _, x := range d.egresses {
		if !g.has(x) {
			x.retire()
		}
	}
}

// sameForever returns an error for a change that needs a restart.
func sameForever(old, c *config.Config) error {
	var all []error
	for _, one := range []struct {
		key    string
		differ bool
	}{
		{"state-dir", old.StateDir != c.StateDir},
		{"admin", old.Admin != c.Admin},
		{"max-conns", old.MaxConns != c.MaxConns},
		{"log.format", old.Log.JSON != c.Log.JSON},
	} {
		if one.differ {
			all = append(all, fmt.Errorf("%s: it cannot change while hosier runs; restart it", one.key))
		}
	}
	return errors.Join(all...)
}

// has reports whether x is one of g.
func (g *generation) has(x *liveEgress) bool { return g.egresses[x.name] == x }
