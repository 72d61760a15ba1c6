//go:build unix

package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"hosier/internal/config"
)

// Flags and file have the same words: each key at the top of a file is a flag, and each flag
// that stands for a key is one.
func TestFlagsAreKeys(t *testing.T) {
	t.Parallel()
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	configFlags(flags)
	c, err := config.Parse("", nil, config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	for _, s := range c.Settings {
		isTable := slices.Contains([]string{"listener", "egress", "rule"}, s.Key) || strings.Contains(s.Key, ".")
		if keys[s.Key] = true; flags.Lookup(s.Key) == nil && !isTable {
			t.Errorf("%s is a key and no flag", s.Key)
		}
	}
	flags.VisitAll(func(f *pflag.Flag) {
		if !keys[f.Name] {
			t.Errorf("--%s is a flag and no key", f.Name)
		}
	})
}

// A directory is no file to read, and a pipe is not waited for.
func TestReadable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, pipe := filepath.Join(dir, "file"), filepath.Join(dir, "pipe")
	writeFile(t, file, "")
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
