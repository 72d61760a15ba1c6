package daemon

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"hosier/egress"
	"hosier/egress/tor"
	"hosier/internal/config"
	"hosier/internal/fair"
	"hosier/internal/leaks"
	"hosier/internal/limits"
	"hosier/internal/listen"
	"hosier/internal/page"
	"hosier/internal/policy"
	"hosier/internal/rules"
	"hosier/internal/users"
	"hosier/proxy"
	"hosier/resolver"
	"hosier/socks"
)

// generation is one reading of the configuration at work. A connection keeps the one that
// it began under; a reload makes another.
type generation struct {
	daemon *Daemon
	config *config.Config
	exits  map[string]*exit
	ways   map[string]*listenerWays // by the name of the listener
	at     map[string]string        // where listeners are, as sessions know them, by their names
	names  map[string]string        // the other way round
	loaded time.Time

	listening []net.Addr // of all listeners

	resolver *resolver.Resolver
	users    map[string]*users.Verifier // by file
	policies map[string]*proxy.Policy   // by the address of the listener, as sessions know it
}

// listenerWays are the ways out as those meet them who come by one listener.
type listenerWays struct {
	generation *generation
	listener   *config.Listener
	isolation  map[string]tor.Isolation // by the name of the way out

	mu  sync.Mutex
	all map[string]*way // by the names of a list
}

// way is a list of ways out, mostly of one. It is what policy returns.
type way struct {
	egress.Egress
	name  string
	exits []*exit
	leaks *leaks.Watch // is told what clients learn; nil if it knows
}

// Plain is that of the way out, if it has one and there is no second to try.
func (w *way) Plain(r *socks.Request) (egress.Step, error) {
	if out, ok := w.Egress.(egress.Plain); ok {
		return out.Plain(r)
	}
	return egress.Step{}, nil
}

// Attempts returns how many ways out it may ask.
func (w *way) Attempts() int { return len(w.exits) }

// Resolve tells those who watch for leaks what the client has learnt here: it will not
// have asked anybody else for that address.
func (w *way) Resolve(ctx context.Context, r *socks.Request) (netip.Addr, error) {
	ip, err := w.Egress.Resolve(ctx, r)
	if err == nil && w.leaks != nil {
		w.leaks.Answered(r.Client.Addr(), ip)
	}
	return ip, err
}

// Name is the list, for logs.
func (w *way) Name() string { return w.name }

