// Package private keeps files and directories for the user that hosier runs as: nobody else
// may have written what it reads from them, or may read its secrets.
package private

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrShared is matched by errors about a file or directory that is not this user's alone.
var ErrShared = errors.New("it is shared with other users")

// sharedError is an ErrShared with its reason.
type sharedError struct{ path, why string }

func (e *sharedError) Error() string        { return e.path + ": " + e.why }
func (e *sharedError) Is(target error) bool { return target == ErrShared }

// MkdirAll makes a directory, and those above it, with mode 0700, if it is not there. One that
// is there must belong to this user, and no other may write in it: else the error matches
// [ErrShared], and says what to do. On Windows, where the mode says nothing, there is no such
// check.
func MkdirAll(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return CheckDir(dir)
}

// CheckDir returns what [MkdirAll] returns of a directory that is there.
func CheckDir(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if err := owned(dir, info); err != nil {
		return err
	}
	if mode := info.Mode().Perm() & modes; mode&0o022 != 0 {
		return &sharedError{dir, fmt.Sprintf("other users may write in it (mode %04o): chmod go-w it, once you know what is in it, or choose another", mode)}
	}
	return nil
}

// ReadFile returns the contents of a file that its owner alone may read and write; else the
// error matches [ErrShared]. The owner may be anybody, such as the user of a service that root
// asks about: for what this process trusts there is [ReadOwn].
func ReadFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: it is no regular file", path) // to open a pipe may take for ever
	}
	if mode := info.Mode().Perm() & modes; mode&0o077 != 0 {
		return nil, &sharedError{path, fmt.Sprintf("others may read it (mode %04o): chmod 600 it, or remove it and restart hosier, which makes another", mode)}
	}
	return os.ReadFile(path)
}

// ReadOwn returns what [ReadFile] returns, of a file that belongs to this user.
func ReadOwn(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if err := owned(path, info); err != nil {
		return nil, err
	}
	return ReadFile(path)
}

// Create writes a file of mode 0600, as a whole or not at all. If there is one the error
// matches [fs.ErrExist].
func Create(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), path)
}

// ReadOrCreate returns the contents of a file as [ReadOwn] does. If there is none it makes one;
// of several processes that do so at once, all get the same contents.
func ReadOrCreate(path string, contents func() []byte) ([]byte, error) {
	b, err := ReadOwn(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return b, err
	}
	if err := Create(path, contents()); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return ReadOwn(path)
}
