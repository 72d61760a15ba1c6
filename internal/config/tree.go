package config

import (
	"bytes"
	"errors"
	"slices"
	"sort"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"hosier/internal/rules"
)

// node is a value of the file with its position.
type node struct {
	kind     kind
	at       rules.Pos
	text     string   // unless it is a table or a list
	items    []*node  // of a list
	entries  []*entry // of a table, in the order of the file
	open     bool     // a table that exists only as the parent of another
	byTables bool     // a list that is written as [[…]]
	fromFlag bool     // a string that may stand for any kind
}

// entry is a key of a table with its value. A duplicate key has two entries. A key that
// is there twice has two.
type entry struct {
	name  string
	at    rules.Pos
	value *node
}

type kind string

const (
	aText   kind = "a string"
	aNumber kind = "a whole number"
	aFloat  kind = "a number with a fraction"
	aBool   kind = "true or false"
	aDate   kind = "a date or time"
	aList   kind = "a list"
	aTable  kind = "a table"
)

// last returns the last entry of that name.
func (n *node) last(name string) *entry {
	for _, e := range slices.Backward(n.entries) {
		if e.name == name {
			return e
		}
	}
	return nil
}

// override replaces a value of the table by a flag.
func (n *node) override(f Flag) {
	at := rules.Pos{File: "--" + f.Key}
	list := &node{kind: aList, at: at}
	for _, text := range f.Values {
		list.items = append(list.items, &node{kind: aText, at: at, text: text, fromFlag: true})
	}
	value := list
	if len(list.items) == 1 {
		value = list.items[0]
	}
	n.entries = slices.DeleteFunc(n.entries, func(e *entry) bool { return e.name == f.Key })
	n.entries = append(n.entries, &entry{f.Key, at, value})
}

// parse returns the root table. It is nil if the text is not TOML; that is then the only
// mistake reported, since the rest cannot be read.
func (r *reader) parse(text []byte) *node {
	r.lines = []int{0}
	for i, c := range text {
		if c == '\n' {
			r.lines = append(r.lines, i+1)
		}
	}
	b := builder{reader: r, root: &node{kind: aTable, at: r.pos(0)}}
	b.parser.Reset(text)
	table := b.root
	for b.parser.NextExpression() {
		switch e := b.parser.Expression(); e.Kind {
		case unstable.Table:
			table = b.table(b.keys(e))
		case unstable.ArrayTable:
			table = b.tableOfMany(b.keys(e))
		case unstable.KeyValue:
			b.set(table, e)
		}
	}
	if bad := (*unstable.ParserError)(nil); errors.As(b.parser.Error(), &bad) {
		offset := min(cap(text)-cap(bad.Highlight), len(text))
		r.fail(r.pos(offset), "this is not TOML: %s%s; nothing after it was read", bad.Message, quoteHint(text, offset))
		return nil
	}
	return b.root
}

// quoteHint returns the fix for a string without quotes, if the line of the mistake has a
// word after its equals sign.
func quoteHint(text []byte, offset int) string {
	line := text[bytes.LastIndexByte(text[:offset], '\n')+1:]
	line, _, _ = bytes.Cut(line, []byte("\n"))
	_, value, _ := bytes.Cut(line, []byte("="))
	word := bytes.TrimLeft(value, " \t[")
	if i := bytes.IndexAny(word, " ,]#\"'"); i >= 0 {
		word = word[:i]
	}
	if bytes.ContainsAny(bytes.ToLower(word), "abcdefghijklmnopqrstuvwxyz") {
		return `; put strings in quotes: "…"`
	}
	return ""
}

// validate runs the library's own checks, which are stricter than the tree's.
func (r *reader) validate(text []byte) {
	var all map[string]any
	err := toml.Unmarshal(text, &all)
	if bad := (*toml.DecodeError)(nil); errors.As(err, &bad) {
		line, column := bad.Position()
		r.fail(rules.Pos{File: r.file, Line: line, Column: column}, "this is not TOML: %s", strings.TrimPrefix(bad.Error(), "toml: "))
	} else if err != nil {
		r.fail(r.pos(0), "this is not TOML: %v", err)
	}
}

