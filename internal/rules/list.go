package rules

import (
	"strings"

	"hosier/socks"
)

// Listed is a rule in words, or the default at the end.
type Listed struct {
	At      string   `json:"at"`   // file:line; "" for a default that nobody wrote
	If      []string `json:"if"`   // what must be so, a text each; empty for whatever request
	Then    string   `json:"then"` // "via a, then b", "refuse", or "refuse: " and the reason
	Hits    uint64   `json:"hits"` // requests that it decided, as far as Count was told
	Default bool     `json:"default"`
}

// List returns the rules in their order, and the default.
func (s *Set) List() []Listed {
	if len(s.outcomes) == 0 {
		return []Listed{{Then: "refuse", Default: true}}
	}
	all := make([]Listed, len(s.outcomes))
	for i := range s.outcomes {
		o := &s.outcomes[i]
		all[i] = Listed{At: o.where, Then: "via " + strings.Join(o.via, ", then "), Hits: s.hits[i].Load(), Default: o.rule == nil}
		switch {
		case o.rule != nil:
			all[i].If = o.rule.conditions()
			if o.rule.Refuse {
				all[i].Then = strings.TrimSuffix("refuse: "+o.rule.Reason, ": ")
			}
		case o.refusal != nil:
			all[i].At, all[i].Then = "", "refuse"
		}
	}
	return all
}

// Count counts a hit of the rule that decided. Call it only for a decision that is acted
// on, not for an explanation.
func (d *Decision) Count() {
	if d.set != nil && d.at < len(d.set.hits) { // a zero Set has none
		d.set.hits[d.at].Add(1)
	}
}

// conditions returns the conditions of r in words.
func (r *Rule) conditions() (all []string) {
	for _, c := range []struct {
		what string
		list []string
	}{
		{"client in ", texts(r.Clients, prefixText)},
		{"user ", r.Users},
		{"listener ", r.Listeners},
		{"command ", texts(r.Commands, socks.Command.String)},
		{"to ", texts(r.To, Dest.words)},
		{"port ", texts(r.Ports, Ports.String)},
	} {
		if len(c.list) > 0 {
			all = append(all, c.what+some(c.list, "or"))
		}
	}
	return all
}

// words returns d in words.
func (d Dest) words() string {
	switch d.kind {
	case isAnyName:
		return "any name"
	case isSuffix:
		return d.name + " and all below it"
	}
	return d.String()
}
