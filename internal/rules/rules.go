// Package rules chooses the egress of a request: the names of egresses in the order to
// try them, or a refusal, and the reason. It opens nothing and looks nothing up.
//
// The first [Rule] of a [Set] that matches decides; after the last one comes the default,
// and without a default the request is refused. A name is compared as a name: no rule
// ever makes this host look one up. The addresses of a name are judged afterwards, by
// [Decision.Judge], and only where this host looked them up because it is the egress.
//
// Whatever the rules say, an onion name goes to no egress but Tor (RFC 7686).
package rules

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"hosier/socks"
)

// Kind is the kind of an egress, as far as rules care.
type Kind uint8

// The kinds. The zero Kind is none.
const (
	Direct Kind = 1 + iota // this host connects, and looks names up
	Tor                    // exits of Tor look names up
	Proxy                  // another proxy looks names up
)

func (k Kind) String() string {
	switch k {
	case Direct:
		return "direct"
	case Tor:
		return "Tor"
	case Proxy:
		return "proxy"
	}
	return "no egress"
}

// Pos is a position in a file. For a flag, only File is set.
type Pos struct {
	File         string
	Line, Column int // from 1; 0 if unknown
}

// String returns file:line, without the column.
func (p Pos) String() string {
	if p.Line == 0 {
		return p.File
	}
	return p.File + ":" + strconv.Itoa(p.Line)
}

// Rule decides the requests that it matches. It matches if each of its lists does; an
// empty list matches everything. It must not be changed once it is in a Set.
type Rule struct {
	At Pos

	Clients   []netip.Prefix // a client of a Unix socket is in none
	Users     []string       // authenticated users, case-sensitive
	Listeners []string       // by name
	Commands  []socks.Command
	To        []Dest
	Ports     []Ports // a RESOLVE or RESOLVE_PTR has no port, and matches none

	Via    []string // egresses, the first that works; or:
	Refuse bool
	Reason string // of a refusal, for the log; may be ""
}

// Spec is the input of [New].
type Spec struct {
	Rules     []Rule
	Default   []string // egresses if no rule matches; refused if empty
	DefaultAt Pos
	Egresses  map[string]Kind // every egress by its name
}

// Set is a list of rules. Only the counters of [Decision.Count] change. It may be used by
// many goroutines at once. The zero Set refuses everything.
type Set struct {
	outcomes []outcome // of each rule, and of the default at the end
	kinds    map[string]Kind
	index    index
	hits     []atomic.Uint64 // of each of outcomes
}

// outcome is the result of a rule, or of the default.
type outcome struct {
	rule  *Rule  // nil: the default
	where string // for logs

	via, onion  []string // onion: those of via that are Tor
	refusal     error
	first       Kind // of via
	addresses   []netip.Prefix
	destination bool // the rule names destinations
}

// New returns a Set, or an error that names the rule that has no action or two, or an
// egress that does not exist. An error says which rule has no action or two, or names an
// egress that there is not.
func New(s Spec) (*Set, error) {
	set := &Set{kinds: s.Egresses}
	for i := range s.Rules {
		r := &s.Rules[i]
		if r.Refuse == (len(r.Via) > 0) {
			return nil, fmt.Errorf("%v: a rule has a via or refuses: one of both", r.At)
		}
		o := outcome{rule: r, where: r.At.String(), via: r.Via, destination: len(r.To) > 0}
		if r.Refuse {
			o.refusal = refusal(o.where, r.Reason)
		}
		for _, d := range r.To {
			if d.prefix.IsValid() {
				o.addresses = append(o.addresses, d.prefix)
			}
		}
		set.outcomes = append(set.outcomes, o)
	}
	last := outcome{where: s.DefaultAt.String(), via: s.Default}
	if len(s.Default) == 0 {
		last.where = "no rule"
		last.refusal = &Refusal{Text: "no rule matched, and there is no default via"}
	}
	set.outcomes = append(set.outcomes, last)
	for i := range set.outcomes {
		if err := set.outcomes[i].resolve(s.Egresses); err != nil {
			return nil, err
		}
	}
	set.index = newIndex(s.Rules)
	set.hits = make([]atomic.Uint64, len(set.outcomes))
	return set, nil
}

// resolve checks the names of egresses.
func (o *outcome) resolve(kinds map[string]Kind) error {
	for i, name := range o.via {
		kind := kinds[name]
		switch {
		case kind == 0:
			return fmt.Errorf("%s: there is no egress %q", o.where, name)
		case i == 0:
			o.first = kind
		}
		if kind == Tor {
			o.onion = append(o.onion, name)
		}
	}
	return nil
}

// Kind returns the kind of the named egress; 0 if there is none.
func (s *Set) Kind(name string) Kind { return s.kinds[name] }

// Rules returns the rules in their order. They must not be changed.
func (s *Set) Rules() []Rule { return s.index.rules }

// Refusal is the error of a request that a rule refuses. It names no client and no
// target.
type Refusal struct{ Text string }

func (r *Refusal) Error() string { return r.Text }

