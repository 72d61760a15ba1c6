// Package policy decides what becomes of a request: [Listener.Decide] is the one function
// that does, for a hosier that serves and for all that explains one. With a [Trace] it also
// says why, which changes nothing.
package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"hosier/egress"
	"hosier/egress/tor"
	"hosier/internal/config"
	"hosier/internal/leaks"
	"hosier/internal/page"
	"hosier/internal/rules"
	"hosier/internal/users"
	"hosier/socks"
)

// Why a client is turned away before the rules are asked.
var (
	// ErrNotClient is about a client that allow-client does not let in.
	ErrNotClient = errors.New("client is in no allow-client")
	// ErrNoPassword is about a client of a listener with users that did not log in.
	ErrNoPassword = errors.New("client gave no password, and this listener is for users; SOCKS4 cannot carry one")
)

var errDialect = errors.New("dialect is not served here")

// ClientRule is the Rule of an outcome that allow-client decided.
const ClientRule = "allow-client"

// Listener decides about the requests of one listener of a configuration. It must not change
// while it is in use, and may be used by many goroutines at once.
type Listener struct {
	*config.Listener
	Config *config.Config
	At     string // the address by which requests know it; "" while that is not known
}

// State is what decides beside the configuration and the request. A nil function has no say.
type State struct {
	// HasUser returns an error unless the file of users has the user.
	HasUser func(file, user string) error

	// Login counts the request against the limits of its user.
	Login func(user string) error

	// Leak judges a request that may carry an address where a name was possible.
	Leak func(leaks.Mode, *socks.Request) (leaks.Verdict, error)

	// Pool returns the tors of an egress, for [Listener.Foresee]. An error beside them says
	// why the isolation key is not known. It is needed where there is an egress into Tor.
	Pool func(*config.Egress) (*tor.Pool, error)
}

// Outcome is what becomes of a request.
type Outcome struct {
	Rule     string   // what decided, for logs: file:line, or another name
	Egresses []string // by their names, in the order to try them
	Own      bool     // hosier itself answers the request, and no egress gets it
	Err      error    // the refusal: it wraps the socks.Status that the client is owed

	// Leak is the verdict of State.Leak. If it wants a look at the client's program, Err may
	// be given beside Egresses: the client gets its refusal after that look.
	Leak leaks.Verdict

	Decision rules.Decision // of the rules; zero if they were not asked
}

// Decide returns what becomes of r. The steps come in the order in which a connection meets
// them: the client, its dialect and user, hosier's own check page, limits, rules, leaks. A
// running hosier has asked the first three before, when the client came and logged in.
func (l *Listener) Decide(r *socks.Request, s State, t *Trace) Outcome {
	l.introduce(r, t)
	o := l.decide(r, &s, t)
	t.refuse(o.Err)
	return o
}

func (l *Listener) decide(r *socks.Request, s *State, t *Trace) (o Outcome) {
	if o.Rule, o.Err = l.enter(r, s); o.Err != nil {
		return o
	}
	if page.IsCheck(r.Addr) {
		t.add("rules", "none is asked: %s is hosier's own", page.CheckName)
		o.Rule, o.Own = page.CheckName, true
		return o
	}
	if s.Login != nil {
		if o.Err = s.Login(r.User); o.Err != nil {
			return o
		}
	}
	o.Decision = l.Config.Rules.Decide(l.Name, r)
	o.Rule, o.Err = o.Decision.Where, o.Decision.Err
	t.rules(&o.Decision)
	if o.Err != nil {
		return o
	}
	if s.Leak != nil {
		if o.Leak, o.Err = s.Leak(l.leakMode(), r); o.Err != nil && !o.Leak.Look {
			return o
		}
	}
	o.Egresses = o.Decision.Via
	return o
}

// enter judges what a running hosier has judged before there is a request.
func (l *Listener) enter(r *socks.Request, s *State) (rule string, err error) {
	if err := l.Admits(r.Listener, r.Client.Addr()); err != nil {
		return ClientRule, err
	}
	if !l.speaks(r.Version, r.Command) {
		return "", fmt.Errorf("%w: no dialect of the listener %s has %v: %w", errDialect, l.Name, r.Command, socks.NotAllowed)
	}
	switch {
	case r.User == "" && l.TLSClientCA != "":
		return "", fmt.Errorf("the listener %s is for clients with a certificate, and the request has no user: %w", l.Name, socks.NotAllowed)
	case l.AsksPassword() && (r.User == "" || r.Version == socks.V4):
		return "", fmt.Errorf("%w (%s): %w", ErrNoPassword, l.Name, socks.NotAllowed)
	case l.AsksPassword() && s.HasUser != nil:
		return "", s.HasUser(l.Users, r.User)
	}
	return "", nil
}

// Admits returns an error, which wraps [ErrNotClient], unless the client may use the listener
// at all. Programs of this host may, where only they can come. At is where it came in.
func (l *Listener) Admits(at string, client netip.Addr) error {
	if len(l.AllowClient) == 0 || l.isLocal(at) {
		return nil
	}
	client = client.WithZone("") // no prefix has one
	if slices.ContainsFunc(l.AllowClient, func(p netip.Prefix) bool { return p.Contains(client) }) {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrNotClient, socks.NotAllowed)
}

// speaks reports whether the listener serves the dialect, and that has the command.
func (l *Listener) speaks(v socks.Version, c socks.Command) bool {
	word, has := "socks5", true
	switch v {
	case socks.HTTP:
		word, has = "connect", c == socks.Connect
	case socks.V4:
		word, has = "socks4", c != socks.Associate && c != socks.ResolvePTR
	}
	return has && (len(l.Dialects) == 0 || slices.Contains(l.Dialects, word))
}

func (l *Listener) leakMode() leaks.Mode {
	switch l.Unsafe {
	case config.UnsafeAllow:
		return leaks.Allow
	case config.UnsafeRefuse:
		return leaks.Refuse
	}
	return leaks.Warn
}

// Allow returns the function that judges each address that this host comes to for r by the
// decision that was made about it, and for clients of other hosts by whether it is public.
func (l *Listener) Allow(r *socks.Request, d rules.Decision) func(netip.Addr) error {
	return func(ip netip.Addr) error {
		explicit, err := d.Judge(ip)
		if err != nil || explicit || l.isLocal(r.Listener) {
			return err
		}
		return egress.PublicOnly(r, ip)
	}
}

// isLocal reports whether the request is of a program of this host. Who speaks for others
// by a PROXY header may be here; those are not.
func (l *Listener) isLocal(at string) bool {
	return len(l.ProxyFrom) == 0 && IsLocal(at)
}

// IsLocal reports whether only programs of this host can reach a listener at the address. The
// address of a client would not do: a forwarder on this host lends its own.
func IsLocal(at string) bool {
	ap, err := netip.ParseAddrPort(strings.Replace(at, "localhost:", "127.0.0.1:", 1))
	return strings.HasPrefix(at, "unix:") || err == nil && ap.Addr().IsLoopback()
}

// HasUser returns an error unless the user is in the list, which is that of a file.
func HasUser(list *users.List, file, user string) error {
	if list.Has(user) {
		return nil
	}
	return fmt.Errorf("there is no user %q in %s: %w", user, file, socks.NotAllowed)
}
