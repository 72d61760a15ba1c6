package logging

import (
	"bytes"
	"context"
	"io"
	"log/slog"

	"hosier/internal/printable"
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
	if _, err := e.w.Write(printable.JSON(b)); err != nil {
		return 0, err
	}
	return len(b), nil
}