// of returns the way out of this list of names.
func (l *listenerWays) of(names []string) *way {
	key := names[0]
	if len(names) > 1 {
		key = strings.Join(names, ",")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if w := l.all[key]; w != nil {
		return w
	}
	w := &way{name: key, leaks: l.generation.daemon.leaks}
	var list []egress.Way
	for _, name := range names {
		x := l.generation.exits[name]
		w.exits = append(w.exits, x)
		list = append(list, egress.Way{Name: name, Egress: l.egress(x), Ready: x.hasTor, Judged: l.judge(x, len(names) == 1)})
	}
	w.Egress = list[0].Egress
	if len(list) > 1 || w.exits[0].kind == rules.Proxy {
		w.Egress = &egress.Failover{Ways: list}
	}
	l.all[key] = w
	return w
}

// egress is one way out as this listener's clients have it.
func (l *listenerWays) egress(x *exit) egress.Egress {
	switch x.kind {
	case rules.Direct:
		return l.direct()
	case rules.Tor:
		return &tor.Isolated{Pool: x.pool, Isolation: l.isolation[x.name]}
	}
	return x.out
}

// direct is this host's network.
func (l *listenerWays) direct() *egress.Direct {
	d := &egress.Direct{Resolver: l.generation.resolver, Allow: onlyDecided}
	switch l.cache() {
	case config.CacheOff:
		d.Resolver = l.generation.resolver.Uncached()
	case config.CacheUser:
		d.Group = cacheGroup
	}
	return d
}

// cache is whose cached answers clients get. One that came at once shows that somebody asked.
func (l *listenerWays) cache() config.DNSCache {
	switch {
	case l.listener.DNSCache != "":
		return l.listener.DNSCache
	case l.listener.HasUsers() || !policy.IsLocal(l.listener.Address) || len(l.listener.ProxyFrom) > 0:
		return config.CacheUser
	}
	return config.CacheShared
}

// cacheGroup is the user, and the client where there is none.
func cacheGroup(r *socks.Request) string {
	if r.User != "" {
		return "user " + r.User
	}
	return fair.Client(r.Client.Addr()).String()
}

// onlyDecided refuses what no decision was made about. The address is judged by Allow of the
// request, by the decision that was.
func onlyDecided(r *socks.Request, _ netip.Addr) error {
	if r.Allow == nil {
		return socks.NotAllowed
	}
	return nil
}

// newGeneration makes everything that c asks for, but opens no listener. Ways out of which
// the configuration says the same as before are those that run already.
func (d *Daemon) newGeneration(ctx context.Context, c *config.Config) (*generation, error) {
	g := &generation{
		daemon: d, config: c, exits: map[string]*exit{}, ways: map[string]*listenerWays{},
		at: map[string]string{}, names: map[string]string{}, loaded: time.Now(),
		policies: map[string]*proxy.Policy{}, users: map[string]*users.Verifier{},
	}
	g.resolver = d.resolver(c)
	for _, e := range c.Egresses {
		x := d.running(e)
		if x == nil {
			var err error
			if x, err = openExit(ctx, e, c, d.log, d.refuseLoop); err != nil {
				return nil, err
			}
			if other := d.runningIn(x.dir); other != nil {
				return nil, fmt.Errorf("%s: the tors of %s run in the same directory under other settings: restart hosier for that", e.At, other.name)
			}
		}
		g.exits[e.Name] = x
	}
	for i := range c.Listeners {
		l := &c.Listeners[i]
		w := &listenerWays{generation: g, listener: l, isolation: map[string]tor.Isolation{}, all: map[string]*way{}}
		for _, e := range c.Egresses {
			words := e.Isolation
			if l.Isolation != nil {
				words = *l.Isolation
			}
			var err error
			if w.isolation[e.Name], err = policy.IsolationOf(words); err != nil {
				return nil, UsageError{fmt.Errorf("%s: %w", l.At, err)}
			}
		}
		g.ways[l.Name] = w
	}
	return g, nil
}

// resolver is what looks names up for direct egresses: the one before, with all that it knows,
// if it asks the same servers. One that is not used any more holds nothing open for long.
func (d *Daemon) resolver(c *config.Config) *resolver.Resolver {
	if old := d.current.Load(); old != nil && slices.Equal(old.resolver.Servers, c.DNS) {
		return old.resolver
	}
	return &resolver.Resolver{Servers: c.DNS, Sockets: d.sockets}
}

// running returns the exit that e describes, if it runs, also if it was to end.
func (d *Daemon) running(e config.Egress) *exit {
	for _, x := range d.exits {
		if x.key == exitKey(e) && x.revive() {
			return x
		}
	}
	return nil
}

// runningIn returns the exit that runs daemons in dir.
func (d *Daemon) runningIn(dir string) *exit {
	for _, x := range d.exits {
		if dir != "" && x.dir == dir && !x.isOver() {
			return x
		}
	}
	return nil
}

// policy is what holds for the clients of a listener.
func (g *generation) policy(l *config.Listener) (*proxy.Policy, error) {
	front := &listen.Front{ProxyFrom: l.ProxyFrom, PeerUsers: l.PeerUsers}
	var err error
	if front.TLS, err = loadTLS(l.TLSCert, l.TLSKey, l.TLSClientCA); err != nil {
		return nil, fmt.Errorf("%s: %w", l.At, err)
	}
	check := page.NewCheck()
	p := &proxy.Policy{
		Admit:            g.daemon.admitter(l),
		Dialects:         dialectsOf(l.Dialects),
		Route:            g.router(l, check),
		Page:             g.page(l, check),
		Names:            l.Names,
		ExtendedErrors:   g.extendedErrors(l),
		HandshakeTimeout: l.HandshakeTimeout,
		ConnectTimeout:   l.ConnectTimeout,
		IdleTimeout:      l.IdleTimeout,
		TotalTimeout:     l.TotalTimeout,
	}
	if len(l.ProxyFrom) > 0 || l.PeerUsers {
		p.Identify = front.Identify
	}
	if front.TLS != nil {
		p.Prepare = front.Prepare
	}
	if l.Users != "" {
		if p.Verify, err = g.verifier(l.Users); err != nil {
			return nil, UsageError{err}
		}
	}
	return p, nil
}

// extendedErrors: those of Tor come from Tor alone, so a listener has them if it may lead
// there and nobody said otherwise.
func (g *generation) extendedErrors(l *config.Listener) bool {
	if l.ExtendedErrors != nil {
		return *l.ExtendedErrors
	}
	for _, x := range g.exits {
		if x.kind == rules.Tor {
			return true
		}
	}
	return false
}

func dialectsOf(words []string) (d proxy.Dialects) {
	for _, w := range words {
		d |= map[string]proxy.Dialects{"socks4": proxy.SOCKS4, "socks5": proxy.SOCKS5, "connect": proxy.CONNECT}[w]
	}
	return d
}

// router returns what the server asks where a request goes.
func (g *generation) router(l *config.Listener, check *page.Check) func(context.Context, *proxy.Session) (egress.Egress, error) {
	return func(_ context.Context, ses *proxy.Session) (egress.Egress, error) {
		o, err := g.decide(l, ses)
		if err != nil {
			return nil, err
		}
		if o.Own {
			return check, nil
		}
		w := g.ways[l.Name].of(o.Egresses).paced(&g.daemon.limits, ses.Request.User)
		if o.Leak.Look {
			w = &way{Egress: &lookingEgress{w.Egress, g.daemon.leaks, o.Leak, o.Err}, name: w.name, exits: w.exits}
		}
		for _, x := range w.exits {
			x.enter()
		}
		return w, nil
	}
}

// decide is policy: what becomes of a request, which counts, and at level debug is logged with
// the reasons. The error is the refusal, unless that waits for a look at the program.
func (g *generation) decide(l *config.Listener, ses *proxy.Session) (policy.Outcome, error) {
	r := ses.Request
	if l.AsksPassword() {
		r.Auth.Password = "" // it was right, and says no more than the name does
	}
	state := policy.State{
		Login: func(user string) error { return overLimit(g.daemon.limits.Login(ses.ID, user)) },
		Leak:  func(m leaks.Mode, _ *socks.Request) (leaks.Verdict, error) { return g.daemon.judgeLeak(m, ses) },
		Pool:  g.pool,
	}
	at := policy.Listener{Listener: l, Config: g.config, At: g.at[l.Name]}
	trace := g.daemon.trace(ses)
	o := at.Decide(r, state, trace)
	o.Decision.Count()
	ses.Rule = o.Rule
	if g.leadsDirect(o.Egresses) {
		r.Allow = at.Allow(r, o.Decision)
	}
	if trace != nil {
		at.Foresee(r, &o, state, trace)
		g.daemon.logTrace(ses, trace)
	}
	if o.Err != nil && !o.Leak.Look {
		return o, o.Err
	}
	return o, nil
}

// pool returns the tors of an egress.
func (g *generation) pool(e *config.Egress) (*tor.Pool, error) { return g.exits[e.Name].pool, nil }

// leadsDirect reports whether one of the egresses is this host.
func (g *generation) leadsDirect(names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return g.exits[name].kind == rules.Direct })
}

