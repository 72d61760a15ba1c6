package main

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"hosier/internal/daemon"
)

func TestRunningStateDir(t *testing.T) {
	// Not t.TempDir, whose paths can be too long for a socket.
	base, err := os.MkdirTemp("", "hosier")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	newDir := func(name, socket string) string {
		dir := filepath.Join(base, name, "hosier")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if socket == "" {
			return dir
		}
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: daemon.ControlSocket(dir), Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		t.Cleanup(func() { l.Close() })
		if socket == "stale" {
			l.Close()
		}
		return dir
	}
	own, ownStale, ownSilent := newDir("own", "listens"), newDir("stale", "stale"), newDir("silent", "")
	service, serviceSilent := newDir("service", "listens"), newDir("off", "")
	for _, tt := range []struct {
		name                       string
		asked, env, state, service string
		want                       string
	}{
		{"asked", serviceSilent, own, own, service, serviceSilent},
		{"environment", "", ownSilent, own, service, ownSilent},
		{"own", "", "", own, service, own},
		{"own-stale", "", "", ownStale, service, service},
		{"own-silent", "", "", ownSilent, service, service},
		{"none", "", "", ownSilent, serviceSilent, ownSilent},
		{"no-home", "", "", "", service, service},
		{"no-home-none", "", "", "", serviceSilent, serviceSilent},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("STATE_DIRECTORY", tt.env)
			state := ""
			if tt.state != "" {
				state = filepath.Dir(tt.state)
			}
			t.Setenv("XDG_STATE_HOME", state)
			for _, home := range []string{"HOME", "USERPROFILE"} {
				t.Setenv(home, "")
			}
			if got, err := runningStateDir(tt.asked, tt.service); err != nil || got != tt.want {
				t.Errorf("got %s, %v; want %s", got, err, tt.want)
			}
		})
	}
}

// A caller who may not look into the service's directory hears of it.
func TestServiceHint(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may look everywhere")
	}
	closed := t.TempDir()
	if err := os.Chmod(closed, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(closed, 0o700) })
	if serviceHint("other", closed) == "" {
		t.Error("no hint")
	}
	if got := serviceHint("other", filepath.Join(t.TempDir(), "none")); got != "" {
		t.Errorf("a hint of a service that is not there: %s", got)
	}
}
