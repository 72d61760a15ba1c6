package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"hosier/internal/config"
	"hosier/internal/leaks"
	"hosier/internal/listen"
	"hosier/proxy"
)

// opened is an open listener.
type opened struct {
	net.Listener
	name   string          // as sessions know it
	config config.Listener // that it was opened by
	gone   atomic.Bool     // closed by a reload
}

// listenerChange is what it takes to get from the listeners that are open to those of a
// generation. It is put into force by putListeners, or taken back by undo.
type listenerChange struct {
	all    map[string]*opened // of the generation, by keyOf
	opened []*opened          // that no generation had, and that nobody serves yet
	closed []*opened          // of the generation in force, to make room
}

func (c *listenerChange) has(o *opened) bool {
	for _, kept := range c.all {
		if kept == o {
			return true
		}
	}
	return false
}

// openAll opens the listeners of g that are not open yet, and gives each its policy; or
// none of them. The ones that need the place of another are last, since there it must be
// closed first: a program's own socket keeps it from an address as much as a stranger's.
func (d *Daemon) openAll(ctx context.Context, g *generation) (c *listenerChange, err error) {
	c = &listenerChange{all: map[string]*opened{}}
	defer func() {
		if err != nil {
			d.undo(ctx, c)
		}
	}()
	var rest, blocked []*config.Listener
	keys := map[string]bool{}
	for i := range g.config.Listeners {
		keys[keyOf(&g.config.Listeners[i])] = true
	}
	for i := range g.config.Listeners {
		l := &g.config.Listeners[i]
		o := d.open(l, keys, c)
		switch {
		case o == nil:
			rest = append(rest, l)
		case o.config.Mode != l.Mode || o.config.DeferAccept != l.DeferAccept:
			return c, UsageError{fmt.Errorf("%v: mode and defer-accept cannot change while the listener is open; restart hosier", l.At)}
		default:
			c.all[keyOf(l)] = o
			if err := g.equip(l, o); err != nil {
				return c, err
			}
		}
	}
	for _, l := range rest {
		if len(d.inTheWay(l, c)) > 0 {
			blocked = append(blocked, l)
		} else if err := d.addListener(ctx, g, l, c); err != nil {
			return c, err
		}
	}
	for _, l := range blocked {
		if _, err := g.policy(l); err != nil { // before anything is closed for it
			return c, err
		}
	}
	for _, l := range blocked {
		for _, o := range d.inTheWay(l, c) {
			o.close(d.server)
			c.closed = append(c.closed, o)
		}
		if err := d.addListener(ctx, g, l, c); err != nil {
			return c, err
		}
	}
	return c, nil
}

// addListener opens a listener of g and adds it to c.
func (d *Daemon) addListener(ctx context.Context, g *generation, l *config.Listener, c *listenerChange) error {
	o, err := d.openListener(ctx, l, len(c.closed) > 0)
	if err != nil {
		return err
	}
	c.opened = append(c.opened, o)
	c.all[keyOf(l)] = o
	return g.equip(l, o)
}

// equip sets the policy of an open listener's clients.
func (g *generation) equip(l *config.Listener, o *opened) error {
	if x := g.leadsToListener(o.Addr()); x != nil {
		return UsageError{fmt.Errorf("via %v leads back to the listener %s: every connection would go in a circle", x.via, o.name)}
	}
	p, err := g.policy(l)
	if err != nil {
		return err
	}
	g.policies[o.name], g.at[l.Name] = p, o.name
	if l.Name != l.Address || !strings.HasSuffix(l.Name, ":0") { // that has become a port
		g.names[o.name] = l.Name
	}
	g.listening = append(g.listening, o.Addr())
	return nil
}

// open returns the listener that is open already for l, if need be by another spelling of
// its address than those that the new generation has.
func (d *Daemon) open(l *config.Listener, keys map[string]bool, c *listenerChange) *opened {
	if o := d.listeners[keyOf(l)]; o != nil {
		return o
	}
	for key, o := range d.listeners {
		if !keys[key] && isSame(o, l) && !c.has(o) {
			return o
		}
	}
	return nil
}

