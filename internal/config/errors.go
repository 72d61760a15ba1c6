package config

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"hosier/internal/rules"
)

// Errors are all mistakes of a file, in the order of their positions.
type Errors []*Error

// Error returns the mistakes, one a line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns each mistake.
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i, one := range e {
		all[i] = one
	}
	return all
}

// Error is a mistake: its position, what is wrong, and the fix.
type Error struct {
	File         string
	Line, Column int // from 1, the column in bytes; both 0 for a flag
	Text         string
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Text
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Text)
}

func (e *Error) compare(o *Error) int {
	return cmp.Or(cmp.Compare(e.File, o.File), cmp.Compare(e.Line, o.Line), cmp.Compare(e.Column, o.Column))
}

func (r *reader) fail(at rules.Pos, format string, args ...any) {
	r.errors = append(r.errors, &Error{at.File, at.Line, at.Column, fmt.Sprintf(format, args...)})
}

// shown returns a value of the file for messages: short, and without anything that may be
// a password.
func shown(value string) string {
	const most = 60
	switch {
	case strings.Contains(value, "@") || strings.Contains(value, "://"):
		return `"…"`
	case len(value) > most:
		return strconv.QuoteToASCII(value[:most]) + "…"
	}
	return strconv.QuoteToASCII(value)
}

// shownKey returns a key for messages.
func shownKey(name string) string {
	if name == "" || len(name) > 60 || strings.TrimLeft(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
		return shown(name)
	}
	return name
}

// didYouMean suggests the nearest of the known words, if one is near.
func didYouMean(word string, known []string) string {
	best, least := "", max(1, min(len(word), 20)/3)+1
	if len(word) > 60 {
		return ""
	}
	for _, k := range known {
		if d := distance(strings.ToLower(word), k); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return " (did you mean " + best + "?)"
}

// distance counts the letters to add, remove, replace or swap with the next one to turn a
// into b.
func distance(a, b string) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[1] {
		rows[1][j] = j
	}
	for i := range len(a) {
		two, one, row := rows[0], rows[1], rows[2]
		row[0] = i + 1
		for j := range len(b) {
			change := 1
			if a[i] == b[j] {
				change = 0
			}
			row[j+1] = min(one[j+1]+1, row[j]+1, one[j]+change)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], two[j-1]+1)
			}
		}
		rows = [3][]int{one, row, two}
	}
	return rows[1][len(b)]
}
