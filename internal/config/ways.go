package config

import (
	"fmt"
	"slices"

	"hosier/internal/rules"
	"hosier/internal/via"
)

// ref is a way out where it is named: a name of [egress.NAME], or the way out itself.
type ref struct {
	text string
	at   rules.Pos
}

// way is [egress.NAME].
type way struct {
	name      string
	at        rules.Pos
	via       []ref
	isolation *Isolation
	torrc     string
	places    places

	visited bool     // a way that leads back to one that is being resolved is a circle
	done    bool     // leaves are known
	leaves  []string // names of Egresses; empty after a mistake
}

// refs reads one way out or a list of them.
func (r *reader) refs(to *[]ref) field {
	return field{func(n *node) {
		*to = nil
		r.list(func(n *node) {
			if r.is(n, aText, `a way out in quotes, such as "tor", or a list of them`) {
				*to = append(*to, ref{n.text, n.at})
			}
		})(n)
	}, func() string { return joined(*to, func(one ref) string { return via.Redact(one.text) }) }}
}

// atlas finds ways out by what names them.
type atlas struct {
	*reader
	draft *draft
	kinds map[string]rules.Kind
	named map[string]*way
	texts map[string]string // what is written in the place of a name, to the name it got
}

func (r *reader) newAtlas(d *draft) *atlas {
	a := &atlas{reader: r, draft: d, kinds: map[string]rules.Kind{}, named: map[string]*way{}, texts: map[string]string{}}
	for _, w := range d.egresses {
		a.named[w.name] = w
	}
	for _, w := range d.egresses {
		a.leaves(w)
	}
	return a
}

// leaves returns the names of the ways out that w comes to.
func (a *atlas) leaves(w *way) []string {
	if w.done {
		return w.leaves
	}
	w.visited = true
	if len(w.via) == 0 {
		w.done = true // a mistake that was told
	} else if len(w.via) == 1 && a.named[w.via[0].text] == nil {
		w.leaves = a.leaf(w)
	} else {
		a.onlyTor(w, "a list of ways out")
		w.leaves = a.all(w.via)
	}
	w.done = true
	return w.leaves
}

// all returns the names of the ways out that the refs come to, each once; none after a mistake.
func (a *atlas) all(refs []ref) (names []string) {
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

// find returns the names of the ways out that one ref comes to.
func (a *atlas) find(one ref) []string {
	w := a.named[one.text]
	switch {
	case w != nil && w.visited && !w.done:
		a.fail(one.at, "%s leads in a circle: it comes back to itself; name a way out that ends", one.text)
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

// newName keeps two proxies apart that differ only in what is not shown.
func (a *atlas) newName(name string) string {
	unique := name
	for i := 2; a.kinds[unique] != 0; i++ {
		unique = fmt.Sprintf("%s#%d", name, i)
	}
	return unique
}

// leaf is the way out that [egress.NAME] is itself.
func (a *atlas) leaf(w *way) []string {
	parsed := a.parse(w.via[0])
	if parsed.Kind() == 0 {
		return nil
	}
	e := Egress{Name: w.name, At: w.at, Via: parsed, Torrc: w.torrc}
	if w.isolation != nil {
		e.Isolation = *w.isolation
	}
	if parsed.Kind() != rules.Tor {
		a.onlyTor(w, "this way out")
	} else if w.torrc != "" && !spawns(parsed) {
		a.fail(w.places["torrc"], "a torrc is for the tor that hosier starts: via = \"tor+spawn://\"; this one has its own")
	}
	a.add(e)
	return []string{w.name}
}

// onlyTor refuses the keys that only Tor has.
func (a *atlas) onlyTor(w *way, what string) {
	for _, key := range []string{"isolate", "no-isolate", "torrc"} {
		if at, ok := w.places[key]; ok {
			a.fail(at, "%s is of Tor, and %s is not Tor; put it under the [egress.NAME] that is, or leave it out", key, what)
		}
	}
}

// add adds a way out, with what the top of the file says of all.
func (a *atlas) add(e Egress) {
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
func (a *atlas) parse(one ref) via.Egress {
	if isName(one.text) && one.text != "direct" && one.text != "tor" {
		names := []string{"direct", "tor"}
		for name := range a.named {
			names = append(names, name)
		}
		slices.Sort(names)
		a.fail(one.at, "there is no way out %s%s; write [egress.%[1]s] for it, or direct, tor or a URL", one.text, didYouMean(one.text, names))
		return via.Egress{}
	}
	e, err := via.Parse(one.text)
	if err != nil {
		a.fail(one.at, "this is no way out: %v", err)
	}
	return e
}

func spawns(e via.Egress) bool { return e.Tor().Daemons > 0 }
