package rules

import (
	"fmt"
	"slices"
	"strings"
)

// Proof returns statements that hold for every request, one a line. They are computed
// from the rules.
func (s *Set) Proof() []string {
	if len(s.outcomes) == 0 {
		return []string{"every request is refused: there are no rules and no egresses"}
	}
	return []string{s.proveOnion(), s.proveLookups(), s.proveDirect(), s.proveEnd()}
}

func (s *Set) proveOnion() string {
	var to, refused []string
	for i := range s.outcomes {
		o := &s.outcomes[i]
		switch {
		case o.rule != nil && !o.rule.mayMatchOnion():
		case len(o.onion) > 0:
			to = append(to, fmt.Sprintf("%s via %s", o.where, strings.Join(o.onion, ", ")))
		default:
			refused = append(refused, o.where)
		}
	}
	text := ".onion names reach Tor alone: "
	if len(to) == 0 {
		return text + "no rule leads them to a Tor, so all are refused"
	}
	text += some(to, "and")
	if len(refused) > 0 {
		text += "; refused by " + some(refused, "and")
	}
	return text
}

// mayMatchOnion reports whether an onion name may be among the destinations.
func (r *Rule) mayMatchOnion() bool {
	return len(r.To) == 0 || slices.ContainsFunc(r.To, func(d Dest) bool { return d.kind == isAnyName || d.isOnion() })
}

func (s *Set) proveLookups() string {
	text := "no rule looks a name up to compare it; "
	var here []string
	for i := range s.outcomes {
		if o := &s.outcomes[i]; s.isDirect(o) && (o.rule == nil || o.rule.mayMatchName()) {
			here = append(here, o.where)
		}
	}
	if len(here) == 0 {
		return text + "no name is looked up on this host"
	}
	return text + "this host looks up the names that it connects to itself, by " + some(here, "and")
}

func (r *Rule) mayMatchName() bool {
	return len(r.To) == 0 || slices.ContainsFunc(r.To, func(d Dest) bool { return d.kind != isAddress })
}

// isDirect reports whether o leads some request to an egress that is direct.
func (s *Set) isDirect(o *outcome) bool {
	if o.rule != nil && o.rule.onionsOnly() {
		return false
	}
	return slices.ContainsFunc(o.via, func(name string) bool { return s.kinds[name] == Direct })
}

func (s *Set) proveDirect() string {
	var by []string
	for i := range s.outcomes {
		if o := &s.outcomes[i]; s.isDirect(o) {
			text := o.where
			if o.first != Direct {
				text += " (if the egresses before it fail)"
			}
			by = append(by, text)
		}
	}
	if len(by) == 0 {
		return "nothing connects from this host itself"
	}
	return "this host itself connects by " + some(by, "and") + ", and by nothing else"
}

func (s *Set) proveEnd() string {
	o := &s.outcomes[len(s.outcomes)-1]
	if len(o.via) == 0 {
		return "requests that no rule matches are refused"
	}
	text := fmt.Sprintf("requests that no rule matches go via %s (%s)", strings.Join(o.via, ", then "), o.where)
	if len(o.onion) == 0 {
		text += ", but for .onion names, which are refused"
	}
	return text
}
