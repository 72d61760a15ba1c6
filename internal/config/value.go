package config

import (
	"errors"
	"io/fs"
	"math"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"hosier/internal/rules"
)

// A key of the file is a name and what its value is.
type key struct {
	name string
	field
}

// field reads a value and shows it. Mistakes are reported to the reader; the target then
// keeps its value. Mistakes are told to the reader; the target then stays as it was.
type field struct {
	read func(*node)

	// show returns the value in force as in the file, without quotes and brackets; "" for
	// a key that is unset. It shows no password. Tables have none.
	show func() string
}

// places are the positions of a table's keys.
type places map[string]rules.Pos

// read reads a table by its keys, in their order. What names the table in messages. What
// is the place of the table for people.
func (r *reader) read(n *node, what string, keys []key) places {
	at := places{}
	if !r.is(n, aTable, "") {
		return at
	}
	known := make([]string, len(keys))
	for i, k := range keys {
		known[i] = k.name
		for _, e := range n.entries {
			if e.name == k.name {
				at[k.name] = e.at
				k.read(e.value)
			}
		}
	}
	for _, e := range n.entries {
		if !slices.Contains(known, e.name) {
			r.fail(e.at, "unknown key %s %s%s", shownKey(e.name), what, r.suggest(e.name, what, known))
		}
	}
	return at
}

// suggest returns what an unknown key may have meant.
func (r *reader) suggest(name, what string, known []string) string {
	switch {
	case what == inLimits && name == "conns":
		return "; connections in all are max-conns, at the top of the file"
	case what == inTop && (name == "rules" || name == "rule"):
		return "; a rule begins with [[rule]]"
	}
	if hint := didYouMean(name, known); hint != "" {
		return hint
	}
	if what != inTop && slices.Contains(topKeys(), name) {
		return "; it belongs at the top of the file, before the first ["
	}
	if what == inTop {
		return "; hosier.toml(5) lists the keys"
	}
	return "; the keys are " + strings.Join(known, ", ")
}

// is reports whether n is of a kind, and reports a mistake with the fix if not.
func (r *reader) is(n *node, k kind, fix string) bool {
	if n.kind == k {
		return true
	}
	if fix != "" {
		fix = "; write " + fix
	}
	r.fail(n.at, "expected %s, found %s%s", k, n.kind, fix)
	return false
}

// path reads the name of a file; "" is none.
func (r *reader) path(to *string) field {
	return textField(to, func(n *node) {
		if !r.is(n, aText, `a file's name, such as "/etc/hosier/users"`) {
			return
		}
		*to = r.within(n.text)
		if *to == "" || r.options.Readable == nil {
			return
		}
		err := r.options.Readable(*to)
		if bad := (*fs.PathError)(nil); errors.As(err, &bad) {
			err = bad.Err // its path could be a URL in the wrong place
		}
		if err != nil {
			r.unreadable[*to] = true
			r.fail(n.at, "%s cannot be read: %v", shown(*to), err)
		}
	})
}

// directory reads the name of a directory, which need not exist.
func (r *reader) directory(to *string) field {
	return textField(to, func(n *node) {
		if r.is(n, aText, `a directory's name, such as "/var/lib/hosier"`) {
			*to = r.within(n.text)
		}
	})
}

func textField(of *string, read func(*node)) field {
	return field{read, func() string { return *of }}
}

// within resolves a relative name against the file's directory.
func (r *reader) within(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(r.file), name)
}

func (r *reader) boolean(to *bool) field {
	return field{func(n *node) {
		if b, err := strconv.ParseBool(n.text); err == nil && n.fromFlag {
			*to = b
		} else if r.is(n, aBool, "true or false, without quotes") {
			*to = n.text == "true"
		}
	}, func() string { return strconv.FormatBool(*to) }}
}

// either reads one of two words, of which yes stands for true.
func (r *reader) either(to *bool, no, yes string) field {
	return field{r.word([]string{no, yes}, func(w string) { *to = w == yes }), func() string {
		if *to {
			return yes
		}
		return no
	}}
}

// number reads an integer from 0.
func (r *reader) number(to *int) field {
	return field{func(n *node) {
		if !n.fromFlag && !r.is(n, aNumber, "it without quotes, such as 100") {
			return
		}
		v, err := strconv.ParseInt(n.text, 0, 64)
		if err != nil || v < 0 || v > math.MaxInt32 {
			r.fail(n.at, "%s is not a number from 0 to %d", shown(n.text), math.MaxInt32)
			return
		}
		*to = int(v)
	}, func() string { return strconv.Itoa(*to) }}
}

func (r *reader) duration(to *time.Duration) field {
	return field{func(n *node) {
		if !r.is(n, aText, `a duration with its unit, in quotes, such as "30s", "5m" or "1h30m"`) {
			return
		}
		d, err := time.ParseDuration(n.text)
		switch {
		case err != nil:
			r.fail(n.at, `%s is not a duration; write one with its unit, such as "30s", "5m" or "1h30m"`, shown(n.text))
		case d < 0:
			r.fail(n.at, "%s: a duration cannot be negative", shown(n.text))
		default:
			*to = d
		}
	}, func() string { return durationText(*to) }}
}