// inTheWay returns the open listeners that are not of the new generation and keep l from
// its address.
func (d *Daemon) inTheWay(l *config.Listener, c *listenerChange) (all []*opened) {
	for _, o := range d.listeners {
		if !c.has(o) && !slices.Contains(c.closed, o) && overlaps(o, l.Address) {
			all = append(all, o)
		}
	}
	return all
}

// undo closes what was opened, and opens again what was closed for it.
func (d *Daemon) undo(ctx context.Context, c *listenerChange) {
	for _, o := range c.opened {
		o.Close()
	}
	for _, old := range c.closed {
		l := old.config
		if _, isTCP := old.Addr().(*net.TCPAddr); isTCP {
			l.Address = old.name // it may have been chosen by the system
		}
		o, err := d.openListener(ctx, &l, true)
		if err != nil {
			d.fail(fmt.Errorf("listener %s: it was closed for one that could not be opened, and cannot be opened again: %w", old.name, err))
			continue
		}
		o.config = old.config
		for key := range d.listeners {
			if d.listeners[key] == old {
				d.listeners[key] = o
			}
		}
		go d.serve(o)
	}
}

// putListeners serves the new listeners of g, and closes those that are no longer
// configured.
func (d *Daemon) putListeners(g *generation, c *listenerChange) {
	for i := range g.config.Listeners {
		l := &g.config.Listeners[i]
		c.all[keyOf(l)].config = *l
	}
	for _, o := range c.opened {
		about := traitsOf(&o.config)
		if name := d.listenerName(o.name); name != o.name {
			fmt.Fprintf(d.stderr, "listener %s: %s\n", name, strings.Join(append(about, o.name), ", "))
		} else if len(about) > 0 {
			fmt.Fprintf(d.stderr, "listener %s: %s\n", name, strings.Join(about, ", "))
		}
		fmt.Fprintf(d.stderr, "listening on %s\n", o.name)
		go d.serve(o)
	}
	for _, o := range d.listeners {
		if !c.has(o) {
			o.close(d.server)
			fmt.Fprintf(d.stderr, "no longer listening on %s\n", o.name)
		}
	}
	d.listeners = c.all
}

// traitsOf lists, in words, what a listener requires of its clients.
func traitsOf(l *config.Listener) (all []string) {
	for _, one := range []struct {
		has  bool
		text string
	}{
		{l.TLSCert != "", "TLS"},
		{l.TLSClientCA != "", "client certificates"},
		{l.Users != "", "users"},
		{l.PeerUsers, "users of this host"},
		{len(l.ProxyFrom) > 0, "PROXY headers"},
	} {
		if one.has {
			all = append(all, one.text)
		}
	}
	return all
}

// close ends what accepts from o. Its connections go on.
func (o *opened) close(s *proxy.Server) {
	if !o.gone.Swap(true) {
		s.CloseListener(o.Listener)
	}
}

// openListener opens the listener of l. If it is to have the place of one that was closed a
// moment ago, it waits a little for that to be free.
func (d *Daemon) openListener(ctx context.Context, l *config.Listener, replaces bool) (*opened, error) {
	nl, err := listen.Open(ctx, l.Address, l.Mode)
	for end := time.Now().Add(2 * time.Second); err != nil && replaces && listen.IsTaken(err) && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
		nl, err = listen.Open(ctx, l.Address, l.Mode)
	}
	if err != nil {
		return nil, d.openError(ctx, l, err)
	}
	o := &opened{Listener: nl, name: proxy.ListenerName(nl.Addr()), config: *l}
	if l.DeferAccept {
		if err := listen.DeferAccept(nl, l.HandshakeTimeout); err != nil {
			d.log.Warn("defer-accept is not in force", "listener", o.name, "error", err)
		}
	}
	if !listen.IsLocal(nl.Addr()) && !l.IsGuarded() { // a socket of systemd: the file could not tell
		nl.Close()
		return nil, UsageError{fmt.Errorf("listen %s: other hosts could reach %s, and anyone there could use it: "+
			"name the clients that may with allow-client, or a file of users", l.Address, o.name)}
	}
	return o, nil
}

