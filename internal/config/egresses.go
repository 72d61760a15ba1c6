package config

import (
	"fmt"
	"slices"

	"hosier/internal/rules"
	"hosier/internal/via"
)

// ref names an egress: by the NAME of an [egress.NAME], or by a URL or word.
type ref struct {
	text string
	at   rules.Pos
}

// egressTable is an [egress.NAME].
type egressTable struct {
	name      string
	at        rules.Pos
	via       []ref
	isolation *Isolation
	torrc     string
	places    places

	visited bool     // being resolved: a ref back to it is a circle
	done    bool     // leaves is valid
	leaves  []string // names of Egresses; empty after a mistake
}

// refs reads one egress or a list of them.
func (r *reader) refs(to *[]ref) field {
	return field{func(n *node) {
		*to = nil
		r.list(func(n *node) {
			if r.is(n, aText, `an egress in quotes, such as "tor", or a list of them`) {
				*to = append(*to, ref{n.text, n.at})
			}
		})(n)
	}, func() string { return joined(*to, func(one ref) string { return via.Redact(one.text) }) }}
}

// egressIndex resolves refs.
type egressIndex struct {
	*reader
	draft *draft
	kinds map[string]rules.Kind
	named map[string]*egressTable
	texts map[string]string // names given to egresses that were written in place of a name
}

func (r *reader) newEgressIndex(d *draft) *egressIndex {
	a := &egressIndex{reader: r, draft: d, kinds: map[string]rules.Kind{}, named: map[string]*egressTable{}, texts: map[string]string{}}
	for _, w := range d.egresses {
		a.named[w.name] = w
	}
	for _, w := range d.egresses {
		a.leaves(w)
	}
	return a
}

// leaves returns the names of the egresses that w stands for.
func (a *egressIndex) leaves(w *egressTable) []string {
	if w.done {
		return w.leaves
	}
	w.visited = true
	if len(w.via) == 0 {
		w.done = true // a mistake that was reported
	} else if len(w.via) == 1 && a.named[w.via[0].text] == nil {
		w.leaves = a.leaf(w)
	} else {
		a.onlyTor(w, "a list of egresses")
		w.leaves = a.all(w.via)
	}
	w.done = true
	return w.leaves
}

// all returns the names of the egresses that the refs stand for, each once; none after a
// mistake.
func (a *egressIndex) all(refs []ref) (names []string) {
	good := true
	for _, one := range refs {
		found := a.find(one)
		good = good && len(found) > 0
		for _, name := range found {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	if !good {
		return nil
	}
	return names
}

// find returns the names of the egresses that a ref stands for.
func (a *egressIndex) find(one ref) []string {
	w := a.named[one.text]
	switch {
	case w != nil && w.visited && !w.done:
		a.fail(one.at, "%s refers to itself, directly or through others; name an egress that does not", one.text)
		return nil
	case w != nil:
		return a.leaves(w)
	case a.texts[one.text] != "":
		return []string{a.texts[one.text]}
	}
	e := a.parse(one)
	if e.Kind() == 0 {
		return nil
	}
	name := a.newName(via.Redact(one.text))
	a.texts[one.text] = name
	a.add(Egress{Name: name, At: one.at, Via: e})
	return []string{name}
}

// newName distinguishes proxies that differ only in what is not shown.
func (a *egressIndex) newName(name string) string {
	unique := name
	for i := 2; a.kinds[unique] != 0; i++ {
		unique = fmt.Sprintf("%s#%d", name, i)
	}
	return unique
}

// leaf returns w's own name if it is one egress, and adds it.
func (a *egressIndex) leaf(w *egressTable) []string {
	parsed := a.parse(w.via[0])
	if parsed.Kind() == 0 {
		return nil
	}
	e := Egress{Name: w.name, At: w.at, Via: parsed, Torrc: w.torrc}
	if w.isolation != nil {
		e.Isolation = *w.isolation
	}
	if parsed.Kind() != rules.Tor {
		a.onlyTor(w, "this egress")
	} else if w.torrc != "" && !spawns(parsed) {
		a.fail(w.places["torrc"], "a torrc is for a tor that hosier starts: via = \"tor+spawn://\"; this tor has its own")
	}
	a.add(e)
	return []string{w.name}
}

// onlyTor refuses the keys that only Tor has.
func (a *egressIndex) onlyTor(w *egressTable, what string) {
	for _, key := range []string{"isolate", "no-isolate", "torrc"} {
		if at, ok := w.places[key]; ok {
			a.fail(at, "%s applies to Tor only, and %s is not Tor; move it to the [egress.NAME] that is, or remove it", key, what)
		}
	}
}

// add adds an egress, with the defaults of the top of the file.
func (a *egressIndex) add(e Egress) {
	w := a.named[e.Name]
	if e.Via.Kind() == rules.Tor && (w == nil || w.isolation == nil) && a.draft.isolation != nil {
		e.Isolation = *a.draft.isolation
	}
	if spawns(e.Via) && e.Torrc == "" {
		e.Torrc = a.draft.torrc
	}
	a.kinds[e.Name] = e.Via.Kind()
	a.draft.config.Egresses = append(a.draft.config.Egresses, e)
}

// parse reads an egress that is not a name; it returns the zero Egress after a mistake.
func (a *egressIndex) parse(one ref) via.Egress {
	if isName(one.text) && one.text != "direct" && one.text != "tor" {
		names := []string{"direct", "tor"}
		for name := range a.named {
			names = append(names, name)
		}
		slices.Sort(names)
		a.fail(one.at, "there is no egress %s%s; write [egress.%[1]s] for it, or direct, tor or a URL", one.text, didYouMean(one.text, names))
		return via.Egress{}
	}
	e, err := via.Parse(one.text)
	if err != nil {
		a.fail(one.at, "not an egress: %v", err)
	}
	return e
}

func spawns(e via.Egress) bool { return e.Tor().Daemons > 0 }
