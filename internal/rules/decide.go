package rules

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"hosier/socks"
)

// Decision is what a Set decides about a request. Its Via must not be changed.
type Decision struct {
	Rule  *Rule    // the rule that decided; nil for the default
	Where string   // the same for logs: file:line
	Via   []string // egresses in the order to try them; empty with Err
	Err   error    // the refusal, wrapping the socks.Status of the reply

	set      *Set
	at       int // index in outcomes
	listener string
	request  *socks.Request
}

// Decide decides r, which came in on the named listener. The Decision keeps r for
// [Decision.Judge].
func (s *Set) Decide(listener string, r *socks.Request) Decision {
	d := Decision{set: s, listener: listener, request: r}
	if len(s.outcomes) == 0 {
		d.Where = "no rule"
		d.Err = &Refusal{Text: "there are no rules and no egresses"}
		return d
	}
	q := newQuery(listener, r)
	d.at = s.index.first(&q)
	o := &s.outcomes[d.at]
	d.Rule, d.Where, d.Via, d.Err = o.rule, o.where, o.via, o.refusal
	if o.refusal == nil && len(o.onion) < len(o.via) && r.Addr.IsOnion() {
		d.Via = o.onion
		if len(d.Via) == 0 {
			d.Err = refuseOnion(o.where, r.Addr)
		}
	}
	return d
}

// refuseOnion returns the error of an egress that is not Tor.
func refuseOnion(where string, a socks.Addr) error {
	if err := a.CheckOnion(); err != nil {
		return fmt.Errorf("refused by %s: %w", where, err)
	}
	return fmt.Errorf("refused by %s: it has no egress through Tor, which .onion names need: %w", where, socks.HostUnreachable)
}

// Judge judges an address that a [Direct] egress has found, before it is connected to or
// returned as an answer. A rule above the one that decided may name that address: then
// that rule applies, and if it refuses the address or sends it elsewhere, the request is
// refused, since a name that this host has looked up cannot go another way. The error
// wraps socks.NotAllowed.
//
// Explicit reports whether a rule that names addresses would send this client to this
// address, had it asked for the address itself. If not, clients of other hosts must not
// reach it unless it is public. A prefix of all addresses (/0) names none.
func (d *Decision) Judge(ip netip.Addr) (explicit bool, err error) {
	switch {
	case d.Err != nil:
		return false, d.Err
	case d.set == nil:
		return false, socks.NotAllowed
	}
	q := newQuery(d.listener, d.request)
	q.name, q.ip = "", plain(ip)
	at := d.set.index.first(&q)
	o := &d.set.outcomes[at]
	if at < d.at {
		switch {
		case o.refusal != nil:
			return false, fmt.Errorf("the address that the name led to is %w", o.refusal)
		case o.first != Direct:
			return false, &Refusal{Text: fmt.Sprintf("the name led to an address that %s sends via %s, but %s had it looked up on this host: "+
				"to send such names there, put a rule that names them before %[3]s", o.where, o.via[0], d.Where)}
		}
	}
	return o.first == Direct && slices.ContainsFunc(o.addresses, func(p netip.Prefix) bool {
		return p.Bits() > 0 && p.Contains(q.ip)
	}), nil
}

// query is a request in the form that rules compare.
type query struct {
	listener, user string
	client         netip.Addr
	command        socks.Command
	port           uint16
	name           string // normalized
	ip             netip.Addr
}

func newQuery(listener string, r *socks.Request) query {
	return query{
		listener: listener, user: r.User, client: plain(r.Client.Addr()),
		command: r.Command, port: r.Addr.Port,
		name: normal(r.Addr.Name), ip: plain(r.Addr.IP),
	}
}

// plain returns an address in the form that prefixes contain: without a zone, IPv4-mapped
// as IPv4.
func plain(ip netip.Addr) netip.Addr { return ip.Unmap().WithZone("") }

// matches reports whether r matches, regardless of the destination.
func (r *Rule) matches(q *query) bool {
	return (len(r.Listeners) == 0 || slices.Contains(r.Listeners, q.listener)) &&
		(len(r.Clients) == 0 || containsPrefix(r.Clients, q.client)) &&
		(len(r.Users) == 0 || q.user != "" && slices.Contains(r.Users, q.user)) &&
		(len(r.Commands) == 0 || slices.Contains(r.Commands, q.command)) &&
		(len(r.Ports) == 0 || hasPort(q.command) && slices.ContainsFunc(r.Ports, func(p Ports) bool { return p.contains(q.port) }))
}

// index finds the rules that may match a destination without looking at all others. Its
// lists hold indices of rules, in order. Each list has places in rules, in order.
type index struct {
	rules  []Rule
	exact  map[string][]int // by name
	suffix map[string][]int // by suffix
	names  []int            // rules that match every name
	all    []int            // rules that match every destination
	ips    []entry          // prefixes of rules
}

// entry is an address prefix of a rule.
type entry struct {
	prefix netip.Prefix
	at     int
}

func newIndex(all []Rule) index {
	x := index{rules: all, exact: map[string][]int{}, suffix: map[string][]int{}}
	for i := range all {
		if len(all[i].To) == 0 {
			x.all = append(x.all, i)
			continue
		}
		for _, d := range all[i].To {
			switch d.kind {
			case isName:
				x.exact[d.name] = append(x.exact[d.name], i)
			case isSuffix:
				x.suffix[d.name] = append(x.suffix[d.name], i)
			case isAnyName:
				x.names = append(x.names, i)
			case isAddress:
				x.ips = append(x.ips, entry{d.prefix, i})
			}
		}
	}
	return x
}

// first returns the index of the first rule that matches, or the number of rules.
func (x *index) first(q *query) int {
	best := x.in(x.all, q, len(x.rules))
	if q.name != "" {
		best = x.in(x.names, q, best)
		best = x.in(x.exact[q.name], q, best)
		for below := range parents(q.name) {
			best = x.in(x.suffix[below], q, best)
		}
	}
	if !q.ip.IsValid() {
		return best
	}
	for _, e := range x.ips {
		if e.at >= best {
			break
		}
		if e.prefix.Contains(q.ip) && x.rules[e.at].matches(q) {
			return e.at
		}
	}
	return best
}

// in returns the first of the list that matches, if it is before best.
func (x *index) in(list []int, q *query, best int) int {
	for _, i := range list {
		if i >= best {
			break
		}
		if x.rules[i].matches(q) {
			return i
		}
	}
	return best
}

// parents yields a name and its parent domains.
func parents(name string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for {
			if !yield(name) {
				return
			}
			i := strings.IndexByte(name, '.')
			if i < 0 {
				return
			}
			name = name[i+1:]
		}
	}
}
