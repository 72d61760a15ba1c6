//go:build unix

package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

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
