package main

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"

	"hosier/egress"
	"hosier/egress/tor"
	"hosier/internal/config"
	"hosier/internal/fair"
	"hosier/internal/leaks"
	"hosier/internal/rules"
	"hosier/internal/users"
	"hosier/proxy"
	"hosier/socks"
)

// explainer tells what a configuration has become of requests. It asks nobody, and looks
// nothing up.
type explainer struct {
	config *config.Config
	at     map[string]string // where listeners are, by their names; what is not there is not known
	hidden string            // stands for clients and targets; "" shows them

	users func(file string) (*users.List, error) // nil believes that there is such a user
	leak  func(m leaks.Mode, r *socks.Request) error
	pool  func(e *config.Egress) (*tor.Pool, error) // of a way out into Tor
}

// step is a line of how a request comes to its way out.
type step struct{ label, text string }

// trail is the way of a request from its listener to a way out, and the error that it would
// be refused with.
func (e explainer) trail(l *config.Listener, r *socks.Request) (steps []step, refusal error) {
	add := func(label, format string, args ...any) {
		steps = append(steps, step{label, fmt.Sprintf(format, args...)})
	}
	add("request", "%v %s", r.Command, e.show(r.Target()))
	add("listener", "%s%s", l.Name, e.listenerPlace(l))
	add("identity", "%s", e.identity(l, r))
	if err := e.notServed(l, r); err != nil {
		return steps, err
	}
	decision, lines := e.config.Rules.Explain(l.Name, r, e.hidden)
	for _, line := range lines {
		add("rules", "%s", line)
	}
	if decision.Err != nil {
		return steps, decision.Err
	}
	if err := e.leak(leakMode(l.Unsafe), r); err != nil {
		return steps, err
	}
	for i, name := range decision.Via {
		more, err := e.wayOut(l, r, &decision, name)
		if steps = append(steps, more...); err != nil && i == 0 {
			refusal = err // an answer of the first is one, whatever the others would say
		}
	}
	return steps, refusal
}

func (e explainer) show(what any) string {
	if e.hidden != "" {
		return e.hidden
	}
	return fmt.Sprint(what)
}

func (e explainer) identity(l *config.Listener, r *socks.Request) string {
	from := "a program of this host"
	if r.Client.IsValid() {
		from = "client " + e.show(r.Client.Addr())
	}
	switch {
	case r.User == "":
		return from
	case l.HasUsers():
		return fmt.Sprintf("user %q, %s", r.User, from)
	}
	return fmt.Sprintf("%s; this listener has no users, so the name %q proves nothing and only keeps apart", from, r.User)
}

// notServed is what stands before the rules.
func (e explainer) notServed(l *config.Listener, r *socks.Request) error {
	shown := l.TLSClientCA != "" || l.PeerUsers // and so nobody asks for a password
	switch {
	case len(dialectsFor(l, r.Command)) == 0:
		return fmt.Errorf("%w: no dialect of the listener %s has %v", proxy.ErrDialect, l.Name, r.Command)
	case r.User == "" && l.TLSClientCA != "":
		return fmt.Errorf("the listener %s is for clients with a certificate, and the question names no user", l.Name)
	case r.User == "" && l.Users != "" && !shown:
		return fmt.Errorf("the listener %s is for users, and the question names none", l.Name)
	case !admits(l, r.Listener, r.Client.Addr()):
		return fmt.Errorf("%w (%s)", errNotClient, e.show(r.Client.Addr()))
	case l.Users == "" || shown || e.users == nil:
		return nil
	}
	list, err := e.users(l.Users)
	if err == nil && !list.Has(r.User) {
		err = fmt.Errorf("there is no user %q in %s", r.User, l.Users)
	}
	return err
}

// dialectsFor are those of the listener in which the command can be said, the likeliest first.
func dialectsFor(l *config.Listener, c socks.Command) (all []socks.Version) {
	served := dialectsOf(l.Dialects)
	has := func(one proxy.Dialects) bool { return served == 0 || served&one != 0 }
	if has(proxy.SOCKS5) {
		all = append(all, socks.V5)
	}
	if has(proxy.CONNECT) && c == socks.Connect {
		all = append(all, socks.HTTP)
	}
	if has(proxy.SOCKS4) && c != socks.Associate && c != socks.ResolvePTR {
		all = append(all, socks.V4)
	}
	return all
}

