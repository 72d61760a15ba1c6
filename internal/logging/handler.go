package logging

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// NewHandler returns slog's handler for text or JSON, of which no line can command a
// terminal or change the order of its text, whatever is in a message, a key or a value. A
// reader of the JSON gets the values as they are.
func NewHandler(w io.Writer, json bool, level slog.Leveler) slog.Handler {
	o := &slog.HandlerOptions{Level: level}
	if json {
		return slog.NewJSONHandler(escaper{w}, o)
	}
	return slog.NewTextHandler(escaper{w}, o)
}

// Notice returns the line that a [Queue] writes in the place of others, as a record of
// [NewHandler]'s.
func Notice(json bool) func(lines uint64) []byte {
	return func(lines uint64) []byte {
		var b bytes.Buffer
		log := slog.New(NewHandler(&b, json, slog.LevelInfo))
		log.LogAttrs(context.Background(), slog.LevelWarn, "lines of the log were dropped: they could not be written in time",
			slog.Uint64("lines", lines))
		return b.Bytes()
	}
}

// escaper escapes what slog's handlers leave as it is though it cannot be printed, such as
// U+009B and U+202E in JSON and U+007F in both. In JSON all of it stands inside strings,
// which take \u for any character.
type escaper struct{ w io.Writer }

func (e escaper) Write(b []byte) (int, error) {
	clean := b
	if i := unprintable(b); i >= 0 {
		clean = appendEscaped(append(make([]byte, 0, len(b)+64), b[:i]...), b[i:])
	}
	if _, err := e.w.Write(clean); err != nil {
		return 0, err
	}
	return len(b), nil
}

// unprintable returns where the first character is that must be escaped, or -1.
func unprintable(b []byte) int {
	for i := 0; i < len(b); {
		if b[i] < utf8.RuneSelf && b[i] != 0x7f {
			i++ // of ASCII the handler has escaped what it must; its own line ends here
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
