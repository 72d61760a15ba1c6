package tornet

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// verdict is a test that notes how it was ended.
type verdict struct {
	testing.TB
	said string
}

func (v *verdict) Helper()           {}
func (v *verdict) Skip(args ...any)  { v.said = "skip: " + fmt.Sprint(args...) }
func (v *verdict) Fatal(args ...any) { v.said = "fatal: " + fmt.Sprint(args...) }

func TestRequire(t *testing.T) {
	missing := fmt.Errorf("tornet: %w", ErrNotInstalled)
	for _, c := range []struct {
		name, ci, want string
		err            error
	}{
		{"works", "", "", nil},
		{"works-in-ci", "true", "", nil},
		{"missing", "", "skip: tornet: install Debian's package tor (apt-get install tor)", missing},
		{"missing-in-ci", "true", "fatal: tornet: install Debian's package tor (apt-get install tor)", missing},
		{"broken", "", "fatal: broken", errors.New("broken")},
		{"broken-in-ci", "true", "fatal: broken", errors.New("broken")},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("CI", c.ci)
			v := &verdict{TB: t}
			require(v, c.err)
			if v.said != c.want {
				t.Errorf("got %q, want %q", v.said, c.want)
			}
		})
	}
}

func TestSharedClosed(t *testing.T) {
	var s Shared
	if err := s.Close(); err != nil {
		t.Errorf("closing a network that nobody asked for: %v", err)
	}
	v := &verdict{TB: t}
	if n := s.Get(v); n != nil || !strings.HasPrefix(v.said, "fatal: ") {
		t.Errorf("after Close: %v, %q", n, v.said)
	}
}

func TestForTest(t *testing.T) {
	var pids []int
	t.Run("test", func(t *testing.T) {
		pids = ForTest(t, Options{}).pids()
	})
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d outlives the test", pid)
		}
	}
}
