package config

import (
	"strconv"

	"hosier/internal/rules"
)

// Setting is a key with its value in force.
type Setting struct {
	// Key is as hosier.toml(5) has it, with the tables that lead to it: "via", "log.format",
	// "listener.lan.users", "rule.2.to" of the second rule. A table that there is none of,
	// such as "egress", is there as well.
	Key string `json:"key"`

	// Value is as the file would have it, but for quotes, and for what stands before the @ of
	// a proxy's URL; "" for what the file would have to leave out. A list has commas.
	Value string `json:"value"`

	// At is file:line, or the flag. A key that a listener or an egress does not set
	// itself may come from the top of the file. It is "" for a default.
	At string `json:"at"`
}

// lister collects the settings of a draft.
type lister struct {
	*reader
	draft *draft
	all   []Setting
}

// settings returns all keys, those of tables after the others.
func (r *reader) settings(d *draft) []Setting {
	l, c := &lister{reader: r, draft: d}, &d.config
	for _, k := range r.top(d) {
		if k.show != nil {
			l.add("", k, d.places)
		}
	}
	l.table("log.", r.log(&c.Log), d.log)
	l.table("limits.", r.limits(&c.Limits), d.limits)
	for _, w := range d.egresses {
		l.egress(w)
	}
	l.none("egress", len(d.egresses))
	own := c.Listeners[len(d.listen):]
	for i := range own {
		l.listener(&own[i])
	}
	l.none("listener", len(own))
	for i, u := range d.rules {
		l.table("rule."+strconv.Itoa(i+1)+".", r.ruleKeys(u), u.places)
	}
	l.none("rule", len(d.rules))
	return l.all
}

// add adds a key, at the first of the places that has it. Of its places, the first that
// has it counts.
func (l *lister) add(table string, k key, where ...places) {
	s := Setting{Key: table + k.name, Value: k.show()}
	for _, at := range where {
		if pos, ok := at[k.name]; ok {
			s.At = pos.String()
			break
		}
	}
	l.all = append(l.all, s)
}

func (l *lister) table(name string, keys []key, at places) {
	for _, k := range keys {
		l.add(name, k, at)
	}
}

// none adds the key of a table that is missing.
func (l *lister) none(name string, n int) {
	if n == 0 {
		l.all = append(l.all, Setting{Key: name})
	}
}

// listener adds a listener, with what it takes from the top of the file.
func (l *lister) listener(one *Listener) {
	table, own := "listener."+one.Name+".", len(l.listenerKeys(one))-len(l.policy(&one.Policy))
	for i, k := range l.listenerKeys(one) {
		if i < own {
			l.add(table, k, one.places)
		} else {
			l.add(table, k, one.places, l.draft.places)
		}
	}
}

// egress adds an egress, with what its kind takes from the top.
func (l *lister) egress(w *egressTable) {
	shown := egressTable{via: w.via}
	for _, e := range l.draft.config.Egresses {
		if e.Name == w.name && e.Via.Kind() == rules.Tor {
			shown.torrc, shown.isolation = e.Torrc, &e.Isolation
		}
	}
	for _, k := range l.egressKeys(&shown) {
		where := []places{w.places}
		if k.name != "via" && k.show() != "" {
			where = append(where, l.draft.places)
		}
		l.add("egress."+w.name+".", k, where...)
	}
}