// paced is w with connections that take part in the user's bytes a second.
func (w *way) paced(l *limits.Limiter, user string) *way {
	if user == "" {
		return w
	}
	return &way{Egress: &pacedEgress{w.Egress, l, user}, name: w.name, exits: w.exits, leaks: w.leaks}
}

type pacedEgress struct {
	egress.Egress
	limits *limits.Limiter
	user   string
}

func (p *pacedEgress) Dial(ctx context.Context, r *socks.Request) (net.Conn, socks.Addr, error) {
	c, bound, err := p.Egress.Dial(ctx, r)
	if err != nil {
		return nil, bound, err
	}
	return p.limits.Conn(c, p.user), bound, nil
}

// verifier judges logins by a file of users.
func (g *generation) verifier(file string) (func(*proxy.Session, socks.Auth) (string, error), error) {
	v, err := g.usersOf(file)
	if err != nil {
		return nil, err
	}
	return func(ses *proxy.Session, a socks.Auth) (string, error) {
		switch {
		case ses.User != "": // shown by a certificate or the peer's user id
			return ses.User, nil
		case a.Method != socks.UserPass:
			return "", policy.ErrNoPassword
		}
		err := v.Verify(context.Background(), ses.Client.Addr(), a.User, a.Password)
		g.daemon.login(ses, err)
		return a.User, ofLogin(err)
	}, nil
}

