// Package policy decides requests. [Listener.Decide] is the only function that does, both
// for serving and for explaining. With a [Trace] it also records why, which does not
// change the decision.
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

// Reasons to refuse a client before the rules are evaluated.
var (
	// ErrNotClient refuses a client that is not in allow-client.
	ErrNotClient = errors.New("client is not in allow-client")
	// ErrNoPassword refuses a client without a login on a listener with users.
	ErrNoPassword = errors.New("client gave no password, and this listener is for users; SOCKS4 cannot carry one")
)

var errDialect = errors.New("dialect is not served here")

// ClientRule is the Rule of an outcome that allow-client decided.
const ClientRule = "allow-client"

// Listener decides the requests of one listener of a configuration. It must not change
// while it is in use, and may be used by many goroutines at once.
type Listener struct {
	*config.Listener
	Config *config.Config
	At     string // its address as requests have it; "" while unknown
}

// State is the input of a decision besides the configuration and the request. A nil
// function is skipped.
type State struct {
	// HasUser returns an error unless the file of users has the user.
	HasUser func(file, user string) error

	// Login counts the request against the limits of its user.
	Login func(user string) error

	// Leak judges a request that may carry an address where a name was possible.
	Leak func(leaks.Mode, *socks.Request) (leaks.Verdict, error)

	// Pool returns the tors of an egress, for [Listener.Foresee]. An error along with a
	// pool explains why the isolation key is not known. Required if an egress goes
	// through Tor.
	Pool func(*config.Egress) (*tor.Pool, error)
}

// Outcome is the decision about a request.
type Outcome struct {
	Rule     string   // the rule that decided, for logs: file:line, or another name
	Egresses []string // by their names, in the order to try them
	Own      bool     // hosier itself answers the request, and no egress gets it
	Err      error    // the refusal, wrapping the socks.Status of the reply

	// Leak is the verdict of State.Leak. If it asks for a look at the client's program,
	// Err may be set along with Egresses: the client is refused after that look.
	Leak leaks.Verdict

	Decision rules.Decision // of the rules; zero if they were not evaluated
}

// Decide decides r. Its steps come in the order in which a connection meets them: the
// client, its dialect and user, hosier's own check page, limits, rules, leaks. A running
// hosier has applied the first three already, at accept and login.
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
		t.add("rules", "none applies: %s is hosier's own name", page.CheckName)
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

// enter repeats the checks that a running hosier makes before there is a request.
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

// Admits returns an error that wraps [ErrNotClient] unless allow-client lets the client
// use the listener. Programs of this host always may on a listener that only they can
// reach. At is the listener's address.
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

// speaks reports whether the listener serves the dialect, and the dialect has the
// command.
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

// Allow returns the function that judges each address that this host is about to connect
// to for r: by the decision that was made about r, and for clients on other hosts also by
// whether the address is public.
func (l *Listener) Allow(r *socks.Request, d rules.Decision) func(netip.Addr) error {
	return func(ip netip.Addr) error {
		explicit, err := d.Judge(ip)
		if err != nil || explicit || l.isLocal(r.Listener) {
			return err
		}
		return egress.PublicOnly(r, ip)
	}
}

// isLocal reports whether the request is from a program of this host. A PROXY header may
// carry clients of other hosts.
func (l *Listener) isLocal(at string) bool {
	return len(l.ProxyFrom) == 0 && IsLocal(at)
}

// IsLocal reports whether only programs of this host can reach a listener at the address.
// The client's address would not do: behind a forwarder on this host it is the
// forwarder's.
func IsLocal(at string) bool {
	ap, err := netip.ParseAddrPort(strings.Replace(at, "localhost:", "127.0.0.1:", 1))
	return strings.HasPrefix(at, "unix:") || err == nil && ap.Addr().IsLoopback()
}

// HasUser returns an error unless the list, read from file, has the user.
func HasUser(list *users.List, file, user string) error {
	if list.Has(user) {
		return nil
	}
	return fmt.Errorf("there is no user %q in %s: %w", user, file, socks.NotAllowed)
}
