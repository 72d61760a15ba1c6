package config

import (
	"errors"
	"slices"
	"strings"

	"hosier/internal/rules"
	"hosier/socks"
)

// rule is a [[rule]] whose names are not resolved yet.
type rule struct {
	rules.Rule
	via       []ref
	listeners []ref
	places    places
	broken    bool // its conditions have mistakes
}

// command is a request's command and its word.
type command struct {
	word    string
	command socks.Command
}

var commands = []command{
	{"connect", socks.Connect},
	{"bind", socks.Bind},
	{"associate", socks.Associate},
	{"resolve", socks.Resolve},
	{"resolve-ptr", socks.ResolvePTR},
}

func (r *reader) rule(n *node) *rule {
	u := &rule{}
	before := len(r.errors)
	u.At = n.at
	u.places = r.read(n, inRule, r.ruleKeys(u))
	u.broken = len(r.errors) > before
	_, via := u.places["via"]
	_, refuse := u.places["refuse"]
	switch {
	case via && refuse:
		r.fail(u.places["refuse"], "a rule has via or refuse, not both; remove one")
	case !via && !refuse && n.kind == aTable:
		r.fail(n.at, `this rule has no action; write via = "tor" or another egress, or refuse = true`)
	}
	return u
}

func (r *reader) ruleKeys(u *rule) []key {
	return []key{
		{"client", r.prefixes(&u.Clients)},
		{"user", listOf(r, &u.Users, "alice", func(s string) (string, error) {
			if s == "" {
				return "", errors.New("a user has a name; leave user out for all, or write the names")
			}
			return s, nil
		}, itself)},
		{"listener", field{r.list(func(n *node) {
			if r.is(n, aText, `the name of one, such as "lan"`) {
				u.Listeners = append(u.Listeners, n.text)
				u.listeners = append(u.listeners, ref{n.text, n.at})
			}
		}), func() string { return joined(u.Listeners, itself) }}},
		{"command", r.commands(&u.Commands)},
		{"to", listOf(r, &u.To, ".example.org", rules.ParseDest, rules.Dest.String)},
		{"port", r.ports(&u.Ports)},
		{"via", r.refs(&u.via)},
		{"refuse", r.refuse(u)},
	}
}

func (r *reader) commands(to *[]socks.Command) field {
	words := make([]string, len(commands))
	for i, c := range commands {
		words[i] = c.word
	}
	one := r.word(words, func(w string) { *to = append(*to, commands[slices.Index(words, w)].command) })
	return field{r.list(one), func() string {
		return joined(*to, func(c socks.Command) string {
			return words[slices.IndexFunc(commands, func(known command) bool { return known.command == c })]
		})
	}}
}

// ports reads numbers, and ranges as strings.
func (r *reader) ports(to *[]rules.Ports) field {
	return field{r.list(func(n *node) {
		if n.kind != aNumber && !r.is(n, aText, `a port, such as 443, or a range in quotes: "8000-8999"`) {
			return
		}
		p, err := rules.ParsePorts(n.text)
		if err != nil {
			r.fail(n.at, "%s: %v", shown(n.text), err)
			return
		}
		*to = append(*to, p)
	}), func() string { return joined(*to, rules.Ports.String) }}
}

func (r *reader) refuse(u *rule) field {
	return field{func(n *node) {
		u.Refuse = true
		switch {
		case n.kind == aText:
			u.Reason = n.text
		case n.kind != aBool:
			r.fail(n.at, `write refuse = true, or refuse = "why, for the log"; this is %s`, n.kind)
		case n.text == "false":
			r.fail(n.at, "refuse = false has no effect; remove it, and write via = \"EGRESS\"")
		}
	}, func() string {
		if u.Reason == "" && u.Refuse {
			return "true"
		}
		return u.Reason
	}}
}

// ruleSet builds the Set, and reports its mistakes.
func (r *reader) ruleSet(d *draft, a *egressIndex) *rules.Set {
	spec := rules.Spec{DefaultAt: d.places["via"], Egresses: a.kinds, Default: a.all(d.via)}
	if r.file == "" && d.saysNothing() {
		at := rules.Pos{File: "default"}
		d.via = []ref{{"direct", at}}
		spec.DefaultAt, spec.Default = at, a.all(d.via)
	}
	for _, u := range d.rules {
		u.Via = a.all(u.via)
		r.checkNames(d, u)
		if u.broken {
			continue // with only half of its conditions, this rule or others could be reported wrongly
		}
		if u.Refuse || len(u.Via) == 0 {
			u.Rule.Refuse, u.Rule.Via = true, nil // a mistake that was reported
		}
		spec.Rules = append(spec.Rules, u.Rule)
	}
	set, err := rules.New(spec)
	if err != nil {
		r.fail(r.pos(0), "%v", err)
		return nil
	}
	for _, p := range set.Problems() {
		r.fail(p.Rule.At, "%s", p.Text)
	}
	return set
}

// checkNames checks the listeners and users that a rule names.
func (r *reader) checkNames(d *draft, u *rule) {
	for _, one := range u.listeners {
		r.checkListenerName(d, u, one)
	}
	names, anybody, users := []string(nil), false, false
	for i := range d.config.Listeners {
		l := &d.config.Listeners[i]
		if !l.HasUsers() || len(u.Listeners) > 0 && !slices.Contains(u.Listeners, l.Name) {
			continue
		}
		users = true
		if l.PeerUsers || l.TLSClientCA != "" || len(r.users[l.Users]) == 0 {
			anybody = true // as far as the file knows
		}
		names = append(names, r.users[l.Users]...)
	}
	if len(u.Users) > 0 && !users && !u.broken {
		r.fail(u.places["user"], "this rule can never match: none of its listeners has users; "+
			"give one users, peer-users or tls-client-ca, or leave user out")
	}
	for _, name := range u.Users {
		if users && !anybody && !slices.Contains(names, name) {
			r.fail(u.places["user"], "there is no user %s%s in the file of users of any listener that this rule is about; "+
				"correct or remove it", shown(name), didYouMean(name, names))
		}
	}
}

func (r *reader) checkListenerName(d *draft, u *rule, one ref) {
	var names []string
	for _, l := range d.config.Listeners {
		if l.Name == one.text {
			return
		}
		if l.Address != "" {
			names = append(names, l.Name)
		}
	}
	u.broken = true
	r.fail(one.at, "there is no listener %s%s; write [listener.NAME] for it, or one of %s",
		shown(one.text), didYouMean(one.text, names), strings.Join(names, ", "))
}
