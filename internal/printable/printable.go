// Package printable makes text that comes from outside, such as the words of another server,
// harmless to a terminal: none of it moves the cursor, changes colours or reorders what stands
// beside it.
package printable

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// String returns s with everything that [strconv.IsPrint] excludes escaped as in a Go string:
// control characters (C0, C1 and DEL), those of bidirectional text (UAX 9), invisible ones such
// as U+200B, line separators, and bytes that are not UTF-8. Backslashes stay, so that String of
// what String returned changes nothing.
func String(s string) string { return escape(s, "") }

// Lines returns s as [String] does, but with its line feeds.
func Lines(s string) string { return escape(s, "\n") }

func escape(s, keep string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r == utf8.RuneError || !allowed(r, keep) }) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			q := strconv.Quote(s[:1])
			b.WriteString(q[1 : len(q)-1])
		case allowed(r, keep):
			b.WriteString(s[:n])
		default:
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		}
		s = s[n:]
	}
	return b.String()
}

func allowed(r rune, keep string) bool { return strconv.IsPrint(r) || strings.ContainsRune(keep, r) }

// JSON returns b, a text of JSON or of quoted Go strings by an encoder that has escaped the C0
// characters, with what else cannot be printed escaped as \u and four hex digits, which both
// take. A reader gets the values as they were. It returns b itself where nothing is to be
// escaped.
func JSON(b []byte) []byte {
	i := unprintable(b)
	if i < 0 {
		return b
	}
	return appendEscaped(append(make([]byte, 0, len(b)+64), b[:i]...), b[i:])
}

// unprintable returns where the first character is that must be escaped, or -1.
func unprintable(b []byte) int {
	for i := 0; i < len(b); {
		if b[i] < utf8.RuneSelf && b[i] != 0x7f {
			i++ // of ASCII the encoder has escaped what it must; its own line ends here
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if mustEscape(r, n) {
			return i
		}
		i += n
	}
	return -1
}

func mustEscape(r rune, size int) bool {
	return r == 0x7f || r >= utf8.RuneSelf && (!strconv.IsPrint(r) || r == utf8.RuneError && size == 1)
}

func appendEscaped(to, b []byte) []byte {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if !mustEscape(r, n) {
			to = append(to, b[:n]...)
		} else if high, low := utf16.EncodeRune(r); high != utf8.RuneError {
			to = appendUnit(appendUnit(to, high), low)
		} else {
			to = appendUnit(to, r)
		}
		b = b[n:]
	}
	return to
}

// appendUnit appends a unit of UTF-16 as JSON writes it.
func appendUnit(to []byte, unit rune) []byte {
	const digits = "0123456789abcdef"
	return append(to, '\\', 'u', digits[unit>>12&15], digits[unit>>8&15], digits[unit>>4&15], digits[unit&15])
}
