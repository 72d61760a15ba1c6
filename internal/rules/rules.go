// Package rules tells a request its way out: the names of ways out in the order to try
// them, or a refusal, and why. It opens nothing and looks nothing up.
//
// The first [Rule] of a [Set] that matches decides; after the last one comes the default,
// and without a default what no rule matches is refused. A name is compared as a name: no
// rule ever makes this host look one up. What a name led to is judged after the fact, by
// [Decision.Judge], and only where this host looked it up because it is the way out.
//
// Whatever the rules say, an onion name goes to no way out but Tor (RFC 7686).
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

// Kind is what a way out is, as far as rules care.
type Kind uint8

// The kinds. The zero Kind is none.
const (
	Direct Kind = 1 + iota // this host connects, and looks names up
	Tor                    // names are looked up beyond Tor
	Proxy                  // anything else that gets the name as it is
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
	return "no way out"
}

// Pos is where something was written. Only File may be set, for what no file has, such
// as the name of a flag.
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

// Rule says what happens to the requests that it matches. It matches if each of its lists
// does; a list that is empty matches everything. It must not be changed once it is in a Set.
type Rule struct {
	At Pos

	Clients   []netip.Prefix // a client of a Unix socket is in none
	Users     []string       // who the client has shown to be, letter by letter
	Listeners []string       // by their names
	Commands  []socks.Command
	To        []Dest
	Ports     []Ports // a RESOLVE or RESOLVE_PTR has no port, and matches none

	Via    []string // ways out, the first that works; or:
	Refuse bool
	Reason string // of a refusal, for the log; may be ""
}

// Spec is what a [Set] is made of.
type Spec struct {
	Rules     []Rule
	Default   []string // ways out for what no rule matches; refused if empty
	DefaultAt Pos
	Ways      map[string]Kind // every way out by its name
}

// Set is rules in their order. It does not change, but for what [Decision.Count] counts, and
// may be used by many goroutines at once. The zero Set refuses everything.
type Set struct {
	outcomes []outcome // of each rule, and of the default at the end
	ways     map[string]Kind
	index    index
	hits     []atomic.Uint64 // of each of outcomes
}

// outcome is what a rule, or the default, comes to.
type outcome struct {
	rule  *Rule  // nil: the default
	where string // for logs

	via, onion  []string // onion: those of via that are Tor
	refusal     error
	first       Kind // of via
	addresses   []netip.Prefix
	destination bool // it says where to
}

// New makes a Set. An error says which rule has no action or two, or names a way out that
// there is not.
func New(s Spec) (*Set, error) {
	set := &Set{ways: s.Ways}
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
		last.refusal = &Refusal{Text: "no rule allows it, and there is no via for what no rule decides"}
	}
	set.outcomes = append(set.outcomes, last)
	for i := range set.outcomes {
		if err := set.outcomes[i].resolve(s.Ways); err != nil {
			return nil, err
		}
	}
	set.index = newIndex(s.Rules)
	set.hits = make([]atomic.Uint64, len(set.outcomes))
	return set, nil
}

// resolve looks at the ways out.
func (o *outcome) resolve(ways map[string]Kind) error {
	for i, name := range o.via {
		kind := ways[name]
		switch {
		case kind == 0:
			return fmt.Errorf("%s: there is no way out %q", o.where, name)
		case i == 0:
			o.first = kind
		}
		if kind == Tor {
			o.onion = append(o.onion, name)
		}
	}
	return nil
}

// Kind returns what the way out of that name is; 0 if there is none.
func (s *Set) Kind(name string) Kind { return s.ways[name] }

// Rules returns the rules in their order. They must not be changed.
func (s *Set) Rules() []Rule { return s.index.rules }

// Refusal is the error of a request that rules refuse. It names no client and no target.
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
	name   string       // lower-case, without a dot at either end
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
			return Dest{}, errors.New("this is a URL; write its host, and its port under port")
		}
		p, err := ParsePrefix(text)
		if err != nil {
			return Dest{}, err
		}
		return Dest{kind: isAddress, prefix: p}, nil
	}
	if rest, ok := strings.CutPrefix(text, "*."); ok {
		return Dest{}, fmt.Errorf("a star stands alone; names below another are .%s", rest)
	}
	host, suffix := strings.CutPrefix(text, ".")
	host, err := ToASCII(host)
	if err != nil {
		return Dest{}, err
	}
	a, err := socks.ParseHost(host)
	switch {
	case err != nil && strings.Contains(text, ":"):
		return Dest{}, errors.New("a colon stands in IPv6 addresses alone; a port is a matter of port")
	case err != nil:
		return Dest{}, errors.New("this is no name and no address; write example.org, .example.org, *, 10.0.0.0/8 or 192.0.2.1")
	case a.IP.IsValid() && suffix:
		return Dest{}, errors.New("a dot stands before names alone; addresses are 10.0.0.0/8 or 192.0.2.1")
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
			return netip.Prefix{}, errors.New("this is no address prefix; write one such as 192.168.1.0/24, or an address")
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

// Ports is a range of ports, both ends in it.
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

// normal is the form of names in which equal ones are equal: DNS does not tell the
// letters' case, nor whether the root's dot is written.
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

// hasPort tells whether a command is about a port.
func hasPort(c socks.Command) bool { return c != socks.Resolve && c != socks.ResolvePTR }

func containsPrefix(list []netip.Prefix, ip netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(ip) })
}
