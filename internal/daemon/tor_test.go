package daemon

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"hosier/egress/tor"
	"hosier/internal/config"
	"hosier/internal/tcptest"
)

// A tor is known by its greeting; what else listens there is not one.
func TestFindTor(t *testing.T) {
	says := func(text string) string {
		return tcptest.Listen(t, func(c net.Conn) {
			io.ReadFull(c, make([]byte, 3))
			io.WriteString(c, text)
		})
	}
	web, first, second := says("HTTP/1.0 400 no\r\n\r\n"), says("\x05\x00"), says("\x05\x00")
	closed := says("")
	if got := findTor(t.Context(), []string{closed, web, first, second}); got != first {
		t.Errorf("got %s, want %s", got, first)
	}
	if got := findTor(t.Context(), []string{closed, web}); got != "" {
		t.Errorf("got %s where there is none", got)
	}
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	got, err := findMember(t.Context(), []string{web, first}, log)
	if want := []tor.Member{{SOCKS: first}}; err != nil || !reflect.DeepEqual(got, want) || out.Len() > 0 {
		t.Errorf("got %+v, %v, want %+v:\n%s", got, err, want, out.String())
	}
	// One that is not there yet may come to any of them.
	got, err = findMember(t.Context(), []string{web, closed}, log)
	if want := []tor.Member{{SOCKS: web, Others: []string{closed}}}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for _, want := range []string{"level=WARN", web + " and " + closed, "apt-get install tor", "tor+spawn://"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in the log:\n%s", want, out.String())
		}
	}
}

// What listens at a tor's port may be hosier itself.
func TestTorPortsBeside(t *testing.T) {
	for listen, want := range map[string][]string{
		"127.0.0.1:1080":           {"127.0.0.1:9050", "127.0.0.1:9150"},
		"127.0.0.1:9050":           {"127.0.0.1:9150"},
		"0.0.0.0:9150":             {"127.0.0.1:9050"},
		"[::]:9050 127.0.0.1:9150": nil,
		"unix:/run/hosier:9050":    {"127.0.0.1:9150"}, // if somebody wants it so
	} {
		var all []config.Listener
		for address := range strings.FieldsSeq(listen) {
			all = append(all, config.Listener{Address: address})
		}
		if got := torPortsBeside(all); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", listen, got, want)
		}
	}
	if _, err := findMember(t.Context(), nil, slog.New(slog.DiscardHandler)); !errors.As(err, new(UsageError)) {
		t.Errorf("without a port that is left: %v", err)
	}
}

// A state directory that nobody named is no reason not to serve; one that somebody did is.
func TestNoStateDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("STATE_DIRECTORY", filepath.Join(file, "below")+":/ignored")
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	if k, err := loadKey("", false, log); err != nil || k != (tor.Key{}) || !strings.Contains(out.String(), "no state directory") {
		t.Errorf("got %x, %v:\n%s", k, err, out.String())
	}
	if _, err := loadKey("", true, log); err == nil || !strings.Contains(err.Error(), "state directory (--state-dir): ") {
		t.Errorf("where it is needed: %v", err)
	}
	if _, err := loadKey(filepath.Join(file, "named"), false, log); err == nil {
		t.Error("a directory that was named and cannot be is no error")
	}
	t.Setenv("STATE_DIRECTORY", "")
	t.Setenv("XDG_STATE_HOME", "/state")
	t.Setenv("HOME", "/home/ann")
	if dir, err := StateDirPath(""); err != nil || dir != filepath.FromSlash("/state/hosier") {
		t.Errorf("got %s, %v", dir, err)
	}
	t.Setenv("XDG_STATE_HOME", "relative")
	if dir, err := StateDirPath(""); err != nil || dir != filepath.FromSlash("/home/ann/.local/state/hosier") {
		t.Errorf("got %s, %v", dir, err)
	}
}
