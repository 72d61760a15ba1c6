package telemetry

import (
	"fmt"
	"log/slog"
	"time"

	"hosier/proxy"
	"hosier/socks"
)

// maxFields is how many fields a line has at most; docs/log.md tells them.
const maxFields = 20

// line appends the fields of a session.
func (d Redactor) line(attrs []slog.Attr, ses *proxy.Session, unsafe bool) []slog.Attr {
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
	attrs = append(attrs, slog.Uint64("id", ses.ID))
	text("listener", clean(ses.Listener, maxName))
	text("client", d.Client(ses.Client))
	text("user", clean(ses.User, maxName))
	if r := ses.Request; r != nil {
		text("dialect", dialect(r))
		text("command", r.Command.String())
		text("target", d.Target(r))
		attrs = append(attrs, slog.Bool("unsafe", unsafe))
	}
	text("rule", clean(ses.Rule, maxName))
	if ses.Egress != nil {
		text("egress", egressName(ses.Egress))
	}
	if r := ses.Request; r != nil {
		text("member", clean(r.Member, maxName))
		text("status", fmt.Sprintf("%02X %s", byte(ses.Status), ses.Status))
		attrs = append(attrs, slog.Int64("up", ses.Up), slog.Int64("down", ses.Down))
	}
	text("reason", d.Reason(ses))
	step("handshake_ms", ses.Handshake)
	step("connect_ms", ses.Connect)
	step("first_byte_ms", ses.FirstByte)
	return append(attrs, slog.Float64("total_ms", milliseconds(ses.End.Sub(ses.Start))))
}

// milliseconds has three decimals at most.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// dialect is the word for the dialect of r; "none" without a request.
func dialect(r *socks.Request) string {
	switch {
	case r == nil:
		return none
	case r.Version == socks.V4 && r.Addr.Name != "":
		return "SOCKS4A"
	case r.Version == socks.V4:
		return "SOCKS4"
	case r.Version == socks.V5:
		return "SOCKS5"
	}
	return "HTTP"
}

// egressName is the name by which the configuration knows a way out.
func egressName(e proxy.Egress) string {
	if named, ok := e.(interface{ Name() string }); ok {
		return clean(named.Name(), maxName)
	}
	return "unnamed"
}
