//go:build unix

package daemon

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCut(t *testing.T) {
	for _, c := range []struct {
		before, text string
		lines        int
		inLine       bool
	}{
		{"a\nb\n", "a\nb\n", 0, false},
		{"a\nb\n", "a\nc\n", 0, false},
		{"a\nb\n", "a\nb", 0, false},
		{"a\nb\n\n", "a\nb\n", 0, false},
		{"a\nb\n", "a\n", 1, false},
		{"a\r\nb\r\n", "a", 1, false},
		{"a\nb\n", "a", 1, false},
		{"a\nbc\nd\n", "a\nb", 2, true},
		{"a\nb\n", "", 2, false},
		{"", "", 0, false},
		{"", "a", 0, false},
	} {
		if lines, inLine := cut([]byte(c.before), []byte(c.text)); inLine != c.inLine || lines != c.lines {
			t.Errorf("%q of %q: %d, %v", c.text, c.before, lines, inLine)
		}
	}
}

// A directory is no file to read, and a pipe is not waited for.
func TestReadable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, pipe := filepath.Join(dir, "file"), filepath.Join(dir, "pipe")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file: "", pipe: "", dir: "it is a directory", filepath.Join(dir, "none"): unix.ENOENT.Error(),
	} {
		got := ""
		if err := readable(path); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}
