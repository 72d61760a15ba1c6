package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"hosier/egress"
	"hosier/egress/tor"
	"hosier/internal/config"
	"hosier/internal/rules"
	"hosier/internal/via"
	"hosier/socks"
)

// retirement is how long an egress dropped by a reload is kept for connections that have
// begun but not asked for it yet: longer than a handshake lasts.
const retirement = time.Minute

// liveEgress is an egress at work, by the name that rules know it by. It lives on
// over reloads for as long as the configuration says the same of it.
type liveEgress struct {
	name string
	kind rules.Kind
	via  via.Egress
	out  egress.Egress
	pool *tor.Pool     // if it leads into Tor
	end  func()        // ends what runs for it; nil if nothing does
	key  string        // what it was made of
	dir  string        // of the daemons that it runs; "" if none
	over chan struct{} // closed once it has ended

	broken atomic.Pointer[time.Time] // until when it is taken not to work; nil if it works
	news   news                      // what the log has of that

	mu      sync.Mutex
	open    int         // connections that use it
	retired *time.Timer // nil while a configuration has it
	graced  bool        // the time for connections that had begun is over
	ended   bool
}

// openEgress makes the egress that e describes, which has judge look at each connection to an
// upstream before it is used. It starts nothing.
func openEgress(ctx context.Context, e config.Egress, c *config.Config, log *slog.Logger, judge func(net.Conn) error) (*liveEgress, error) {
	x := &liveEgress{name: e.Name, kind: e.Via.Kind(), via: e.Via, key: egressKey(e), over: make(chan struct{})}
	var err error
	switch {
	case x.kind == rules.Direct: // each listener makes its own, since rules judge what it dials
	case x.kind == rules.Tor:
		if x.pool, x.dir, err = openTor(ctx, e, c, log); err == nil {
			x.out, x.pool.Connected = x.pool, judge
		}
	default:
		x.out = through(e.Via.Upstream(), judge)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.At, err)
	}
	return x, nil
}

// through returns the egress through a proxy, which has judge look at each connection to it.
func through(u via.Upstream, judge func(net.Conn) error) egress.Egress {
	if u.Scheme == "http" {
		return &egress.HTTP{Proxy: u.Address, Auth: u.Auth, Connected: judge}
	}
	version := socks.V5
	if u.Scheme == "socks4a" {
		version = socks.V4
	}
	return &egress.SOCKS{Dialer: socks.Dialer{Proxy: u.Address, Version: version, Auth: u.Auth}, Connected: judge}
}

// Members returns the tors of a pool that run already.
func Members(written []via.Member) (all []tor.Member) {
	for _, m := range written {
		all = append(all, tor.Member{SOCKS: m.SOCKS, Control: m.Control, Password: m.Password})
	}
	return all
}

// egressKey is equal for two descriptions of the same egress.
func egressKey(e config.Egress) string {
	return strings.Join([]string{e.Name, e.Via.Reveal(), e.Torrc}, "\x00")
}

// upstreams returns the addresses that it connects to, host:port or unix:/path, as far as
// they are known before it runs.
func (x *liveEgress) upstreams() (all []string) {
	switch {
	case x.kind == rules.Direct:
	case x.pool != nil:
		for _, m := range x.pool.Members {
			all = append(append(all, m.SOCKS), m.Others...)
		}
	default:
		all = append(all, x.via.Upstream().Address)
	}
	return all
}

// start runs what the egress needs to run.
func (x *liveEgress) start(ctx context.Context, changed func(tor.Status)) {
	if x.pool == nil {
		close(x.over)
		return
	}
	x.pool.Changed = changed
	running, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	x.end = func() { cancel(errors.New("hosier is stopping")) }
	go func() {
		defer close(x.over)
		x.pool.Run(running)
	}()
}

// stop ends what runs, and waits for that. It must have been started.
func (x *liveEgress) stop() {
	if x.end != nil {
		x.end()
	}
	<-x.over
}

// enter and leave count the connections that use it.
func (x *liveEgress) enter() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.open++
}

func (x *liveEgress) leave() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.open--
	x.endIfUnused()
}

// inUse returns the number of connections that use it.
func (x *liveEgress) inUse() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.open
}

// retire ends it once no connection uses it.
func (x *liveEgress) retire() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.retired != nil {
		return
	}
	x.retired = time.AfterFunc(retirement, func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.graced = x.retired != nil
		x.endIfUnused()
	})
}

// revive undoes retire, and reports whether there was still time.
func (x *liveEgress) revive() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ended {
		return false
	}
	if x.retired != nil {
		x.retired.Stop()
		x.retired, x.graced = nil, false
	}
	return true
}

func (x *liveEgress) endIfUnused() {
	if !x.graced || x.open > 0 || x.ended {
		return
	}
	x.ended = true
	if x.end != nil {
		x.end()
	}
}

// isOver reports whether it was ended by retire, and nothing of it runs any more.
func (x *liveEgress) isOver() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	select {
	case <-x.over:
		return x.ended
	default:
		return false
	}
}

// brokenTime is how long a proxy that failed by its own fault is taken not to work. It
// passes, since without requests nobody would learn that it works again.
const brokenTime = 30 * time.Second

// judged records until when an upstream is held to be down; the zero time if it works. A
// pool of tors tracks this itself.
func (x *liveEgress) judged(until time.Time) {
	switch {
	case x.pool != nil:
	case until.IsZero():
		x.broken.Store(nil)
	default:
		until := until // no allocation for one that works
		x.broken.Store(&until)
	}
}

// ready reports whether it can serve, as far as is known.
func (x *liveEgress) ready() bool {
	until := x.broken.Load()
	return x.hasTor() && (until == nil || !time.Now().Before(*until)) // by the monotonic clock: the other one may be set
}

// hasTor reports whether a tor is ready, where it needs one.
func (x *liveEgress) hasTor() bool { return x.pool == nil || x.pool.Ready() }

// spawnDir is where the daemons of an egress have their directories: the state directory,
// or for one with a table of its own a directory in it.
func spawnDir(stateDir string, e config.Egress) string {
	if strings.Contains(e.Name, "://") || e.Name == e.Via.Reveal() {
		return stateDir
	}
	return filepath.Join(stateDir, e.Name)
}

// openTor makes the pool of an egress into Tor, and tells the directory of its daemons.
func openTor(ctx context.Context, e config.Egress, c *config.Config, log *slog.Logger) (p *tor.Pool, dir string, err error) {
	spec := e.Via.Tor()
	p = &tor.Pool{Members: Members(spec.Members), Log: log}
	if p.Key, err = loadKey(c.StateDir, spec.Daemons > 0, log); err != nil {
		return nil, "", err
	}
	switch {
	case spec.Find:
		p.Members, err = findMember(ctx, torPortsBeside(c.Listeners), log)
	case spec.Daemons > 0:
		p.Members, dir, err = spawn(ctx, e, c.StateDir, spec.Daemons)
	}
	return p, dir, err
}

func spawn(ctx context.Context, e config.Egress, asked string, n int) ([]tor.Member, string, error) {
	lines := []byte(nil)
	if e.Torrc != "" {
		var err error
		if lines, err = os.ReadFile(e.Torrc); err != nil {
			return nil, "", UsageError{fmt.Errorf("torrc: %w", err)}
		}
	}
	dir, err := stateDir(asked)
	if err != nil {
		return nil, "", err
	}
	dir = spawnDir(dir, e)
	lines = bytes.TrimPrefix(lines, []byte("\ufeff")) // the byte order mark of editors of Windows
	members, err := tor.Spawn(ctx, "", dir, n, string(lines))
	return members, dir, err
}
