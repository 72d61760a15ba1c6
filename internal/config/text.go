package config

import (
	"bytes"
	"errors"
	"slices"

	"hosier/internal/rules"
)

// withoutMark returns text without the byte order mark that Windows editors put before
// UTF-8. Their UTF-16 is an error.
func withoutMark(text []byte) ([]byte, error) {
	if bytes.HasPrefix(text, []byte{0xff, 0xfe}) || bytes.HasPrefix(text, []byte{0xfe, 0xff}) {
		return nil, errors.New("this file is UTF-16, and TOML is UTF-8; save it as UTF-8")
	}
	return bytes.TrimPrefix(text, []byte("\ufeff")), nil
}

// checkFlag refuses an empty flag where the key protects: it mostly comes from an unset
// variable, and serving without users, or asking the system's DNS servers, must be
// intended.
func (r *reader) checkFlag(f Flag) {
	if slices.Contains([]string{"users", "dns"}, f.Key) && slices.Equal(f.Values, []string{""}) {
		r.fail(rules.Pos{File: "--" + f.Key}, "it is empty, as if from a variable that is not set; give it a value, or leave it out")
	}
}
