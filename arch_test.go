// Package hosier_test holds the rules of the house that a compiler does not: which room
// may import which, that every package says what it is, and what stays out of the tree.
package hosier_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "hosier"

// mayImport says which of our own packages each package may import outside its tests.
// A package that is not here fails the test: ARCHITECTURE.md says where things belong.
var mayImport = map[string][]string{
	"socks":              {},
	"resolver":           {},
	"internal/relay":     {},
	"internal/tornet":    {},
	"internal/fair":      {},
	"internal/printable": {},
	"internal/private":   {},
	"internal/logging":   {"internal/printable"},
	"internal/users":     {"internal/fair"},
	"internal/limits":    {"internal/fair"},
	"internal/leaks":     {"socks", "internal/fair"},
	"egress":             {"socks", "resolver"},
	"egress/tor":         {"socks", "egress", "internal/fair", "internal/printable", "internal/private"},
	"probe":              {"socks", "internal/printable"},
	"proxy":              {"socks", "egress", "internal/relay", "internal/fair"},
	"internal/sockstest": {"socks", "resolver", "egress", "proxy"},
	"internal/load":      {"socks"},                 // not relay: the yardstick must not be made of what is measured
	"internal/listen":    {"proxy", "internal/via"}, // and go-proxyproto
	"internal/rules":     {"socks"},
	"internal/via":       {"socks", "internal/rules"},
	"internal/policy":    {"socks", "egress", "egress/tor", "internal/config", "internal/fair", "internal/leaks", "internal/page", "internal/rules", "internal/users", "internal/via"},
	"internal/page":      {"socks"},
	"internal/config":    {"socks", "resolver", "internal/rules", "internal/via"},        // and go-toml
	"internal/telemetry": {"socks", "egress", "proxy", "resolver", "internal/printable"}, // and client_golang
	"internal/admin":     {"internal/private"},
	"internal/daemon":    {"*"},                                                                                       // and nobody but cmd imports it
	"internal/console":   {"egress/tor", "internal/config", "internal/leaks", "internal/rules", "internal/telemetry"}, // types that it shows; daemon fills them in
	"packaging/man":      {},
	"cmd/hosier":         {"*"},
}

// stdOnly are the rooms of the library: nothing but the standard library and
// golang.org/x comes in with them.
var stdOnly = []string{"socks", "resolver", "proxy", "egress", "egress/tor", "probe", "internal/relay", "internal/fair", "internal/printable", "internal/private", "internal/rules", "internal/users", "internal/limits", "internal/leaks", "internal/logging"}

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
	for _, s := range sources(t) {
		may, known := mayImport[s.pkg]
		if !known {
			t.Errorf("%s: the package is not in the table of arch_test.go", s.pkg)
			continue
		}
		for _, p := range s.imports {
			ours, isOurs := strings.CutPrefix(p, module+"/")
			switch {
			case isOurs && !slices.Contains(may, ours) && !slices.Contains(may, "*"):
				t.Errorf("%s/%s imports %s, which its room may not", s.pkg, s.name, p)
			case isOurs && ours == "cmd/hosier", isOurs && ours == "internal/daemon" && s.pkg != "cmd/hosier":
				t.Errorf("%s/%s imports %s, which stands above it", s.pkg, s.name, ours)
			case !isOurs && slices.Contains(stdOnly, s.pkg) && foreign(p):
				t.Errorf("%s/%s imports %s: the library has the standard library and golang.org/x only", s.pkg, s.name, p)
			case slices.Contains(pure[s.pkg], s.name) && slices.Contains(worldly, p):
				t.Errorf("%s/%s imports %s: the codec is pure", s.pkg, s.name, p)
			}
		}
	}
}

func foreign(p string) bool {
	host, _, _ := strings.Cut(p, "/")
	return strings.Contains(host, ".") && !strings.HasPrefix(p, "golang.org/x/")
}

// The table must not outlive what it speaks of.
func TestImportTable(t *testing.T) {
	all := sources(t)
	for pkg := range mayImport {
		if !slices.ContainsFunc(all, func(s source) bool { return s.pkg == pkg }) {
			t.Errorf("%s is in the table of arch_test.go, and is no package", pkg)
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
