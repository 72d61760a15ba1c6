package leaks

import (
	"path"
	"slices"
	"strings"
	"unicode"
)

// program is a program of this host.
type program struct {
	name string // "" if not known
	pid  int    // 0 if not known
	uid  int    // -1 if not known
}

// programName returns a name for people: only the first word of the command line, since
// the others may hold secrets and targets, and for an interpreter the script, if there is
// a fix for it.
func programName(words []string, comm string) string {
	if len(words) == 0 || words[0] == "" {
		return printable(comm)
	}
	name := firstWord(words[0])
	if slices.ContainsFunc([]string{"python", "node", "perl", "ruby"}, func(s string) bool { return strings.HasPrefix(name, s) }) {
		rest := words[1:]
		if len(rest) > 1 && rest[0] == "-m" {
			rest = rest[1:]
		}
		if len(rest) > 0 {
			script := strings.TrimSuffix(strings.TrimSuffix(path.Base(rest[0]), "-cli.js"), ".py")
			if hasFix(script) {
				name = script
			}
		}
	}
	return printable(name)
}

// firstWord returns the name in the first word of a command line, which some programs
// overwrite with all of it: "/usr/lib/chromium/chromium --type=utility", "npm view
// hosier".
func firstWord(word string) string {
	if strings.HasPrefix(word, "/") {
		word, _, _ = strings.Cut(word, " -")
		word = path.Base(word)
	}
	word, _, _ = strings.Cut(word, " ")
	return word
}

// printable makes a name, which any program may choose, safe to show.
func printable(name string) string {
	const most = 32
	var b strings.Builder
	for i, r := range []rune(name) {
		if i == most {
			break
		}
		if !unicode.IsGraphic(r) || r == unicode.ReplacementChar {
			r = '?'
		}
		b.WriteRune(r)
	}
	return b.String()
}
