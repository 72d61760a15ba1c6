package main

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// page is a manual page in the language of mdoc(7).
type page struct {
	names []string // of the command and those above it, hosier first
	brief string
	date  time.Time
	help
}

func (p *page) name() string { return strings.Join(p.names, "-") }

func (p *page) mdoc() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, ".\\\" Made of what the program says with --help.\n.Dd %s\n.Dt %s 1\n.Os\n",
		p.date.Format("January 2, 2006"), strings.ToUpper(p.name()))
	fmt.Fprintf(&b, ".Sh NAME\n.Nm %s\n.Nd %s\n.Sh SYNOPSIS\n", p.name(), escape(strings.ToLower(p.brief[:1])+p.brief[1:]))
	for i, u := range p.usage {
		if i > 0 {
			b.WriteString(".br\n")
		}
		fmt.Fprintf(&b, "%s\n", escape(u))
	}
	b.WriteString(".Sh DESCRIPTION\n")
	for i, paragraph := range strings.Split(p.about, "\n\n") {
		if i > 0 && !literal(paragraph) {
			b.WriteString(".Pp\n")
		}
		writeParagraph(&b, paragraph)
	}
	p.writeLists(&b)
	if p.examples != nil {
		b.WriteString(".Sh EXAMPLES\n")
		writeParagraph(&b, "  "+strings.Join(p.examples, "\n  "))
	}
	p.writeSeeAlso(&b)
	return b.Bytes()
}

func (p *page) writeLists(b *bytes.Buffer) {
	if p.commands != nil {
		b.WriteString(".Pp\nThe commands:\n.Bl -tag -width Ds\n")
		for _, c := range p.commands {
			fmt.Fprintf(b, ".It Ic %s\n%s.\n", escape(c.name), escape(c.short))
		}
		b.WriteString(".El\n")
	}
	b.WriteString(".Pp\nThe options:\n.Bl -tag -width Ds\n")
	for _, f := range p.flags {
		b.WriteString(".It ")
		if f.letter != "" {
			fmt.Fprintf(b, "Fl %s , ", f.letter)
		}
		fmt.Fprintf(b, "Fl \\-%s", escape(f.name))
		if f.value != "" {
			fmt.Fprintf(b, " Ar %s", escape(f.value))
		}
		fmt.Fprintf(b, "\n%s.\n", escape(f.use))
	}
	b.WriteString(".El\n")
}

func (p *page) writeSeeAlso(b *bytes.Buffer) {
	b.WriteString(".Sh SEE ALSO\n")
	var pages []string
	if len(p.names) > 1 {
		pages = append(pages, strings.Join(p.names[:len(p.names)-1], "-")+" 1")
	}
	for _, c := range p.commands {
		pages = append(pages, p.name()+"-"+c.name+" 1")
	}
	pages = append(pages, "hosier.toml 5")
	b.WriteString(".Xr " + strings.Join(pages, " ,\n.Xr ") + "\n")
}

// literal reports whether a paragraph has lines that must stay as they are.
func literal(paragraph string) bool {
	return strings.HasPrefix(paragraph, " ") || strings.Contains(paragraph, "\n  ") || strings.HasPrefix(paragraph, "\t")
}

func writeParagraph(b *bytes.Buffer, text string) {
	if !literal(text) {
		text = strings.Join(strings.Fields(text), " ")
		b.WriteString(escape(text) + "\n")
		return
	}
	b.WriteString(".Bd -literal -offset indent\n")
	for line := range strings.Lines(text) {
		line = strings.TrimPrefix(strings.TrimPrefix(line, "\t"), "  ")
		b.WriteString(escape(strings.TrimSuffix(line, "\n")) + "\n")
	}
	b.WriteString(".Ed\n")
}

var sentence = regexp.MustCompile(`([0-9A-Za-z)][.:]) +`)

var special = strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", `\&...`, "'", `\(aq`, "`", `\(ga`, "~", `\(ti`, "^", `\(ha`, `"`, `\(dq`)

// escape makes text mean itself, whatever its lines begin with. Sentences begin on lines
// of their own, as mdoc wants them.
func escape(text string) string {
	text = sentence.ReplaceAllString("\n"+special.Replace(text), "$1\n")
	return strings.ReplaceAll(text, "\n.", "\n"+`\&.`)[1:]
}
