package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// goldenOptions make the tests see no disk.
var goldenOptions = Options{
	Readable: func(path string) error {
		if strings.Contains(path, "missing") {
			return errors.New("no such file or directory")
		}
		return nil
	},
	// Of users-alice-bob, alice and bob; of others nobody knows whom.
	Users: func(file string) ([]string, error) {
		switch names := strings.Split(filepath.Base(file), "-"); names[0] {
		case "users":
			return names[1:], nil
		case "empty":
			return nil, errors.New("file of users: there is no user in it")
		}
		return nil, Errors{{file, 1, 1, "not a user"}, {file, 7, 1, "nor this"}}
	},
	TLS: func(cert, key, clientCA string) error {
		if strings.Contains(cert+key+clientCA, "bad") {
			return errors.New("tls-cert and tls-key: private key does not match public key")
		}
		return nil
	},
}

// Each file of testdata has mistakes of one kind, but for many.toml, and beside it what is
// said about them.
func TestMistakes(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.toml")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".toml")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			c, err := Parse(name+".toml", text, goldenOptions)
			if c != nil || err == nil {
				t.Fatalf("got %+v, %v", c, err)
			}
			errs := Errors(nil)
			if !errors.As(err, &errs) {
				t.Fatalf("%T: %v", err, err)
			}
			got := err.Error() + "\n"
			if strings.Contains(got, "secret") || strings.Contains(got, "me:") {
				t.Errorf("a password is shown:\n%s", got)
			}
			golden := strings.TrimSuffix(file, ".toml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			checkPlaces(t, text, errs)
		})
	}
}

// checkPlaces reports whether each mistake is at a place of the text, and in order.
func checkPlaces(t *testing.T, text []byte, errs Errors) {
	t.Helper()
	lines := strings.Split(string(text), "\n")
	for i, e := range errs {
		if !strings.HasSuffix(e.File, ".toml") {
			continue
		}
		if e.Line < 1 || e.Line > len(lines) || e.Column < 1 || e.Column > len(lines[e.Line-1])+1 {
			t.Errorf("%v: there is no such place", e)
		}
		if i > 0 && errs[i-1].compare(e) > 0 {
			t.Errorf("%v stands before %v", errs[i-1], e)
		}
	}
}
