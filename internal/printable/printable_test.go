package printable

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestString(t *testing.T) {
	for in, want := range map[string]string{
		"":                         "",
		"plain, ünï 🦊 \\x1b \"q\"": "plain, ünï 🦊 \\x1b \"q\"",
		"\ufffd":                   "\ufffd", // a replacement character is a character
		"\x1b]0;x\a":               `\x1b]0;x\a`,
		"a\tb\r\nc\x00\x7f":        `a\tb\r\nc\x00\x7f`,
		"\u009b31m\u0085":          `\u009b31m\u0085`,
		"\u202egnp":                `\u202egnp`,
		"\u2066x\u2069\u061c":      `\u2066x\u2069\u061c`,
		"\u200b\u2060\ufeff\u00ad": `\u200b\u2060\ufeff\u00ad`,
		"\u2028":                   `\u2028`,
		"\U000e0001":               `\U000e0001`,
		"a\xffb\xc2":               `a\xffb\xc2`,
	} {
		if got := String(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := Lines("a\n\x1b\nb\r"); got != "a\n\\x1b\nb\\r" {
		t.Errorf("lines: %q", got)
	}
}

func FuzzString(f *testing.F) {
	f.Add("a\n\x1b\u202e\u009b\xff\\")
	f.Fuzz(func(t *testing.T, s string) {
		got := String(s)
		for _, r := range got {
			if !strconv.IsPrint(r) {
				t.Fatalf("%q became %q, with %U", s, got, r)
			}
		}
		if !utf8.ValidString(got) || String(got) != got {
			t.Fatalf("%q became %q, and that %q", s, got, String(got))
		}
		if strings.ReplaceAll(Lines(s), "\n", `\n`) != got {
			t.Fatalf("lines of %q: %q", s, Lines(s))
		}
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var back, same string
		if json.Unmarshal(b, &same) != nil || json.Unmarshal(JSON(b), &back) != nil || back != same || unprintable(JSON(b)) >= 0 {
			t.Fatalf("%s became %s", b, JSON(b))
		}
	})
}
