package admin

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"hosier/internal/private"
)

func TestLoadToken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := ReadToken(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	var all [8]Token
	var group sync.WaitGroup
	for i := range all {
		group.Go(func() {
			var err error
			if all[i], err = LoadToken(dir); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for _, other := range all {
		if other.Reveal() != all[0].Reveal() || len(other.Reveal()) != 43 {
			t.Fatalf("tokens differ: %q, %q", other.Reveal(), all[0].Reveal())
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if info, err := files[0].Info(); err != nil || runtime.GOOS != "windows" && info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestReadTokenRefuses(t *testing.T) {
	t.Parallel()
	good := NewToken().Reveal()
	for _, c := range []struct {
		name, text string
		mode       os.FileMode
		want       string // "" if it is taken
	}{
		{"good", good + "\n", 0o600, ""},
		{"read-only", good, 0o400, ""},
		{"group", good, 0o640, "others may read it"},
		{"everybody", good, 0o604, "others may read it"},
		{"empty", "", 0o600, "32 bytes in base64url"},
		{"short", good[:42], 0o600, "32 bytes in base64url"},
		{"long", good + "AAAA", 0o600, "32 bytes in base64url"},
		{"not-base64", strings.Repeat("!", 43), 0o600, "32 bytes in base64url"},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, tokenFile)
		if err := errors.Join(os.WriteFile(path, []byte(c.text), 0o600), os.Chmod(path, c.mode)); err != nil {
			t.Fatal(err)
		}
		for _, read := range []func(string) (Token, error){ReadToken, LoadToken} {
			_, err := read(dir)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%s: got %v", c.name, err)
			}
			if err != nil && len(c.text) > 40 && strings.Contains(err.Error(), c.text) {
				t.Errorf("%s: the error tells the token", c.name)
			}
		}
	}
}

func TestTokenHides(t *testing.T) {
	t.Parallel()
	token := NewToken()
	inside := struct{ t Token }{token}
	var b strings.Builder
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "token", token, "options", Options{Token: token})
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&b, verb+verb+verb, token, &token, inside)
	}
	if strings.Contains(b.String(), token.Reveal()) {
		t.Errorf("the token stands in %s", &b)
	}
}

// A token of another user's lets that user in, so hosier does not serve with it; asked about a
// service of that user's, it is right.
func TestTokenOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a file of another user that can be read at all takes root; internal/private has the rest")
	}
	dir := t.TempDir()
	want, err := LoadToken(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(dir, tokenFile), 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadToken(dir); !errors.Is(err, private.ErrShared) {
		t.Errorf("LoadToken: %v", err)
	}
	if got, err := ReadToken(dir); err != nil || got.Reveal() != want.Reveal() {
		t.Errorf("ReadToken: %v", err)
	}
}
