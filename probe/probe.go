// Package probe checks any SOCKS or HTTP CONNECT proxy, clause by clause, and says what
// is wrong and why that matters to people.
//
// [Checks] lists all checks; [Run] runs those of a profile against one proxy. A check
// holds one conversation, or a few, with the proxy and never trusts it: each has its
// own deadline and a bound on the bytes that it takes. What the proxy does not support
// and properly refuses is not a failure; what it claims and then breaks is. A check
// whose needs are not met is skipped with the reason, never passed.
//
// Most checks need a far side. Probe brings it: targets on loopback ([Config.Host]), or
// those that a second probe serves on another host ([ServeTargets]), and a DNS server
// of its own ([ListenDNS]) which tells whether a name leaked.
package probe

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Severity says how much a failed check weighs.
type Severity int

// The severities. A Must comes from a text that says so, or its breach loses data or
// gives people away; a Should is what good servers do; a Hint is a nicety.
const (
	Must Severity = iota
	Should
	Hint
)

func (s Severity) String() string { return [...]string{"must", "should", "hint"}[s] }

// MarshalText returns the word.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Profile chooses which checks count.
type Profile int

// The profiles. All has every check of the others, and more.
const (
	RFC1928 Profile = 1 << iota // RFC 1928 and RFC 1929
	Tor                         // what programs written for Tor rely on
	All     Profile = 1<<iota - 1
)

// ParseProfile returns the profile of that name: rfc1928, tor or all.
func ParseProfile(name string) (Profile, error) {
	switch name {
	case "rfc1928":
		return RFC1928, nil
	case "tor":
		return Tor, nil
	case "all":
		return All, nil
	}
	return 0, fmt.Errorf("profile %q: write rfc1928, tor or all", name)
}

// Check is one clause and the way to check it.
type Check struct {
	ID       string   // group/name
	Title    string   // what holds when it passes
	Clause   string   // where that comes from
	Severity Severity // what it weighs
	Why      string   // one sentence: what people lose otherwise
	Profiles Profile  // the smaller profiles that it belongs to; All has every check

	needs []need
	slow  bool // it waits for the proxy to lose its patience
	run   func(*Exchange)
}

// Group returns the part of the ID before the slash.
func (c *Check) Group() string {
	group, _, _ := strings.Cut(c.ID, "/")
	return group
}

// Needs returns what the check cannot do without, in words.
func (c *Check) Needs() []string {
	var words []string
	for _, n := range c.needs {
		words = append(words, n.String())
	}
	return words
}

// Checks returns every check, in the order of a report. The slice is the caller's.
func Checks() []Check {
	return slices.Concat(
		greetingChecks(), authChecks(), connectChecks(), socks4Checks(), socks4aChecks(),
		replyChecks(), resolveChecks(), ptrChecks(), bindChecks(), udpChecks(),
		earlyChecks(), splitChecks(), halfCloseChecks(), slowChecks(), oversizedChecks(),
		garbageChecks(), httpChecks(), pageChecks(), isolationChecks(), extendedChecks(),
		leakChecks(),
	)
}

// Outcome is what became of a check.
type Outcome int

// The outcomes. Refused is a feature that the proxy does not have and says so in the
// protocol's words, which is no failure.
const (
	Passed Outcome = iota
	Failed
	Refused
	Skipped
)

func (o Outcome) String() string { return [...]string{"pass", "fail", "refused", "skip"}[o] }

// MarshalText returns the word.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// Result is what one check found.
type Result struct {
	Check    Check
	Outcome  Outcome
	Reason   string // why it did not pass
	Note     string // what else was seen, for people
	Records  []Record
	Duration time.Duration
}

// Name is a host name that the proxy's resolver knows, and what it leads to.
type Name struct {
	Host string
	IP   netip.Addr
}

// Login is a user name and a password that the proxy knows.
type Login struct{ User, Password string }

// String hides the password.
func (l Login) String() string { return "user " + l.User }

// GoString hides it, too.
func (l Login) GoString() string { return l.String() }

// Config says what to check and with what. Only Proxy is required.
type Config struct {
	Proxy string // host:port, or unix:/path
	Login *Login // for a proxy that wants one

	Profile Profile  // All if 0
	Only    []string // IDs or groups to run; all if empty

	// Host is where the local targets are opened: 127.0.0.1 if invalid. With Remote, a
	// probe that serves targets, it is not used.
	Host   netip.Addr
	Remote string // host:port of ServeTargets

	Names []Name // see Name
	DNS   *DNS   // the server that the proxy's resolver was pointed at, if it was

	Jobs     int           // checks at once; 8 if 0
	Timeout  time.Duration // for one answer, and a check as a whole has four; 5 s if 0
	Quiet    time.Duration // how long nothing must come where nothing may; 300 ms if 0
	Patience time.Duration // how long a proxy may put up with a silent client; 45 s if 0
	Pace     time.Duration // between two parts of a message that is sent in parts; 10 ms if 0

	// Progress is told each result as it comes, one at a time. Nil is not told.
	Progress func(done, total int, r *Result)
}

func (c Config) withDefaults() Config {
	if !c.Host.IsValid() {
		c.Host = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	c.Profile = orElse(c.Profile, All)
	c.Jobs = orElse(c.Jobs, 8)
	c.Timeout = orElse(c.Timeout, 5*time.Second)
	c.Quiet = orElse(c.Quiet, 300*time.Millisecond)
	c.Patience = orElse(c.Patience, 45*time.Second)
	c.Pace = orElse(c.Pace, 10*time.Millisecond)
	return c
}

func orElse[T comparable](v, def T) T {
	if v == *new(T) {
		return def
	}
	return v
}

// Select returns the checks of a profile that only names: IDs or groups, all if there
// are none. A name that is neither is an error.
func Select(p Profile, only []string) ([]Check, error) {
	all := Checks()
	for _, name := range only {
		if !slices.ContainsFunc(all, func(c Check) bool { return c.ID == name || c.Group() == name }) {
			return nil, fmt.Errorf("there is no check or group %q", name)
		}
	}
	return slices.DeleteFunc(all, func(c Check) bool {
		chosen := len(only) == 0 || slices.Contains(only, c.ID) || slices.Contains(only, c.Group())
		return !chosen || p != All && c.Profiles&p == 0
	}), nil
}

// Find returns the check of that ID.
func Find(id string) (Check, error) {
	for _, c := range Checks() {
		if c.ID == id {
			return c, nil
		}
	}
	return Check{}, fmt.Errorf("there is no check %q", id)
}

// Run runs the checks that cfg chooses and reports on them. The error says that they
// could not be run at all: the proxy cannot be reached, wants a login that there is
// none of, or refuses to connect to any target.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	cfg = cfg.withDefaults()
	checks, err := Select(cfg.Profile, cfg.Only)
	if err != nil {
		return nil, err
	}
	p := &prober{cfg: cfg, seed: strings.ToLower(rand.Text()[:6])}
	if err := p.open(ctx); err != nil {
		return nil, err
	}
	defer p.targets.close()
	report := &Report{Proxy: cfg.Proxy, Start: time.Now()}
	if err := p.detect(ctx); err != nil {
		return nil, err
	}
	report.Results = p.runAll(ctx, checks)
	report.Duration = time.Since(report.Start)
	return report, ctx.Err()
}
