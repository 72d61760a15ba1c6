package admin

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"hosier/internal/private"
)

const (
	tokenFile  = "admin.token"
	tokenBytes = 32
)

// Token is what a script shows to be let in. The zero Token matches nothing. No
// formatting or log of a Token shows it.
type Token struct{ text *string } // a pointer, since fmt asks no method of an unexported field

// NewToken returns a random Token.
func NewToken() Token {
	t := random()
	return Token{&t}
}

// Reveal returns the token as it is sent: Authorization: Bearer TOKEN.
func (t Token) Reveal() string {
	if t.text == nil {
		return ""
	}
	return *t.text
}

// Format hides the token, whatever the verb.
func (t Token) Format(f fmt.State, _ rune) { f.Write([]byte("token")) }

// LogValue hides the token.
func (t Token) LogValue() slog.Value { return slog.StringValue("token") }

// matches takes as long for a wrong token as for the right one.
func (t Token) matches(text string) bool {
	if t.text == nil {
		return false
	}
	want, got := sha256.Sum256([]byte(*t.text)), sha256.Sum256([]byte(text))
	return subtle.ConstantTimeCompare(want[:], got[:]) == 1
}

// random is 32 random bytes as text that may stand in a URL.
func random() string {
	b := make([]byte, tokenBytes)
	rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// LoadToken reads the Token of a state directory. If there is none it makes one, for its
// owner alone; of several that do so at once, all get the same. A file that another user owns is
// an error, since that user knows the Token.
func LoadToken(dir string) (Token, error) {
	path := filepath.Join(dir, tokenFile)
	text, err := private.ReadOrCreate(path, func() []byte { return []byte(NewToken().Reveal() + "\n") })
	return parseToken(path, text, err)
}

// ReadToken reads the Token that a running hosier, perhaps of another user, keeps in its state
// directory. A file that others may read is an error. If there is none the error matches
// fs.ErrNotExist.
func ReadToken(dir string) (Token, error) {
	path := filepath.Join(dir, tokenFile)
	text, err := private.ReadFile(path)
	return parseToken(path, text, err)
}

func parseToken(path string, text []byte, err error) (Token, error) {
	if errors.Is(err, private.ErrShared) {
		return Token{}, fmt.Errorf("admin token %w (with the token one can change what hosier does)", err)
	}
	if err != nil {
		return Token{}, fmt.Errorf("admin token: %w", err)
	}
	line := strings.TrimSpace(string(text))
	if raw, err := base64.RawURLEncoding.DecodeString(line); err != nil || len(raw) != tokenBytes {
		return Token{}, fmt.Errorf("admin token %s: it does not hold %d bytes in base64url; without the file a restart makes a new one", path, tokenBytes)
	}
	return Token{&line}, nil
}
