package console

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// What stands here has its like in web/words.js, for rows that a script writes.

const none = "–"

// visible is a text that somebody else chose, with what cannot be seen, or turns what
// stands beside it around, written out.
func visible(s string) string {
	if !utf8.ValidString(s) {
		s = string([]rune(s)) // as JSON has it
	}
	if !strings.ContainsFunc(s, isHidden) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if isHidden(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// isHidden is for control characters and those of bidirectional text (UAX 9).
func isHidden(r rune) bool {
	return unicode.IsControl(r) || r == 0x061C || r >= 0x200B && r <= 0x200F || r >= 0x2028 && r <= 0x202E || r >= 0x2060 && r <= 0x2069 || r == 0xFEFF
}

// count is a number with a comma for each thousand.
func count[T int | int64 | uint64](n T) string {
	s := fmt.Sprint(n)
	first := len(s) - len(strings.TrimPrefix(s, "-")) // digit
	for i := len(s) - 3; i > first; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// number has one digit after the point if it is small.
func number(f float64) string {
	if f < 100 {
		f = math.Floor(f*10+0.5) / 10
	}
	if f >= 100 || f == math.Trunc(f) {
		return strconv.FormatFloat(math.Floor(f+0.5), 'f', 0, 64)
	}
	return strconv.FormatFloat(f, 'f', 1, 64)
}

// size is a number of bytes.
func size[T int64 | float64](n T) string {
	f, unit := float64(n), "B"
	for _, u := range []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"} {
		if f < 1023.5 {
			break
		}
		f, unit = f/1024, u
	}
	return number(f) + " " + unit
}

// millis is a time in milliseconds, of which 0 says that there is none.
func millis(ms float64) string {
	switch {
	case !(ms > 0):
		return none
	case ms < 0.05:
		return "0.1 ms"
	case ms < 999.5:
		return number(ms) + " ms"
	}
	return number(ms/1000) + " s"
}

// age is how long ago something was.
func age(t, now time.Time) string {
	if t.IsZero() {
		return none
	}
	s := max(0, int64(now.Sub(t)/time.Second))
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 60*60:
		return fmt.Sprintf("%d min", s/60)
	case s < 24*60*60:
		return fmt.Sprintf("%d h %d min", s/(60*60), s/60%60)
	}
	return fmt.Sprintf("%d d %d h", s/(24*60*60), s/(60*60)%24)
}

// clock is a time of day, in UTC as in the log; a script makes it that of the reader.
func clock(t time.Time) string { return t.UTC().Format("15:04") }

// stamp is a time for machines, and for people who want it exactly.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// since is how long ago something was.
func since(t time.Time) string { return age(t, time.Now()) }

// join is for a list of texts.
func join(list []string, between string) string { return visible(strings.Join(list, between)) }

// anyCount is count, for templates.
func anyCount(n any) string {
	switch n := n.(type) {
	case int:
		return count(n)
	case int64:
		return count(n)
	case uint64:
		return count(n)
	}
	return fmt.Sprint(n)
}

// lines is for a text that has several.
func lines(s string) string {
	all := strings.Split(s, "\n")
	for i := range all {
		all[i] = visible(all[i])
	}
	return strings.Join(all, "\n")
}
