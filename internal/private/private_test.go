package private

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func TestReadOrCreate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if _, err := ReadOwn(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	var all [8][]byte
	var group sync.WaitGroup
	for i := range all {
		group.Go(func() {
			var err error
			if all[i], err = ReadOrCreate(path, func() []byte { return []byte{byte(i)} }); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for _, b := range all {
		if len(b) != 1 || !bytes.Equal(b, all[0]) {
			t.Fatalf("of several that made the file at once, some have other contents: %q", all)
		}
	}
	if err := Create(path, nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second one: %v", err)
	}
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 1 {
		t.Errorf("files left behind: %v, %v", files, err)
	}
	if err := Create(filepath.Join(path, "below"), nil); err == nil || errors.Is(err, fs.ErrExist) {
		t.Errorf("a directory that is none: %v", err)
	}
}
