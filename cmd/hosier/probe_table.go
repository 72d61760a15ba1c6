package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"hosier/internal/printable"
	"hosier/probe"
)

// clearLine goes back to the begin of a terminal's line and empties it.
const clearLine = "\r\x1b[K"

// progress keeps one line that says how far the run is.
func progress(w io.Writer) func(done, total int, r *probe.Result) {
	failed := 0
	return func(done, total int, r *probe.Result) {
		if r.Outcome == probe.Failed {
			failed++
		}
		fmt.Fprintf(w, "%s%d of %d checks, %d failed", clearLine, done, total, failed)
	}
}

// isTerminal reports whether a person sees what is written.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}

// colours reports whether to use colours: https://no-color.org
func colours(w io.Writer) bool {
	return isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// painter colours words, or leaves them alone.
type painter bool

const (
	red    = "31"
	green  = "32"
	yellow = "33"
	grey   = "90"
	bold   = "1"
)

func (p painter) paint(colour, s string) string {
	if !p {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}

// writeProbeTable writes what failed, with verbose everything, and a summary by group.
func writeProbeTable(w io.Writer, r *probe.Report, verbose, coloured bool) error {
	p := painter(coloured)
	var b strings.Builder
	for i := range r.Results {
		x := &r.Results[i]
		if verbose || x.Outcome == probe.Failed {
			writeProbeRow(&b, p, x)
		}
	}
	if b.Len() > 0 {
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "%s\n", p.paint(bold, fmt.Sprintf("%-12s %6s %6s %8s %6s", "group", "pass", "fail", "refused", "skip")))
	total := r.Total()
	total.Group = "all"
	for _, g := range append(r.Groups(), total) {
		fail := fmt.Sprintf("%6d", g.Failed)
		switch {
		case g.Musts > 0:
			fail = p.paint(red, fail)
		case g.Failed > 0:
			fail = p.paint(yellow, fail)
		}
		fmt.Fprintf(&b, "%-12s %6d %s %8d %6d\n", g.Group, g.Passed, fail, g.Refused, g.Skipped)
	}
	fmt.Fprintf(&b, "\n%s in %.1f s: %s\n", r.Proxy, r.Duration.Seconds(), p.verdict(total))
	writeSkipped(&b, r, verbose)
	_, err := io.WriteString(w, b.String())
	return err
}

func (p painter) verdict(total probe.Count) string {
	hints := total.Failed - total.Musts - total.Shoulds
	text := fmt.Sprintf("failed: %d must, %d should, %d hint", total.Musts, total.Shoulds, hints)
	switch {
	case total.Musts > 0:
		return p.paint(red, text)
	case total.Failed > 0:
		return p.paint(yellow, "every must holds; "+text)
	case total.Passed == 0:
		return p.paint(yellow, "nothing was checked")
	}
	return p.paint(green, "everything that was checked holds")
}

func writeProbeRow(b *strings.Builder, p painter, x *probe.Result) {
	colour := map[probe.Outcome]string{probe.Passed: green, probe.Failed: yellow, probe.Refused: grey, probe.Skipped: grey}[x.Outcome]
	if x.Outcome == probe.Failed && x.Check.Severity == probe.Must {
		colour = red
	}
	fmt.Fprintf(b, "%s %-6v %s  %s\n", p.paint(colour, fmt.Sprintf("%-7v", x.Outcome)), x.Check.Severity, p.paint(bold, x.Check.ID), x.Check.Title)
	if x.Reason != "" {
		fmt.Fprintf(b, "               %s\n", printable.String(x.Reason))
	}
	if x.Note != "" {
		fmt.Fprintf(b, "               %s\n", printable.String(x.Note))
	}
	if x.Outcome == probe.Failed {
		fmt.Fprintf(b, "               %s\n", p.paint(grey, x.Check.Why+" ("+x.Check.Clause+")"))
	}
}

// writeSkipped tells the reasons of what was skipped, each once.
func writeSkipped(b *strings.Builder, r *probe.Report, verbose bool) {
	if verbose {
		return
	}
	count := make(map[string]int)
	var order []string
	for i := range r.Results {
		if x := &r.Results[i]; x.Outcome == probe.Skipped {
			if count[x.Reason]++; count[x.Reason] == 1 {
				order = append(order, x.Reason)
			}
		}
	}
	for _, reason := range order {
		fmt.Fprintf(b, "skipped %d: %s\n", count[reason], printable.String(reason))
	}
}