// wayOut tells about one of the ways out of a decision. The error is that of a target which
// it would not connect to.
func (e explainer) wayOut(l *config.Listener, r *socks.Request, d *rules.Decision, name string) (steps []step, err error) {
	out := e.egress(name)
	text := name
	if out.Via.String() != name {
		text += " = " + out.Via.String()
	}
	if out.At.Line > 0 {
		text += fmt.Sprintf(" (%v)", out.At)
	}
	steps = append(steps, step{"egress", text})
	switch {
	case out.Kind == rules.Tor:
		return append(steps, e.intoTor(l, r, out)...), nil
	case out.Kind != rules.Direct:
		return steps, nil
	case r.Addr.Name == "":
		if r.Command == socks.Resolve { // an address is its own answer
			return steps, nil
		}
		return steps, refusedByDirect(l, r, d)
	case isLocalhost(r.Addr.Name):
		at := *r
		at.Addr = socks.Addr{IP: netip.AddrFrom4([4]byte{127, 0, 0, 1}), Port: r.Addr.Port}
		return append(steps, step{"dns", "nobody is asked: the name is loopback"}), refusedByDirect(l, &at, d)
	}
	text = serversOf(e.config) + "; what it answers is judged by the rules again"
	if !isLocal(l, r.Listener) {
		text += ", and must be public unless they name it"
	}
	return append(steps, step{"dns", text}), nil
}

// refusedByDirect returns the error by which direct refuses a request that has come to an address.
func refusedByDirect(l *config.Listener, r *socks.Request, d *rules.Decision) error {
	if r.Command != socks.Connect {
		return judgeAddress(l, r, d, r.Addr.IP)
	}
	out := egress.Direct{Allow: func(r *socks.Request, ip netip.Addr) error { return judgeAddress(l, r, d, ip) }}
	_, err := out.Plain(r)
	return err
}

// serversOf names the DNS servers that direct egresses ask.
func serversOf(c *config.Config) string {
	if len(c.DNS) == 0 {
		return "this system's servers"
	}
	var all []string
	for _, s := range c.DNS {
		all = append(all, s.String())
	}
	return strings.Join(all, ", ")
}

func (e explainer) egress(name string) *config.Egress {
	for i := range e.config.Egresses {
		if one := &e.config.Egresses[i]; one.Name == name {
			return one
		}
	}
	return &config.Egress{Name: name}
}

// intoTor tells what keeps the request apart from others in Tor, and which tor it has.
func (e explainer) intoTor(l *config.Listener, r *socks.Request, out *config.Egress) []step {
	words := out.Isolation
	if l.Isolation != nil {
		words = *l.Isolation
	}
	i, err := isolationOf(words)
	if err != nil {
		return nil // which no configuration in force has
	}
	apart := strings.Join(e.isolationWords(i, r), ", ")
	member, key := e.member(i, l, r, out)
	if key != "" {
		apart += " (key " + key[:shownKey] + "…)"
	}
	return []step{{"isolation", apart}, {"member", member}}
}

// shownKey is how much of an isolation key is shown: enough to see whether two are equal, and
// not enough to be taken by a tor for the whole.
const shownKey = 8

// networkOf is what isolates a client: its address, or of IPv6 its network.
func networkOf(client netip.Addr) string {
	if network := fair.Client(client); network != client.Unmap().WithZone("") {
		return network.String() + "/64"
	}
	return client.String()
}

