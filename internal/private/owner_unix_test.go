//go:build unix

package private

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// nobody is a user that these tests do not run as.
const nobody = 65534

func TestMkdirAll(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	if err := MkdirAll(dir); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if info, err := os.Stat(d); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", d, info.Mode(), err)
		}
	}
	for mode, shared := range map[fs.FileMode]bool{
		0o700: false, 0o750: false, 0o755: false, 0o720: true, 0o702: true, 0o777: true, 0o777 | fs.ModeSticky: true,
	} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		for _, check := range []func(string) error{MkdirAll, CheckDir} {
			if err := check(dir); errors.Is(err, ErrShared) != shared || !shared && err != nil {
				t.Errorf("mode %v: %v", mode, err)
			}
		}
	}
	if err := CheckDir(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("one that is not there: %v", err)
	}
}

func TestReadFileModes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := Create(path, []byte("x")); err != nil {
		t.Fatal(err)
	}
	for mode, shared := range map[fs.FileMode]bool{0o600: false, 0o400: false, 0o640: true, 0o604: true, 0o620: true, 0o601: true} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		for _, read := range []func(string) ([]byte, error){ReadFile, ReadOwn} {
			if b, err := read(path); errors.Is(err, ErrShared) != shared || (string(b) == "x") == shared {
				t.Errorf("mode %v: %q, %v", mode, b, err)
			}
		}
	}
}

// What another user owns is not trusted, also by root, who could read it; ReadFile is for those
// who only ask.
func TestOtherOwner(t *testing.T) {
	dir, path := t.TempDir(), ""
	if os.Geteuid() == 0 {
		path = filepath.Join(dir, "secret")
		if err := errors.Join(Create(path, []byte("x")), os.Chown(path, nobody, nobody), os.Chown(dir, nobody, nobody)); err != nil {
			t.Fatal(err)
		}
		if b, err := ReadFile(path); err != nil || string(b) != "x" {
			t.Errorf("asked about: %q, %v", b, err)
		}
	} else {
		dir, path = "/", "/etc/passwd"
	}
	for name, err := range map[string]error{"MkdirAll": MkdirAll(dir), "CheckDir": CheckDir(dir)} {
		if !errors.Is(err, ErrShared) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if b, err := ReadOwn(path); !errors.Is(err, ErrShared) || b != nil {
		t.Errorf("ReadOwn: %q, %v", b, err)
	}
	if b, err := ReadOrCreate(path, func() []byte { return []byte("y") }); !errors.Is(err, ErrShared) || b != nil {
		t.Errorf("ReadOrCreate: %q, %v", b, err)
	}
}

// Root asks about the files of other users, who must not make it wait for ever.
func TestPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip(err)
	}
	ended := make(chan error, 2)
	go func() {
		for _, read := range []func(string) ([]byte, error){ReadFile, ReadOwn} {
			_, err := read(pipe)
			ended <- err
		}
	}()
	for range 2 {
		select {
		case err := <-ended:
			if err == nil {
				t.Error("a pipe is read")
			}
		case <-time.After(10 * time.Second):
			t.Fatal("it waits for the other end of a pipe")
		}
	}
}
