// Package packaging_test makes what is given to people, and looks at it.
package packaging_test

import (
	"bytes"
	"context"
	"debug/elf"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hosier/internal/debiantest"
)

// output runs a program, which must end well within five minutes, and returns what it prints.
func output(t *testing.T, words ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	return outputOf(ctx, t, words...)
}

// build runs packaging/build, which compiles, and so takes as long as the machine needs.
func build(t *testing.T, words ...string) {
	t.Helper()
	outputOf(t.Context(), t, append([]string{"./build"}, words...)...)
}

func outputOf(ctx context.Context, t *testing.T, words ...string) string {
	t.Helper()
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v: %s%s", words, err, stdout.String(), stderr.String())
	}
	return stdout.String()
}

func TestBuild(t *testing.T) {
	t.Parallel() // with TestDeb, whose machine waits
	dir := t.TempDir()
	build(t, dir)
	hosier := filepath.Join(dir, "hosier")
	t.Run("static", func(t *testing.T) { isStatic(t, hosier) })
	t.Run("man", func(t *testing.T) { hasPages(t, hosier, filepath.Join(dir, "man")) })
	t.Run("completion", func(t *testing.T) {
		for _, shell := range []string{"bash", "fish", "zsh"} {
			if text := read(t, filepath.Join(dir, "completion", shell)); !strings.Contains(text, "__complete") {
				t.Errorf("%s: not a completion: %q", shell, text)
			}
		}
	})
	t.Run("config", func(t *testing.T) { output(t, hosier, "check", "hosier.toml") })
	t.Run("sandbox", func(t *testing.T) { staysInSandbox(t, hosier) })
	t.Run("image", func(t *testing.T) { isImage(t, dir) })
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// isStatic fails the test if the program wants a loader or a library.
func isStatic(t *testing.T, hosier string) {
	f, err := elf.Open(hosier)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			interp, _ := io.ReadAll(p.Open())
			t.Errorf("the program wants the loader %s", interp)
		}
	}
	if libs, _ := f.ImportedLibraries(); len(libs) > 0 {
		t.Errorf("the program wants %q", libs)
	}
}

// hasPages fails the test unless there is a good page of each command, with each of its
// flags. Which there are, the program tells whoever completes its command line.
func hasPages(t *testing.T, hosier, dir string) {
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	var walk func(names ...string)
	walk = func(names ...string) {
		file := filepath.Join(dir, strings.Join(append([]string{"hosier"}, names...), "-")+".1")
		text := read(t, file)
		left = slices.DeleteFunc(left, func(f string) bool { return f == file })
		for _, flag := range complete(t, hosier, append(names, "--")...) {
			want := ` ` + strings.ReplaceAll(flag[1:], "-", `\-`)
			if !strings.Contains(text, want+" Ar ") && !strings.Contains(text, want+"\n") {
				t.Errorf("%s lacks %s", file, flag)
			}
		}
		for _, c := range complete(t, hosier, append(names, "")...) {
			if !strings.Contains(text, "hosier-"+strings.Join(append(names, c), "-")+" 1") {
				t.Errorf("%s does not lead to %s", file, c)
			}
			walk(append(slices.Clone(names), c)...)
		}
	}
	walk()
	if len(left) > 0 {
		t.Errorf("pages of no command: %q", left)
	}
	if len(left) == 0 && !t.Failed() {
		debiantest.Program(t, "mandoc", "mandoc")
		pages, _ := filepath.Glob(filepath.Join(dir, "*.1"))
		output(t, append([]string{"mandoc", "-T", "lint", "-W", "warning", "../docs/hosier.toml.5"}, pages...)...)
	}
}

// complete returns what may follow the words, as a shell would be told; but for the help
// of other commands.
func complete(t *testing.T, hosier string, words ...string) (all []string) {
	if words[0] == "help" && words[len(words)-1] == "" {
		return nil
	}
	for line := range strings.Lines(output(t, append([]string{hosier, "__complete"}, words...)...)) {
		word, _, described := strings.Cut(strings.TrimSpace(line), "\t")
		if described {
			all = append(all, word)
		}
	}
	return all
}