// isolationWords are what keeps the request from sharing a circuit.
func (e explainer) isolationWords(i tor.Isolation, r *socks.Request) (words []string) {
	add := func(on bool, format string, args ...any) {
		if on {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	add(!i.NoListener, "listener %s", r.Listener)
	add(!i.NoClient && r.Client.IsValid(), "client %s", e.show(networkOf(r.Client.Addr())))
	add(!i.NoClient && r.User != "", "user %s", r.User)
	add(!i.NoAuth, "credentials")
	add(i.Destination, "destination %s", e.show(r.Addr.Host()))
	add(i.Port, "port %s", e.show(r.Addr.Port))
	add(i.Protocol, "protocol %v", r.Version)
	if len(words) == 0 {
		words = []string{"nothing: it may share a circuit with everybody"}
	}
	return words
}

// member says which tor the request has for its own, and tells its isolation key. Where that
// cannot be known it is "", and the text says which tors it may be.
func (e explainer) member(i tor.Isolation, l *config.Listener, r *socks.Request, out *config.Egress) (text, key string) {
	p, err := e.pool(out)
	if err == nil {
		err = e.unknownKey(i, l, r)
	}
	names := strings.TrimPrefix(p.String(), "tor ")
	if err != nil && len(p.Members) > 1 {
		return fmt.Sprintf("one of %s, chosen by the isolation key; %v", names, err), ""
	}
	if len(p.Members) == 0 {
		return "the tor that runs here", ""
	}
	text, key = (&tor.Isolated{Pool: p, Isolation: i}).Member(r)
	if err != nil {
		return text, ""
	}
	if len(p.Members) > 1 {
		text += fmt.Sprintf(", chosen by the isolation key out of %s; another one while it cannot serve", names)
	}
	return text, key
}

// unknownKey says what of an isolation key nobody can know who only has the configuration.
func (e explainer) unknownKey(i tor.Isolation, l *config.Listener, r *socks.Request) error {
	_, known := e.place(l)
	switch {
	case !i.NoListener && !known:
		return fmt.Errorf("which depends on where %s will be", l.Name)
	case !i.NoAuth && r.Auth.User != "" && r.Auth.Password == "" && !judgesPasswords(l):
		return fmt.Errorf("which depends on the password that comes with %q", r.Auth.User)
	}
	return nil
}

// place is how requests know the listener, and whether that is known already.
func (e explainer) place(l *config.Listener) (at string, known bool) {
	if at := e.at[l.Name]; at != "" {
		return at, true
	}
	switch {
	case strings.HasPrefix(l.Address, "unix:"):
		return l.Address, true
	case strings.HasPrefix(l.Address, "systemd:"):
		return "unix:" + l.Name, false // wherever
	}
	host, port, _ := strings.Cut(l.Address, ":")
	switch host {
	case "localhost":
		return "127.0.0.1:" + port, port != "0"
	case "":
		return "[::]:" + port, port != "0"
	}
	return l.Address, !strings.HasSuffix(l.Address, ":0")
}

func (e explainer) listenerPlace(l *config.Listener) string {
	address := cmp.Or(e.at[l.Name], l.Address)
	switch {
	case l.Name != address && l.At.Line > 0:
		return fmt.Sprintf(" at %s (%v)", address, l.At)
	case l.Name != address:
		return " at " + address
	case l.At.Line > 0:
		return fmt.Sprintf(" (%v)", l.At)
	}
	return ""
}

// offlinePool makes pools of what is written, as a running hosier would have them.
func offlinePool(c *config.Config) func(*config.Egress) (*tor.Pool, error) {
	return func(e *config.Egress) (*tor.Pool, error) {
		spec, err := parseTor(e.Via.Reveal())
		p := &tor.Pool{Members: spec.members}
		for i := range spec.daemons {
			p.Members = append(p.Members, tor.Member{Daemon: &tor.Daemon{Name: fmt.Sprint("tor", i)}})
		}
		if err != nil {
			return p, err
		}
		dir, err := stateDirPath(c.StateDir)
		if err == nil {
			p.Key, err = tor.ReadKey(filepath.Join(dir, keyFile))
		}
		if err != nil {
			err = fmt.Errorf("which cannot be known here: %w", err)
		}
		return p, err
	}
}

// offlineLeak is what becomes of a request by a hosier that has answered nothing before.
func offlineLeak(m leaks.Mode, r *socks.Request) error {
	_, err := leaks.New(slog.New(slog.DiscardHandler), nil).Judge(m, r)
	return err
}