// wait reads a timeout that cannot be 0, which for other timeouts means never.
func (r *reader) wait(to *time.Duration) field {
	any := r.duration(to)
	return field{func(n *node) {
		before := *to
		if any.read(n); *to == 0 {
			*to = before
			r.fail(n.at, "%s: there is no waiting for no time, and none for ever; write a time above 0s, or leave it out", shown(n.text))
		}
	}, any.show}
}

// durationText formats d without units that are zero.
func durationText(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"0s", "0m"} {
		if rest := strings.TrimSuffix(text, zero); strings.HasSuffix(rest, "h") || strings.HasSuffix(rest, "m") {
			text = rest
		}
	}
	return text
}

// units are those of sizes, in bytes, the largest first.
var units = []struct {
	name  string
	bytes int64
}{{"GiB", 1 << 30}, {"GB", 1e9}, {"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"kB", 1e3}, {"B", 1}}

// unitOf returns the unit of a name in any case; 0 if there is none.
func unitOf(name string) int64 {
	for _, u := range units {
		if strings.EqualFold(u.name, name) {
			return u.bytes
		}
	}
	return 0
}

func sizeText(bytes int64) string {
	for _, u := range units {
		if n := bytes / u.bytes; n > 0 && n*u.bytes == bytes {
			return strconv.FormatInt(n, 10) + u.name
		}
	}
	return "0B"
}

func (r *reader) size(to *int64) field {
	return field{func(n *node) {
		if !r.is(n, aText, `a size with its unit, in quotes, such as "500kB", "2MB" or "1MiB"`) {
			return
		}
		digits := strings.TrimRight(n.text, "BKMGIbkmgi ")
		unit := unitOf(strings.TrimSpace(n.text[len(digits):]))
		v, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || v < 0 || unit == 0 || v > math.MaxInt64/unit {
			r.fail(n.at, `%s is not a size; write a whole number with its unit (B, kB, MB, GB, KiB, MiB, GiB), such as "2MB"`, shown(n.text))
			return
		}
		*to = v * unit
	}, func() string { return sizeText(*to) }}
}

// word reads one of some words.
func (r *reader) word(words []string, set func(string)) func(*node) {
	return func(n *node) {
		if !r.is(n, aText, "one of "+strings.Join(words, ", ")+", in quotes") {
			return
		}
		if !slices.Contains(words, n.text) {
			r.fail(n.at, "%s is not one of %s%s", shown(n.text), strings.Join(words, ", "), didYouMean(n.text, words))
			return
		}
		set(n.text)
	}
}

// list reads one value or a list of them, each once, at least one.
func (r *reader) list(one func(*node)) func(*node) {
	return func(n *node) {
		if n.kind != aList {
			one(n)
			return
		}
		if len(n.items) == 0 {
			r.fail(n.at, "the list is empty; add a value or remove the key")
		}
		type value struct {
			kind kind
			text string
		}
		seen := map[value]bool{}
		for _, item := range n.items {
			v := value{item.kind, item.text}
			if item.kind != aList && item.kind != aTable && seen[v] {
				r.fail(item.at, "%s is in the list twice; remove one", shown(item.text))
				continue
			}
			seen[v] = true
			one(item)
		}
	}
}

// listOf reads a list, in which parse understands each text, and text is its way back.
func listOf[T any](r *reader, to *[]T, example string, parse func(string) (T, error), text func(T) string) field {
	return field{func(n *node) {
		var all []T
		r.list(func(n *node) {
			if !r.is(n, aText, strconv.Quote(example)) {
				return
			}
			v, err := parse(n.text)
			if err != nil {
				r.fail(n.at, "%s: %v", shown(n.text), err)
			}
			all = append(all, v) // in any case: a list that was not meant to be empty is not
		})(n)
		*to = all
	}, func() string { return joined(*to, text) }}
}

// joined formats a list.
func joined[T any](list []T, text func(T) string) string {
	all := make([]string, len(list))
	for i, v := range list {
		all[i] = text(v)
	}
	return strings.Join(all, ", ")
}

func itself(s string) string { return s }

func (r *reader) prefixes(to *[]netip.Prefix) field {
	return listOf(r, to, "192.168.1.0/24", rules.ParsePrefix, func(p netip.Prefix) string {
		if p.IsSingleIP() {
			return p.Addr().String()
		}
		return p.String()
	})
}

// words reads a list of words out of some.
func (r *reader) words(to *[]string, words []string) field {
	return field{func(n *node) {
		var all []string
		r.list(r.word(words, func(w string) { all = append(all, w) }))(n)
		*to = all
	}, func() string { return joined(*to, itself) }}
}
