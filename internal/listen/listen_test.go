package listen

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOpen(t *testing.T) {
	l, err := Open(t.Context(), "127.0.0.1:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if !IsLocal(l.Addr()) || IsLocal(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}) || IsLocal(&net.TCPAddr{IP: net.IPv4zero}) {
		t.Error("IsLocal is wrong")
	}
	for _, address := range []string{"", "127.0.0.1", "127.0.0.1:", "unix:", "127.0.0.1:port", "1.2.3.4.5:x", "systemd:none"} {
		_, err := Open(t.Context(), address, 0)
		if bad := (*AddressError)(nil); !errors.As(err, &bad) {
			t.Errorf("%q: %v, want an AddressError", address, err)
		}
	}
	_, err = Open(t.Context(), l.Addr().String(), 0)
	if bad := (*AddressError)(nil); err == nil || errors.As(err, &bad) || strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("an address that is taken: %v", err)
	}
}

func TestOpenUnix(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no permissions there")
	}
	path := filepath.Join(t.TempDir(), "s")
	for _, mode := range []fs.FileMode{0, 0o660, 0o666} {
		l, err := Open(t.Context(), "unix:"+path, mode)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if want := max(mode, 0o600); err != nil || info.Mode().Perm() != want {
			t.Errorf("mode %v: the socket has %v, %v", mode, info.Mode().Perm(), err)
		}
		if _, err := Open(t.Context(), "unix:"+path, 0); err == nil || !strings.Contains(err.Error(), "another program listens") {
			t.Errorf("a second listener: %v", err)
		}
		l.(*net.UnixListener).SetUnlinkOnClose(false) // as a program that was killed
		l.Close()
	}
	os.Remove(path)
	os.WriteFile(path, nil, 0o600)
	if _, err := Open(t.Context(), "unix:"+path, 0); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("in place of a file: %v", err)
	}
}

// The environment of socket activation, as sd_listen_fds(3) reads it.
func TestParseInherited(t *testing.T) {
	for _, c := range []struct {
		name  string
		env   map[string]string
		want  []string
		fails bool
	}{
		{"none", nil, nil, false},
		{"for another process", map[string]string{"LISTEN_PID": "2", "LISTEN_FDS": "1"}, nil, false},
		{"without names", map[string]string{"LISTEN_PID": "1", "LISTEN_FDS": "2"}, []string{"unknown", "unknown"}, false},
		{"with names", map[string]string{"LISTEN_PID": "1", "LISTEN_FDS": "3", "LISTEN_FDNAMES": "lan::unix"}, []string{"lan", "unknown", "unix"}, false},
		{"no number", map[string]string{"LISTEN_PID": "1", "LISTEN_FDS": "x"}, nil, true},
		{"too many", map[string]string{"LISTEN_PID": "1", "LISTEN_FDS": "4000000000"}, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			cleared := map[string]bool{}
			next := firstFD
			all, err := parseInherited(1, func(k string) string { return c.env[k] }, func(k string) error {
				cleared[k] = true
				return nil
			}, func(fd int, name string) *os.File {
				if fd != next {
					t.Errorf("descriptor %d, want %d", fd, next)
				}
				next++
				// Not that descriptor, which is something else in a test.
				f, err := os.Create(filepath.Join(t.TempDir(), name))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { f.Close() })
				return f
			})
			var names []string
			for _, f := range all {
				names = append(names, filepath.Base(f.Name()))
			}
			if strings.Join(names, " ") != strings.Join(c.want, " ") || (err != nil) != c.fails {
				t.Errorf("%q, %v", names, err)
			}
			if len(c.want) > 0 && len(cleared) != 3 {
				t.Errorf("cleared %v of the environment", cleared)
			}
		})
	}
}

func TestNotify(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no datagrams on Unix sockets there")
	}
	path := filepath.Join(t.TempDir(), "n")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	if err := Notify("READY=1", "STATUS=serves"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	n, err := c.Read(b)
	if string(b[:n]) != "READY=1\nSTATUS=serves" || err != nil {
		t.Errorf("%q, %v", b[:n], err)
	}
	t.Setenv("NOTIFY_SOCKET", "")
	if err := Notify("READY=1"); err != nil {
		t.Errorf("without a manager: %v", err)
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), strconv.Itoa(1)))
	if err := Notify("READY=1"); err == nil {
		t.Error("a manager that is gone is no error")
	}
}
