package page

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the list of programs into README.md")

const readme = "../../README.md"

// README has the page's list of programs, for a listener where hosier listens by default.
func TestReadmePrograms(t *testing.T) {
	l := Listener{Dialects: everything}
	var b strings.Builder
	b.WriteString("| program | how |\n|---|---|\n")
	for _, p := range l.Programs("127.0.0.1", "1080") {
		var how []string
		if len(p.Steps) > 0 {
			how = append(how, strings.Join(p.Steps, " "))
		}
		for _, line := range p.Lines {
			how = append(how, code(line))
		}
		if p.Note != "" {
			how = append(how, p.Note)
		}
		fmt.Fprintf(&b, "| %s | %s |\n", p.Name, strings.Join(how, "<br>"))
	}
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- the list of internal/page: go test ./internal/page -update -->\n", "<!-- end of the list -->"
	i, j := bytes.Index(text, []byte(begin)), bytes.Index(text, []byte(end))
	if i < 0 || j < i {
		t.Fatal("README has no place for the list of programs")
	}
	i += len(begin)
	if want := b.String(); string(text[i:j]) != want {
		if *update {
			if err := os.WriteFile(readme, []byte(string(text[:i])+want+string(text[j:])), 0o644); err != nil {
				t.Fatal(err)
			}
			return
		}
		t.Errorf("README's list of programs is not that of the page: go test ./internal/page -update")
	}
}

// code is lines to be typed, in a cell of a table.
func code(lines string) string {
	var all []string
	for line := range strings.SplitSeq(lines, "\n") {
		all = append(all, "`"+strings.ReplaceAll(line, "|", `\|`)+"`")
	}
	return strings.Join(all, "<br>")
}
