package rules

import (
	"fmt"
	"slices"
	"strings"

	"hosier/socks"
)

// Explain returns the steps to the decision for a person, a line each: the rules that did
// not match and why, the one that did, and where the name would be looked up. If hidden
// is not "", it replaces the client and the target.
func (d *Decision) Explain(hidden string) []string {
	s := d.set
	if len(s.outcomes) == 0 {
		return []string{d.Err.Error()}
	}
	q := redacted{newQuery(d.listener, d.request), hidden}
	var trail []string
	for i := range d.at {
		o := &s.outcomes[i]
		trail = append(trail, fmt.Sprintf("%s: no match: %s", o.where, o.rule.mismatch(&q)))
	}
	trail = append(trail, s.verdict(d))
	if d.Err == nil {
		trail = append(trail, s.lookup(d)...)
	}
	return trail
}

// verdict describes the rule that decided, and its decision.
func (s *Set) verdict(d *Decision) string {
	o := &s.outcomes[d.at]
	var text string
	switch {
	case o.rule != nil:
		text = o.where + ": matches: "
	case len(o.via) > 0:
		text = o.where + ": no rule matched; default: "
	}
	if d.Err != nil {
		return text + d.Err.Error()
	}
	text += "via " + strings.Join(d.Via, ", then ")
	if len(d.Via) < len(o.via) {
		text += " (the others are not Tor, and get no .onion name)"
	}
	return text
}

// lookup describes where the name is looked up.
func (s *Set) lookup(d *Decision) (lines []string) {
	a := d.request.Addr
	for _, name := range d.Via {
		switch kind := s.kinds[name]; {
		case a.Name == "" && d.request.Command == socks.ResolvePTR && kind == Direct:
			lines = append(lines, name+": this host asks for the name of the address")
		case a.Name == "":
			continue
		case kind == Direct:
			lines = append(lines, name+": this host looks the name up"+s.judges(d.at))
		case a.IsOnion():
			lines = append(lines, name+": Tor finds the onion service; there is no lookup")
		case kind == Tor:
			lines = append(lines, name+": the name travels through Tor and is looked up at the exit")
		default:
			lines = append(lines, name+": the name is sent to the proxy, which looks it up")
		}
	}
	return lines
}

// judges names the rules above at that may still refuse an address of the name.
func (s *Set) judges(at int) string {
	var above []string
	for _, o := range s.outcomes[:at] {
		if len(o.addresses) > 0 {
			above = append(above, o.where)
		}
	}
	if len(above) == 0 {
		return ""
	}
	return ", and asks " + some(above, "and") + " about each address found"
}

// redacted is a query that may have to be hidden.
type redacted struct {
	query
	hidden string // in the place of the client and the target; "" shows them
}

func (q *redacted) show(what any) string {
	if q.hidden != "" {
		return q.hidden
	}
	return fmt.Sprint(what)
}

// mismatch returns the first reason why r does not match.
func (r *Rule) mismatch(q *redacted) string {
	one := func(one Rule) bool { return !one.matches(&q.query) }
	switch {
	case one(Rule{Listeners: r.Listeners}):
		return fmt.Sprintf("listener %s is not %s", q.listener, some(r.Listeners, "or"))
	case one(Rule{Clients: r.Clients}) && !q.client.IsValid():
		return "a client on a Unix socket has no address"
	case one(Rule{Clients: r.Clients}):
		return fmt.Sprintf("client %s is not in %s", q.show(q.client), some(texts(r.Clients, prefixText), "or"))
	case one(Rule{Users: r.Users}) && q.user == "":
		return fmt.Sprintf("the client is not authenticated as %s", some(r.Users, "or"))
	case one(Rule{Users: r.Users}):
		return fmt.Sprintf("user %s is not %s", q.user, some(r.Users, "or"))
	case one(Rule{Commands: r.Commands}):
		return fmt.Sprintf("command %v is not %s", q.command, some(texts(r.Commands, socks.Command.String), "or"))
	case one(Rule{Ports: r.Ports}) && !hasPort(q.command):
		return fmt.Sprintf("%v has no port", q.command)
	case one(Rule{Ports: r.Ports}):
		return fmt.Sprintf("port %s is not %s", q.show(q.port), some(texts(r.Ports, Ports.String), "or"))
	}
	return r.elsewhere(q)
}

// elsewhere returns why the destination does not match r.
func (r *Rule) elsewhere(q *redacted) string {
	list := some(texts(r.To, Dest.String), "or")
	isIP := func(d Dest) bool { return d.kind == isAddress }
	switch {
	case q.name == "" && !q.ip.IsValid():
		return "the request names no destination"
	case q.name == "" && !slices.ContainsFunc(r.To, isIP):
		return fmt.Sprintf("%s is an address, and %s is about names", q.show(q.ip), list)
	case q.name == "":
		return fmt.Sprintf("%s is not in %s", q.show(q.ip), list)
	case !slices.ContainsFunc(r.To, func(d Dest) bool { return !isIP(d) }):
		return fmt.Sprintf("%s is a name, and is not looked up to compare it with %s", q.show(q.name), list)
	}
	return fmt.Sprintf("%s is not %s", q.show(q.name), list)
}

func texts[T any](list []T, text func(T) string) []string {
	all := make([]string, len(list))
	for i, x := range list {
		all[i] = text(x)
	}
	return all
}

// some joins a list, and shortens a long one.
func some(list []string, word string) string {
	const most = 4
	if n := len(list); n > most+1 {
		return strings.Join(list[:most], ", ") + fmt.Sprintf(" %s one of %d others", word, n-most)
	} else if n > 1 {
		return strings.Join(list[:n-1], ", ") + " " + word + " " + list[n-1]
	}
	return strings.Join(list, "")
}
