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

// programName makes a name for people of what a program calls itself: of its command line
// only the first word, since the others may hold secrets and targets, and of an interpreter
// the script, if that is a tool of which we know the fix.
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

// firstWord is the name in the first word of a command line, which some programs write over
// with all of it: "/usr/lib/chromium/chromium --type=utility", "npm view hosier".
func firstWord(word string) string {
	if strings.HasPrefix(word, "/") {
		word, _, _ = strings.Cut(word, " -")
		word = path.Base(word)
	}
	word, _, _ = strings.Cut(word, " ")
	return word
}

// printable keeps a name, which any program may choose, from doing harm where it is shown.
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
