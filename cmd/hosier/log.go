package main

import (
	"log/slog"
	"time"

	"hosier/proxy"
)

// logSession writes the line of one connection. It names the target: who asked for it
// with --verbose wants to see that.
func logSession(log *slog.Logger, ses *proxy.Session) {
	attrs := []any{
		"id", ses.ID,
		"listener", ses.Listener,
		"client", ses.Client,
		"took", ses.End.Sub(ses.Start).Round(time.Millisecond),
	}
	if r := ses.Request; r != nil {
		attrs = append(attrs,
			"dialect", r.Version,
			"command", r.Command,
			"target", r.Target(),
			"status", ses.Status,
			"up", ses.Up,
			"down", ses.Down,
		)
	}
	if ses.Err != nil {
		attrs = append(attrs, "error", ses.Err)
	}
	log.Info("connection", attrs...)
}
