package daemon

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"hosier/egress/tor"
	"hosier/internal/config"
	"hosier/internal/listen"
	"hosier/internal/page"
	"hosier/internal/policy"
	"hosier/internal/rules"
	"hosier/internal/users"
	"hosier/proxy"
	"hosier/resolver"
	"hosier/socks"
)

// generation is one reading of the configuration, in use (nginx: cycle). A connection
// keeps the one that it began under; a reload makes another.
type generation struct {
	daemon   *Daemon
	config   *config.Config
	egresses map[string]*liveEgress
	routes   map[string]*routes // by the name of the listener
	at       map[string]string  // where listeners are, as sessions know them, by their names
	names    map[string]string  // the other way round
	loaded   time.Time

	listening []net.Addr // of all listeners

	resolver *resolver.Resolver
	users    map[string]*users.Verifier // by file
	policies map[string]*proxy.Policy   // by the address of the listener, as sessions know it
}

// newGeneration makes everything that c asks for, but opens no listener. Egresses of which
// the configuration says the same as before are those that run already.
func (d *Daemon) newGeneration(ctx context.Context, c *config.Config) (*generation, error) {
	g := &generation{
		daemon: d, config: c, egresses: map[string]*liveEgress{}, routes: map[string]*routes{},
		at: map[string]string{}, names: map[string]string{}, loaded: time.Now(),
		policies: map[string]*proxy.Policy{}, users: map[string]*users.Verifier{},
	}
	g.resolver = d.resolver(c)
	for _, e := range c.Egresses {
		x := d.running(e)
		if x == nil {
			var err error
			if x, err = openEgress(ctx, e, c, d.log, d.refuseLoop); err != nil {
				return nil, err
			}
			if other := d.runningIn(x.dir); other != nil {
				return nil, fmt.Errorf("%s: the tors of %s run in the same directory under other settings: restart hosier for that", e.At, other.name)
			}
		}
		g.egresses[e.Name] = x
	}
	for i := range c.Listeners {
		l := &c.Listeners[i]
		t := &routes{generation: g, listener: l, isolation: map[string]tor.Isolation{}, all: map[string]*route{}}
		for _, e := range c.Egresses {
			words := e.Isolation
			if l.Isolation != nil {
				words = *l.Isolation
			}
			var err error
			if t.isolation[e.Name], err = policy.IsolationOf(words); err != nil {
				return nil, UsageError{fmt.Errorf("%s: %w", l.At, err)}
			}
		}
		g.routes[l.Name] = t
	}
	return g, nil
}

// resolver is what looks names up for direct egresses: the one before, with all that it knows,
// if it asks the same servers. One that is not used any more holds nothing open for long.
func (d *Daemon) resolver(c *config.Config) *resolver.Resolver {
	if old := d.current.Load(); old != nil && slices.Equal(old.resolver.Servers, c.DNS) && old.resolver.Stale == c.DNSStale {
		return old.resolver
	}
	return &resolver.Resolver{Servers: c.DNS, Sockets: d.sockets, Stale: c.DNSStale}
}

// running returns the live egress that e describes, if there is one, even if it is
// retired.
func (d *Daemon) running(e config.Egress) *liveEgress {
	for _, x := range d.egresses {
		if x.key == egressKey(e) && x.revive() {
			return x
		}
	}
	return nil
}

// runningIn returns the live egress that runs daemons in dir.
func (d *Daemon) runningIn(dir string) *liveEgress {
	for _, x := range d.egresses {
		if dir != "" && x.dir == dir && !x.isOver() {
			return x
		}
	}
	return nil
}

// policy returns the policy for a listener's clients.
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
		if err = g.setLogins(p, l.Users); err != nil {
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
	for _, x := range g.egresses {
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

// setLogins has logins judged by a file of users.
func (g *generation) setLogins(p *proxy.Policy, file string) error {
	v, err := g.usersOf(file)
	if err != nil {
		return err
	}
	p.Known = func(ses *proxy.Session, a socks.Auth) (string, bool) {
		switch {
		case ses.User != "": // shown by a certificate or the peer's user id
			return ses.User, true
		case a.Method != socks.UserPass || !v.Recalls(a.User, a.Password):
			return "", false
		}
		g.daemon.login(ses, nil)
		return a.User, true
	}
	p.Verify = func(ses *proxy.Session, a socks.Auth) (string, error) {
		if a.Method != socks.UserPass {
			return "", policy.ErrNoPassword
		}
		err := v.Verify(context.Background(), ses.Client.Addr(), a.User, a.Password)
		g.daemon.login(ses, err)
		return a.User, ofLogin(err)
	}
	return nil
}

// ofLogin maps an error of users to the server's errors for logins that are refused only
// for now.
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

// loadTLS returns the TLS configuration of a listener's files; nil if it has none.
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

// leadsToListener returns the egress that leads back to the listener at a; nil if none
// does.
func (g *generation) leadsToListener(a net.Addr) *liveEgress {
	for _, x := range g.egresses {
		if slices.ContainsFunc(x.upstreams(), func(upstream string) bool { return leadsBack(upstream, a) }) {
			return x
		}
	}
	return nil
}