// ofLogin says to the server which refusals of a login are for now only.
func ofLogin(err error) error {
	if held, ok := errors.AsType[*users.BackoffError](err); ok {
		return &proxy.LaterError{After: time.Until(held.Until), Err: err}
	}
	if errors.Is(err, users.ErrBusy) {
		return &proxy.LaterError{After: time.Second, Err: fmt.Errorf("%w: %w", proxy.ErrFull, err)}
	}
	return err
}

// usersOf returns what judges the logins of a file, with what the generation before remembers
// of them if the file is the same.
func (g *generation) usersOf(file string) (*users.Verifier, error) {
	if v := g.users[file]; v != nil {
		return v, nil
	}
	list, err := users.Load(file)
	if err != nil {
		return nil, err
	}
	for _, w := range list.Warnings {
		g.daemon.every.Warn("file of users", "file", file, "warning", w)
	}
	if old := g.daemon.current.Load(); old != nil && old.users[file] != nil {
		g.users[file] = old.users[file].With(list)
	} else {
		g.users[file] = users.NewVerifier(list, 0)
	}
	return g.users[file], nil
}

// loadTLS makes of a listener's files how it speaks TLS; nil if it has none.
func loadTLS(certFile, keyFile, clientCA string) (*tls.Config, error) {
	if certFile == "" {
		return nil, nil
	}
	cert, err := loadKeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("tls-cert and tls-key: %w", err)
	}
	t := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	if clientCA == "" {
		return t, nil
	}
	text, err := readPEM(clientCA)
	if err != nil {
		return nil, fmt.Errorf("tls-client-ca: %w", err)
	}
	t.ClientCAs, t.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !t.ClientCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("tls-client-ca %s: there is no certificate in PEM form in it", clientCA)
	}
	return t, nil
}

func loadKeyPair(certFile, keyFile string) (tls.Certificate, error) {
	cert, err := readPEM(certFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := readPEM(keyFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(cert, key)
}

// readPEM leaves out a byte order mark, behind which Go sees no block of PEM.
func readPEM(file string) ([]byte, error) {
	text, err := os.ReadFile(file)
	return bytes.TrimPrefix(text, []byte("\ufeff")), err
}

// leadsToListener returns the egress that leads back to the listener at a, nil if none does.
func (g *generation) leadsToListener(a net.Addr) *exit {
	for _, x := range g.exits {
		if slices.ContainsFunc(x.upstreams(), func(upstream string) bool { return leadsBack(upstream, a) }) {
			return x
		}
	}
	return nil
}
