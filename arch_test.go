// Package hosier_test holds the rules of the house that a compiler does not: which room
// may import which, that every package says what it is, and what stays out of the tree.
package hosier_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "hosier"

// room is what the table in ARCHITECTURE.md says of a package.
type room struct {
	ours   []string // packages of ours that it may import outside its tests
	all    bool     // it may import each of them
	beyond []string // words in the paths of other modules that it may import
}

// rooms reads the table of imports. A package that is not in it fails the tests: the page says
// where things belong.
func rooms(t *testing.T) map[string]room {
	t.Helper()
	text, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Imports\n")
	section, _, _ = strings.Cut(section, "\n## ")
	quoted := regexp.MustCompile("`([^`]+)`")
	names := func(cell string) (all []string) {
		for _, m := range quoted.FindAllStringSubmatch(cell, -1) {
			all = append(all, m[1])
		}
		return all
	}
	table := map[string]room{}
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.HasPrefix(cells[1], " `") {
			continue
		}
		r := room{ours: names(cells[2]), all: strings.TrimSpace(cells[2]) == "everything"}
		if len(r.ours) == 0 && !r.all && strings.TrimSpace(cells[2]) != "nothing" {
			t.Fatalf("the table says of %s: %q", cells[1], cells[2])
		}
		for word := range strings.SplitSeq(cells[3], ",") {
			r.beyond = append(r.beyond, strings.TrimSpace(word))
		}
		for _, pkg := range names(cells[1]) {
			table[pkg] = r
		}
	}
	if len(table) < 20 {
		t.Fatalf("only %d packages found in the table", len(table))
	}
	return table
}

// mayImport reports whether the room may import p, which is not ours.
func (r room) mayImport(p string) bool {
	host, _, _ := strings.Cut(p, "/")
	return !strings.Contains(host, ".") || slices.ContainsFunc(r.beyond, func(word string) bool { return strings.Contains(p, word) })
}

// pure are the files of the codec. They must run without a world.
var pure = map[string][]string{
	"socks": {"socks.go", "status.go", "addr.go", "v4.go", "v5.go", "auth.go"},
}

// worldly are the packages that a pure file must not import.
var worldly = []string{"net", "io", "bufio", "context", "time", "os"}

// source is one Go file that is not a test.
type source struct {
	pkg, name string
	imports   []string
	doc       bool // it has a package comment
}

func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && (name == "testdata" || name == "bench" || strings.HasPrefix(name, ".") && name != ".") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		s := source{pkg: path.Dir(filepath.ToSlash(file)), name: name, doc: f.Doc != nil}
		for _, i := range f.Imports {
			p, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			s.imports = append(s.imports, p)
		}
		all = append(all, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("only %d files found: the test looks in the wrong place", len(all))
	}
	return all
}

func TestImports(t *testing.T) {
	table := rooms(t)
	for _, s := range sources(t) {
		r, known := table[s.pkg]
		if !known {
			t.Errorf("%s: the package is not in the table of ARCHITECTURE.md", s.pkg)
			continue
		}
		for _, p := range s.imports {
			ours, isOurs := strings.CutPrefix(p, module+"/")
			switch {
			case isOurs && !slices.Contains(r.ours, ours) && !r.all:
				t.Errorf("%s/%s imports %s, which its room may not", s.pkg, s.name, p)
			case isOurs && ours == "cmd/hosier", isOurs && ours == "internal/daemon" && s.pkg != "cmd/hosier":
				t.Errorf("%s/%s imports %s, which stands above it", s.pkg, s.name, ours)
			case !isOurs && !r.mayImport(p):
				t.Errorf("%s/%s imports %s, which its room may not: %v", s.pkg, s.name, p, r.beyond)
			case slices.Contains(pure[s.pkg], s.name) && slices.Contains(worldly, p):
				t.Errorf("%s/%s imports %s: the codec is pure", s.pkg, s.name, p)
			}
		}
	}
}

// The table must not outlive what it speaks of, nor allow what nobody needs.
func TestImportTable(t *testing.T) {
	all := sources(t)
	for pkg, r := range rooms(t) {
		used := map[string]bool{"std": true}
		found := false
		for _, s := range all {
			if s.pkg != pkg {
				continue
			}
			found = true
			for _, p := range s.imports {
				used[strings.TrimPrefix(p, module+"/")] = true
				for _, word := range r.beyond {
					used[word] = used[word] || strings.Contains(p, word)
				}
			}
		}
		if !found {
			t.Errorf("%s is in the table of ARCHITECTURE.md, and is no package", pkg)
		}
		for _, name := range slices.Concat(r.ours, r.beyond) {
			if !used[name] {
				t.Errorf("%s may import %s by the table, and does not", pkg, name)
			}
		}
	}
	for pkg, names := range pure {
		for _, name := range names {
			if !slices.ContainsFunc(all, func(s source) bool { return s.pkg == pkg && s.name == name }) {
				t.Errorf("%s/%s is said to be pure, and is no file", pkg, name)
			}
		}
	}
}

func TestPackageDoc(t *testing.T) {
	docs := map[string]int{}
	for _, s := range sources(t) {
		docs[s.pkg] += 0
		if s.doc {
			docs[s.pkg]++
		}
	}
	for pkg, n := range docs {
		if n != 1 {
			t.Errorf("%s has %d package comments, want 1", pkg, n)
		}
	}
}

// init functions run before anyone asked.
func TestNoInit(t *testing.T) {
	for _, s := range sources(t) {
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(s.pkg, s.name), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		if f.Scope.Lookup("init") != nil {
			t.Errorf("%s/%s has an init function", s.pkg, s.name)
		}
	}
}
