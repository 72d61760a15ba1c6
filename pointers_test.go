package hosier_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// inAssembly are the functions, of packages syscall and golang.org/x/sys/unix, in whose
// argument list a pointer may become a uintptr.
var inAssembly = []string{"RawSyscall", "RawSyscall6", "Syscall", "Syscall6"}

// hidden returns the places in files, those of one package, where a pointer becomes a
// uintptr other than as an argument of a call in assembly. The collector and a stack that
// moves know nothing of such a number (rule 4 of package unsafe). A Go function that takes
// one is no better than a variable, so that handing it one is such a place, too.
//
// Files that exclude each other, by their build constraints, may come together. What they
// import stays unknown, except for package unsafe; a result of something imported counts as a
// pointer if its name says so.
func hidden(fset *token.FileSet, files []*ast.File) (found []string) {
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}
	config := types.Config{Importer: strangers{}, Error: func(error) {}, FakeImportC: true}
	_, _ = config.Check("", fset, files, info) // unknown imports are errors
	for _, f := range files {
		fine := map[ast.Expr]bool{}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if isAssembly(info, call.Fun) {
				for _, argument := range call.Args {
					fine[ast.Unparen(argument)] = true
				}
			}
			if len(call.Args) == 1 && !fine[call] && isUintptr(info.Types[call.Fun]) {
				if isPointer(info, call.Args[0]) {
					found = append(found, fset.Position(call.Pos()).String())
				}
			}
			return true
		})
	}
	return found
}

// strangers imports every package as an empty one, unsafe aside.
type strangers struct{}

func (strangers) Import(p string) (*types.Package, error) {
	if p == "unsafe" {
		return types.Unsafe, nil
	}
	stranger := types.NewPackage(p, path.Base(p))
	stranger.MarkComplete()
	return stranger, nil
}

func isAssembly(info *types.Info, f ast.Expr) bool {
	s, ok := ast.Unparen(f).(*ast.SelectorExpr)
	if !ok || !slices.Contains(inAssembly, s.Sel.Name) {
		return false
	}
	x, _ := s.X.(*ast.Ident)
	of, ok := info.Uses[x].(*types.PkgName)
	return ok && (of.Imported().Path() == "syscall" || of.Imported().Path() == "golang.org/x/sys/unix")
}

func isUintptr(f types.TypeAndValue) bool {
	if !f.IsType() {
		return false
	}
	b, ok := f.Type.Underlying().(*types.Basic)
	return ok && b.Kind() == types.Uintptr
}

func isPointer(info *types.Info, operand ast.Expr) bool {
	t := info.TypeOf(operand)
	if t == nil || t == types.Typ[types.Invalid] {
		call, ok := ast.Unparen(operand).(*ast.CallExpr)
		return ok && strings.HasSuffix(types.ExprString(call.Fun), "Pointer") // as atomic.LoadPointer
	}
	b, ok := t.Underlying().(*types.Basic)
	return ok && b.Kind() == types.UnsafePointer
}

// No uintptr in the tree hides a pointer. .ci/lint runs this test, too.
func TestPointers(t *testing.T) {
	fset, packages, files := token.NewFileSet(), map[string][]*ast.File{}, 0
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && (name == "testdata" || strings.HasPrefix(name, ".") && name != ".") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		f, err := parser.ParseFile(fset, file, nil, parser.SkipObjectResolution)
		if err == nil {
			pkg := filepath.Dir(file) + " " + f.Name.Name
			packages[pkg] = append(packages[pkg], f)
			files++
		}
		return err
	})
	if err != nil || files < 10 {
		t.Fatalf("%d files found: %v", files, err)
	}
	unsafe := func(f *ast.File) bool {
		return slices.ContainsFunc(f.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == `"unsafe"` })
	}
	for _, pkg := range slices.Sorted(maps.Keys(packages)) {
		if !slices.ContainsFunc(packages[pkg], unsafe) {
			continue // it can name no pointer without a type
		}
		for _, at := range hidden(fset, packages[pkg]) {
			t.Errorf("%s: a pointer becomes a uintptr outside the argument list of a system call", at)
		}
	}
}

func TestHiddenPointers(t *testing.T) {
	for name, test := range map[string]struct {
		body string
		want bool
	}{
		"in the call":                  {`unix.RawSyscall6(1, uintptr(unsafe.Pointer(&x)), 0, 0, 0, 0, 0)`, false},
		"in the call of syscall":       {`syscall.Syscall(1, 0, (uintptr(unsafe.Pointer(&x))), 0)`, false},
		"a pointer made before":        {`p := unsafe.Pointer(&x); unix.RawSyscall(1, uintptr(p), 0, 0)`, false},
		"not a pointer":                {`try(uintptr(x), uintptr(len("x")))`, false},
		"argument of a Go function":    {`try(1, uintptr(unsafe.Pointer(&x)))`, true},
		"argument of a method":         {`var m maker; m.RawSyscall(uintptr(unsafe.Pointer(&x)))`, true},
		"argument of a function value": {`f := try; f(1, uintptr(unsafe.Pointer(&x)))`, true},
		"a variable":                   {`a := uintptr(unsafe.Pointer(&x)); unix.RawSyscall(1, a, 0, 0)`, true},
		"a variable of a pointer":      {`p := unsafe.Pointer(&x); a := uintptr(p); unix.RawSyscall(1, a, 0, 0)`, true},
		"a field":                      {`r := request{uintptr(unsafe.Pointer(&x))}; _ = r`, true},
		"arithmetic in the call":       {`unix.RawSyscall(1, uintptr(unsafe.Pointer(&x))+4, 0, 0)`, true},
		"a nested call":                {`unix.RawSyscall(1, id(uintptr(unsafe.Pointer(&x))), 0, 0)`, true},
		"another package":              {`other.RawSyscall(1, uintptr(unsafe.Pointer(&x)), 0, 0)`, true},
		"another name of uintptr":      {`type word = uintptr; try(1, word(unsafe.Pointer(&x)))`, true},
		"another type of uintptr":      {`type word uintptr; _ = word(unsafe.Pointer(&x))`, true},
		"of a slice":                   {`b := []byte{1}; try(1, uintptr(unsafe.Pointer(unsafe.SliceData(b))))`, true},
		"of unsafe.Add":                {`_ = uintptr(unsafe.Add(unsafe.Pointer(&x), 1))`, true},
		"of a named pointer":           {`type ref unsafe.Pointer; _ = uintptr(ref(unsafe.Pointer(&x)))`, true},
		"of a pointer elsewhere":       {`_ = uintptr(other.LoadPointer())`, true},
		"of a number elsewhere":        {`_ = uintptr(other.Number())`, false},
	} {
		t.Run(name, func(t *testing.T) {
			text := fmt.Sprintf(`package p
import ("syscall"; "unsafe"; "golang.org/x/sys/unix"; "example/other")
type maker struct{}
func (maker) RawSyscall(a uintptr) {}
type request struct { a uintptr }
func try(call, a uintptr) {}
func id(a uintptr) uintptr { return a }
var _, _, _ = syscall.EINTR, unix.EINTR, other.X
func f() { x := 1; _ = x; %s }
`, test.body)
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, "p.go", text, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			if got := hidden(fset, []*ast.File{f}); (len(got) > 0) != test.want {
				t.Errorf("found %v, want %t", got, test.want)
			}
		})
	}
}
