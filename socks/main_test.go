package socks

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wire turns the notation of the tables and transcripts into bytes: hex bytes and
// quoted text in any order, either with *N behind it for N in a row.
//
//	05 01 00 03 0b "www.example" 00 50
//	04 01 00 50 c0 00 02 01 "u"*512 00
func wire(text string) (b []byte, err error) {
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		var item []byte
		if text[0] == '"' {
			quoted, err := strconv.QuotedPrefix(text)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", text, err)
			}
			s, err := strconv.Unquote(quoted)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", quoted, err)
			}
			item, text = []byte(s), text[len(quoted):]
		} else {
			digits, rest := text[:min(2, len(text))], text[min(2, len(text)):]
			if item, err = hex.DecodeString(digits); err != nil || len(item) != 1 {
				return nil, fmt.Errorf("%q is not a byte in hex", digits)
			}
			text = rest
		}
		times := 1
		if rest, ok := strings.CutPrefix(text, "*"); ok {
			count, _, _ := strings.Cut(rest, " ")
			if times, err = strconv.Atoi(count); err != nil {
				return nil, err
			}
			text = rest[len(count):]
		}
		if text != "" && text[0] != ' ' {
			return nil, fmt.Errorf("no space before %q", text)
		}
		b = append(b, strings.Repeat(string(item), times)...)
	}
	return b, nil
}

func mustWire(t testing.TB, text string) []byte {
	t.Helper()
	b, err := wire(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWire(t *testing.T) {
	for text, want := range map[string]string{
		``:                 "",
		`05 0a`:            "\x05\x0a",
		`"a b\x00"`:        "a b\x00",
		`01 "ab"*2 00*3`:   "\x01abab\x00\x00\x00",
		`  ff   "" "#" fe`: "\xff#\xfe",
	} {
		if got, err := wire(text); err != nil || string(got) != want {
			t.Errorf("%s: got % x, %v", text, got, err)
		}
	}
	for _, text := range []string{`5`, `0501`, `xx`, `"a`, `"a"b`, `00*`, `00*x`} {
		if got, err := wire(text); err == nil {
			t.Errorf("%s: got % x, want an error", text, got)
		}
	}
}