// pos returns the position of a byte.
func (r *reader) pos(offset int) rules.Pos {
	line := sort.SearchInts(r.lines, offset+1)
	return rules.Pos{File: r.file, Line: line, Column: offset - r.lines[line-1] + 1}
}

// builder builds the tree. Duplicates are reported and kept, so that the rest of them is
// checked too. What is there twice is told, and kept, so that the rest of it is read,
// too.
type builder struct {
	*reader
	parser unstable.Parser
	root   *node
}

// part is one part of a dotted key.
type part struct {
	name string
	at   rules.Pos
}

func (b *builder) keys(e *unstable.Node) (parts []part) {
	for it := e.Key(); it.Next(); {
		k := it.Node()
		parts = append(parts, part{string(k.Data), b.pos(int(k.Raw.Offset))})
	}
	return parts
}

// down returns the table that all parts but the last lead to from n.
func (b *builder) down(n *node, parts []part) *node {
	for _, p := range parts[:len(parts)-1] {
		next := n.child(p)
		if next == nil {
			b.fail(p.at, "%s is already something else than a table: rename one", shownKey(p.name))
			return &node{kind: aTable, at: p.at}
		}
		n = next
	}
	return n
}

// child returns the table of that name, and creates it if need be; of a list of tables
// the last. It is nil if there is something else.
func (n *node) child(p part) *node {
	e := n.last(p.name)
	if e == nil {
		e = &entry{p.name, p.at, &node{kind: aTable, at: p.at, open: true}}
		n.entries = append(n.entries, e)
	}
	v := e.value
	if v.byTables {
		v = v.items[len(v.items)-1]
	}
	if v.kind != aTable {
		return nil
	}
	return v
}

// table handles [a.b].
func (b *builder) table(parts []part) *node {
	in, p := b.down(b.root, parts), parts[len(parts)-1]
	e := in.last(p.name)
	if e != nil && e.value.kind == aTable && e.value.open {
		e.value.open, e.value.at, e.at = false, p.at, p.at
		return e.value
	}
	if e != nil {
		b.twice(p, e)
	}
	n := &node{kind: aTable, at: p.at}
	in.entries = append(in.entries, &entry{p.name, p.at, n})
	return n
}

// tableOfMany handles [[a.b]].
func (b *builder) tableOfMany(parts []part) *node {
	in, p := b.down(b.root, parts), parts[len(parts)-1]
	n := &node{kind: aTable, at: p.at}
	e := in.last(p.name)
	if e != nil && e.value.byTables {
		e.value.items = append(e.value.items, n)
		return n
	}
	if e != nil {
		b.twice(p, e)
	}
	in.entries = append(in.entries, &entry{p.name, p.at, &node{kind: aList, at: p.at, byTables: true, items: []*node{n}}})
	return n
}

func (b *builder) set(table *node, e *unstable.Node) {
	parts := b.keys(e)
	in, p := b.down(table, parts), parts[len(parts)-1]
	if before := in.last(p.name); before != nil {
		b.twice(p, before)
	}
	in.entries = append(in.entries, &entry{p.name, p.at, b.value(e.Value(), p.at)})
}

func (b *builder) twice(p part, before *entry) {
	b.fail(p.at, "%s was already defined on line %d; remove or rename one", shownKey(p.name), before.at.Line)
}

var kinds = map[unstable.Kind]kind{
	unstable.String: aText, unstable.Bool: aBool, unstable.Float: aFloat, unstable.Integer: aNumber,
	unstable.LocalDate: aDate, unstable.LocalTime: aDate, unstable.LocalDateTime: aDate, unstable.DateTime: aDate,
	unstable.Array: aList, unstable.InlineTable: aTable,
}

// value takes the position of a list's first item for that of the list, which the parser
// does not report.
func (b *builder) value(v *unstable.Node, at rules.Pos) *node {
	n := &node{kind: kinds[v.Kind], at: at, text: string(v.Data)}
	if v.Raw.Length > 0 {
		n.at = b.pos(int(v.Raw.Offset))
	}
	for it := v.Children(); it.Next(); {
		child := it.Node()
		if v.Kind == unstable.InlineTable {
			b.set(n, child)
		} else {
			n.items = append(n.items, b.value(child, n.at))
		}
	}
	return n
}