// openError returns why an address cannot be listened on and, if it is taken, by which
// program.
func (d *Daemon) openError(ctx context.Context, l *config.Listener, err error) error {
	holder := ""
	if listen.IsTaken(err) {
		holder = d.holder(ctx, l.Address)
	}
	err = fmt.Errorf("listen %s: %w%s", l.Address, err, holder)
	if bad := (*listen.AddressError)(nil); errors.As(err, &bad) {
		return UsageError{err}
	}
	return err
}

// holder describes, for a message, the program that has an address; "" if unknown.
func (d *Daemon) holder(ctx context.Context, address string) string {
	for _, o := range d.listeners {
		if !o.gone.Load() && overlaps(o, address) {
			return fmt.Sprintf(": hosier's own listener %s has it, by %v", o.name, o.config.At)
		}
	}
	want, ok := tcpAddress(address)
	if !ok {
		return ""
	}
	if name := listen.InheritedAt(want); name != "" {
		return fmt.Sprintf(": the socket that systemd passed as %s has it; write systemd:%[1]s, or change the socket unit", name)
	}
	if name, pid := leaks.Listening(ctx, want); pid > 0 {
		return fmt.Sprintf(": %s (pid %d) has it", name, pid)
	}
	return ""
}

// keyOf identifies a listener across reloads: by its address, and where the system
// chooses the port, by its name as well.
func keyOf(l *config.Listener) string {
	if strings.HasSuffix(l.Address, ":0") {
		return l.Address + " " + l.Name
	}
	return l.Address
}

// tcpAddress returns the address of a TCP listener as it is written, with [::] for any.
func tcpAddress(address string) (netip.AddrPort, bool) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || strings.HasPrefix(address, "unix:") || strings.HasPrefix(address, "systemd:") {
		return netip.AddrPort{}, false
	}
	switch host {
	case "":
		host = "::"
	case "localhost":
		host = "127.0.0.1"
	}
	a, err := netip.ParseAddrPort(net.JoinHostPort(host, port))
	if err == nil && a.Addr().Unmap().IsUnspecified() {
		return netip.AddrPortFrom(netip.IPv6Unspecified(), a.Port()), true // 0.0.0.0 is both families, to Go
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), err == nil
}

// boundTo returns the address of an open TCP listener as tcpAddress has it.
func boundTo(o *opened) (netip.AddrPort, bool) {
	if _, ok := o.Addr().(*net.TCPAddr); !ok {
		return netip.AddrPort{}, false
	}
	return tcpAddress(o.Addr().String())
}

// isSame reports whether o is the listener that l asks for, under another spelling.
func isSame(o *opened, l *config.Listener) bool {
	if strings.HasPrefix(o.config.Address, "systemd:") || o.config.Mode != l.Mode || o.config.DeferAccept != l.DeferAccept {
		return false
	}
	have, isTCP := boundTo(o)
	want, ok := tcpAddress(l.Address)
	return isTCP && ok && have == want
}

// overlaps reports whether o keeps a listener from the address. A socket that systemd has
// opened does not: it stays whether or not hosier listens on it.
func overlaps(o *opened, address string) bool {
	if strings.HasPrefix(o.config.Address, "systemd:") {
		return false
	}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		have, isUnix := strings.CutPrefix(o.config.Address, "unix:")
		return isUnix && isSameFile(have, path)
	}
	have, isTCP := boundTo(o)
	want, ok := tcpAddress(address)
	any := have.Addr().IsUnspecified() || want.Addr().IsUnspecified()
	return isTCP && ok && have.Port() == want.Port() && (any || have.Addr() == want.Addr())
}

func isSameFile(a, b string) bool {
	one, err := os.Stat(a)
	other, oerr := os.Stat(b)
	return err == nil && oerr == nil && one.Mode().Type() == fs.ModeSocket && os.SameFile(one, other)
}