// Unwrap returns socks.NotAllowed.
func (r *Refusal) Unwrap() error { return socks.NotAllowed }

func refusal(where, reason string) error {
	text := "refused by " + where
	if reason != "" {
		text += ": " + reason
	}
	return &Refusal{Text: text}
}

// Dest is a destination that a rule names. The zero Dest matches nothing.
type Dest struct {
	kind   destKind
	name   string       // lower case, without leading and trailing dots
	prefix netip.Prefix // of kind isAddress
}

type destKind uint8

const (
	isAddress destKind = 1 + iota
	isName
	isSuffix
	isAnyName
)

// ParseDest reads "example.org" (that name), ".example.org" (it and all below it), "*"
// (any name, but no address), "10.0.0.0/8" or "192.0.2.1".
func ParseDest(text string) (Dest, error) {
	if text == "*" {
		return Dest{kind: isAnyName}, nil
	}
	if strings.Contains(text, "/") {
		if strings.Contains(text, "://") {
			return Dest{}, errors.New("this is a URL; write its host here and its port under port")
		}
		p, err := ParsePrefix(text)
		if err != nil {
			return Dest{}, err
		}
		return Dest{kind: isAddress, prefix: p}, nil
	}
	if rest, ok := strings.CutPrefix(text, "*."); ok {
		return Dest{}, fmt.Errorf("a star must stand alone; for the names below another, write .%s", rest)
	}
	host, suffix := strings.CutPrefix(text, ".")
	host, err := ToASCII(host)
	if err != nil {
		return Dest{}, err
	}
	a, err := socks.ParseHost(host)
	switch {
	case err != nil && strings.Contains(text, ":"):
		return Dest{}, errors.New("only IPv6 addresses contain colons; put a port under port")
	case err != nil:
		return Dest{}, errors.New("not a name or an address; write example.org, .example.org, *, 10.0.0.0/8 or 192.0.2.1")
	case a.IP.IsValid() && suffix:
		return Dest{}, errors.New("only names may start with a dot; addresses are 10.0.0.0/8 or 192.0.2.1")
	case a.IP.IsValid():
		ip := a.IP.Unmap()
		return Dest{kind: isAddress, prefix: netip.PrefixFrom(ip, ip.BitLen())}, nil
	case suffix:
		return Dest{kind: isSuffix, name: normal(a.Name)}, nil
	}
	return Dest{kind: isName, name: normal(a.Name)}, nil
}

// String returns d as ParseDest reads it.
func (d Dest) String() string {
	switch d.kind {
	case isName:
		return d.name
	case isSuffix:
		return "." + d.name
	case isAnyName:
		return "*"
	}
	return prefixText(d.prefix)
}

func prefixText(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// ParsePrefix reads an address prefix, or an address as the prefix of itself. A prefix of
// IPv4 addresses that is written in IPv6 becomes one of IPv4; no other prefix of IPv6
// has IPv4 addresses in it.
func ParsePrefix(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		ip, err := netip.ParseAddr(text)
		if err != nil || ip.Zone() != "" {
			return netip.Prefix{}, errors.New("not an address prefix; write one such as 192.168.1.0/24, or an address")
		}
		p = netip.PrefixFrom(ip, ip.BitLen())
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("bits are set beyond the prefix; write %v for the network, or %v for the one address", p.Masked(), p.Addr())
	}
	return p, nil
}

// Ports is a range of ports, inclusive.
type Ports struct{ From, To uint16 }

// ParsePorts reads "443" or "8000-8999".
func ParsePorts(text string) (Ports, error) {
	from, to, isRange := strings.Cut(text, "-")
	if !isRange {
		to = from
	}
	a, err := strconv.ParseUint(from, 10, 16)
	b, err2 := strconv.ParseUint(to, 10, 16)
	switch {
	case err != nil || err2 != nil || a == 0 || b == 0:
		return Ports{}, errors.New("write a port from 1 to 65535, or two with a dash: 8000-8999")
	case a > b:
		return Ports{}, fmt.Errorf("the range ends before it begins; write %d-%d", b, a)
	}
	return Ports{uint16(a), uint16(b)}, nil
}

// String returns p as ParsePorts reads it.
func (p Ports) String() string {
	if p.From == p.To {
		return strconv.Itoa(int(p.From))
	}
	return fmt.Sprintf("%d-%d", p.From, p.To)
}

func (p Ports) contains(port uint16) bool { return p.From <= port && port <= p.To }

// normal returns the form in which equal names are equal: DNS ignores case and the
// trailing dot.
func normal(name string) string {
	name = strings.TrimSuffix(name, ".")
	for i := range len(name) {
		if c := name[i]; 'A' <= c && c <= 'Z' {
			return strings.Map(lower, name)
		}
	}
	return name
}

func lower(c rune) rune {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// hasPort reports whether requests of a command have a port.
func hasPort(c socks.Command) bool { return c != socks.Resolve && c != socks.ResolvePTR }

func containsPrefix(list []netip.Prefix, ip netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(ip) })
}
