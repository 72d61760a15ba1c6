package daemon

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"hosier/egress"
	"hosier/egress/tor"
	"hosier/internal/config"
	"hosier/internal/fair"
	"hosier/internal/leaks"
	"hosier/internal/page"
	"hosier/internal/policy"
	"hosier/internal/rules"
	"hosier/proxy"
	"hosier/socks"
)

// routes holds the egresses as clients of one listener see them.
type routes struct {
	generation *generation
	listener   *config.Listener
	isolation  map[string]tor.Isolation // by the name of the egress

	mu  sync.Mutex
	all map[string]*route // by the names of their egresses
}

// route is a [proxy.Route] to one egress, or to the first that works of several, without what
// depends on the request.
type route struct {
	proxy.Route
	egresses []*liveEgress
}

// router returns the function by which the server learns where a request goes.
func (g *generation) router(l *config.Listener, check *page.Check) func(context.Context, *proxy.Session) (proxy.Route, error) {
	own := proxy.Route{Egress: check, Name: "check", Rule: page.CheckName}
	return func(_ context.Context, ses *proxy.Session) (proxy.Route, error) {
		o, err := g.decide(l, ses)
		switch {
		case err != nil:
			return proxy.Route{Rule: o.Rule}, err
		case o.Own:
			return own, nil
		}
		shared := g.routes[l.Name].to(o.Egresses)
		for _, e := range shared.egresses {
			e.enter()
		}
		r := shared.Route
		r.Rule = o.Rule
		g.daemon.attend(&r, ses.Request, &o)
		return r, nil
	}
}

// attend adds the request's own hooks to its route.
func (d *Daemon) attend(t *proxy.Route, r *socks.Request, o *policy.Outcome) {
	if o.Leak.Look {
		verdict, refusal := o.Leak, o.Err
		t.Before = func(ctx context.Context) error { // to find the program takes a while, which policy must not
			d.leaks.Look(ctx, verdict, r, 0)
			return refusal
		}
	}
	if r.Command == socks.Resolve {
		client := r.Client.Addr()
		t.Resolved = func(a socks.Addr) { d.leaks.Answered(client, a.IP) } // it has not asked anybody else for that address
	}
	if user := r.User; user != "" && d.limits.Paces() {
		t.Wrap = func(c net.Conn) net.Conn { return d.limits.Conn(c, user) }
	}
}

// to returns the route to the egresses of these names, in the order to try them.
func (l *routes) to(names []string) *route {
	key := names[0]
	if len(names) > 1 {
		key = strings.Join(names, ",")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.all[key]; t != nil {
		return t
	}
	t := &route{}
	var list []egress.Member
	for _, name := range names {
		e := l.generation.egresses[name]
		t.egresses = append(t.egresses, e)
		list = append(list, egress.Member{Name: name, Egress: l.egress(e), Ready: e.hasTor, Judged: l.judge(e, len(names) == 1)})
	}
	t.Name, t.Done, t.Egress = key, t.leave, list[0].Egress
	if len(list) > 1 || t.egresses[0].kind == rules.Proxy {
		t.Egress = &egress.Failover{Members: list}
	}
	l.all[key] = t
	return t
}

// leave is called at the end of a session that went this way.
func (t *route) leave(*proxy.Session) {
	for _, e := range t.egresses {
		e.leave()
	}
}

// egress returns the egress as this listener's clients have it.
func (l *routes) egress(e *liveEgress) egress.Egress {
	switch e.kind {
	case rules.Direct:
		return l.direct()
	case rules.Tor:
		return &tor.Isolated{Pool: e.pool, Isolation: l.isolation[e.name]}
	}
	return e.out
}

// direct returns this host's network.
func (l *routes) direct() *egress.Direct {
	d := &egress.Direct{Resolver: l.generation.resolver, Allow: onlyDecided}
	switch l.cache() {
	case config.CacheOff:
		d.Resolver = l.generation.resolver.Uncached()
	case config.CacheUser:
		d.Group = cacheGroup
	}
	return d
}

// cache returns whose cached answers clients get. One that came at once shows that somebody
// asked.
func (l *routes) cache() config.DNSCache {
	switch {
	case l.listener.DNSCache != "":
		return l.listener.DNSCache
	case l.listener.HasUsers() || !policy.IsLocal(l.listener.Address) || len(l.listener.ProxyFrom) > 0:
		return config.CacheUser
	}
	return config.CacheShared
}

// cacheGroup returns the user, or the client if there is none.
func cacheGroup(r *socks.Request) string {
	if r.User != "" {
		return "user " + r.User
	}
	return fair.Client(r.Client.Addr()).String()
}

// onlyDecided refuses requests without a decision. The address is judged by Allow of the
// request, by the decision that was.
func onlyDecided(r *socks.Request, _ netip.Addr) error {
	if r.Allow == nil {
		return socks.NotAllowed
	}
	return nil
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
func (g *generation) pool(e *config.Egress) (*tor.Pool, error) { return g.egresses[e.Name].pool, nil }

// leadsDirect reports whether one of the egresses is this host.
func (g *generation) leadsDirect(names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return g.egresses[name].kind == rules.Direct })
}
