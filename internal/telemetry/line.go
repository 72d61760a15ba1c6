package telemetry

import (
	"log/slog"
	"time"

	"hosier/proxy"
)

// maxFields is the number of fields that a line has at most; docs/log.md lists them.
const maxFields = 20

// line appends the fields of a session and its entry to attrs.
func line(attrs []slog.Attr, ses *proxy.Session, e *Entry, unsafe bool) []slog.Attr {
	text := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, value))
		}
	}
	step := func(key string, took time.Duration) {
		if took > 0 {
			attrs = append(attrs, slog.Float64(key, milliseconds(took)))
		}
	}
	attrs = append(attrs, slog.Uint64("id", e.ID))
	text("listener", e.Listener)
	text("client", e.Client)
	text("user", e.User)
	text("dialect", e.Dialect)
	text("command", e.Command)
	text("target", e.Target)
	if ses.Request != nil {
		attrs = append(attrs, slog.Bool("unsafe", unsafe))
	}
	text("rule", e.Rule)
	text("egress", e.Egress)
	text("member", e.Member)
	text("status", e.Status)
	if ses.Request != nil {
		attrs = append(attrs, slog.Int64("up", e.Up), slog.Int64("down", e.Down))
	}
	text("reason", e.Reason)
	step("handshake_ms", ses.Handshake)
	step("connect_ms", ses.Connect)
	step("first_byte_ms", ses.FirstByte)
	return append(attrs, slog.Float64("total_ms", milliseconds(e.End.Sub(e.Start))))
}

// milliseconds returns d in milliseconds, with at most three decimals.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
