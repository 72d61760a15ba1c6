package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"hosier/socks"
)

// Problem is a rule that cannot have its effect.
type Problem struct {
	Rule *Rule
	Text string // what is wrong, and the fix

	// Never reports that the rule decides no request at all. Otherwise it decides some,
	// but never as written.
	Never bool
}

// Problems returns the mistakes in the rules, in their order: at most one a rule. It
// reports no rule wrongly, but does not find every rule that earlier ones shadow.
func (s *Set) Problems() []Problem {
	var all []Problem
	for i := range s.index.rules {
		r := &s.index.rules[i]
		text := r.impossible()
		if text == "" {
			text = s.shadowed(i)
		}
		if text != "" {
			all = append(all, Problem{r, text, true})
		} else if o := &s.outcomes[i]; r.onionsOnly() && !r.Refuse && len(o.onion) == 0 {
			all = append(all, Problem{r, ".onion names go to Tor alone, and no egress of this rule is Tor: " +
				"it could only refuse; name one that is Tor, or write refuse = true", false})
		}
	}
	return all
}

// impossible returns why no request matches, regardless of other rules.
func (r *Rule) impossible() string {
	only := func(ok func(socks.Command) bool) bool {
		return len(r.Commands) > 0 && !slices.ContainsFunc(r.Commands, func(c socks.Command) bool { return !ok(c) })
	}
	isPTR := func(c socks.Command) bool { return c == socks.ResolvePTR }
	noPort := func(c socks.Command) bool { return !hasPort(c) }
	switch {
	case only(isPTR) && len(r.To) > 0 && !slices.ContainsFunc(r.To, func(d Dest) bool { return d.kind == isAddress }):
		return "this rule can never match: resolve-ptr asks about an address, and its to has names only; " +
			"write addresses such as 10.0.0.0/8, or leave to out"
	case only(noPort) && len(r.Ports) > 0:
		return "this rule can never match: resolve and resolve-ptr have no port; leave port out, or add another command"
	}
	return ""
}

// onionsOnly reports whether every request that r matches is for an onion name.
func (r *Rule) onionsOnly() bool {
	return len(r.To) > 0 && !slices.ContainsFunc(r.To, func(d Dest) bool { return !d.isOnion() })
}

// isOnion reports whether d matches nothing but onion names.
func (d Dest) isOnion() bool {
	return (d.kind == isName || d.kind == isSuffix) && socks.Addr{Name: d.name}.IsOnion()
}

// shadowed describes the earlier rules that match everything that rule i does. Each
// destination may have another one; the rest of a rule must be covered by one alone.
func (s *Set) shadowed(i int) string {
	by, ok := s.coveredBy(i)
	if !ok {
		return ""
	}
	names := make([]string, len(by))
	for j, at := range by {
		names[j] = s.outcomes[at].where
	}
	verb := "matches"
	if len(by) > 1 {
		verb = "match"
	}
	return fmt.Sprintf("this rule can never match: %s %s all that it does, and the first match decides; "+
		"remove this rule, or put it before that", some(names, "and"), verb)
}

// coveredBy returns rules before i that together match everything that i does.
func (s *Set) coveredBy(i int) (by []int, ok bool) {
	if at, ok := s.covering(s.index.all, i); ok {
		return []int{at}, true
	}
	to := s.index.rules[i].To
	for _, d := range to {
		at, ok := s.cover(d, i)
		if !ok {
			return nil, false
		}
		by = append(by, at)
	}
	slices.Sort(by)
	return slices.Compact(by), len(to) > 0
}

// cover returns a rule before i that matches everything that i does for d.
func (s *Set) cover(d Dest, i int) (at int, ok bool) {
	x := &s.index
	switch d.kind {
	case isAddress:
		for _, e := range x.ips {
			if e.at >= i {
				break
			}
			if covers(e.prefix, d.prefix) && x.rules[e.at].includes(&x.rules[i]) {
				return e.at, true
			}
		}
		return 0, false
	case isName:
		if at, ok := s.covering(x.exact[d.name], i); ok {
			return at, true
		}
		fallthrough
	case isSuffix:
		for below := range parents(d.name) {
			if at, ok := s.covering(x.suffix[below], i); ok {
				return at, true
			}
		}
	}
	return s.covering(x.names, i)
}

// covering returns the first rule of the list that is before i and includes it,
// destinations apart.
func (s *Set) covering(list []int, i int) (int, bool) {
	for _, at := range list {
		if at >= i {
			break
		}
		if s.index.rules[at].includes(&s.index.rules[i]) {
			return at, true
		}
	}
	return 0, false
}

// includes reports whether a matches everything that b does, destinations apart. It may
// return false wrongly where only several prefixes together do.
func (a *Rule) includes(b *Rule) bool {
	return allIn(b.Listeners, a.Listeners, equal) &&
		allIn(b.Users, a.Users, equal) &&
		allIn(b.Commands, a.Commands, equal) &&
		allIn(b.Clients, a.Clients, func(b, a netip.Prefix) bool { return covers(a, b) }) &&
		allIn(b.Ports, merged(a.Ports), func(b, a Ports) bool { return a.From <= b.From && b.To <= a.To })
}

func equal[T comparable](a, b T) bool { return a == b }

// allIn reports whether the list outer has everything that inner has; an empty list has
// everything.
func allIn[T any](inner, outer []T, in func(inner, outer T) bool) bool {
	if len(outer) == 0 {
		return true
	}
	return len(inner) > 0 && !slices.ContainsFunc(inner, func(b T) bool {
		return !slices.ContainsFunc(outer, func(a T) bool { return in(b, a) })
	})
}

func covers(a, b netip.Prefix) bool { return a.Bits() <= b.Bits() && a.Contains(b.Addr()) }

// merged joins ranges that touch.
func merged(list []Ports) []Ports {
	if len(list) < 2 {
		return list
	}
	list = slices.SortedFunc(slices.Values(list), func(a, b Ports) int { return int(a.From) - int(b.From) })
	out := list[:1]
	for _, p := range list[1:] {
		if last := &out[len(out)-1]; int(p.From) <= int(last.To)+1 {
			last.To = max(last.To, p.To)
		} else {
			out = append(out, p)
		}
	}
	return out
}
