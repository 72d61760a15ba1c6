package telemetry

import (
	"net/netip"
	"strings"
	"unicode/utf8"

	"hosier/internal/printable"
	"hosier/proxy"
	"hosier/socks"
)

// Scrubbed stands for what is hidden, as in the logs of Tor.
const Scrubbed = "[scrubbed]"

// Bounds of what is shown, in bytes.
const (
	maxName = 320 // a target is at most 255 bytes and a port
	maxText = 512
)

// Redactor decides what may be logged or shown of a connection. The zero value hides
// clients and targets, and every text that could name one.
//
// It hides nothing of what the operator wrote: names of users, listeners, egresses and
// rules. A user is shown only after a login. Nothing ever shows a password, nor the user
// name that a client gives where nobody asks for one.
//
// The texts that it returns are printable and of bounded length.
type Redactor struct {
	// Reveal shows clients, targets and the texts of errors (log.redact = false).
	Reveal bool

	// Words returns the words for an error that this package does not know, "" for one
	// that is not known there either. It is asked about each error of a tree by itself, and
	// its words must hold nothing that a client or a far side chose. It may be nil.
	Words func(error) string

	// Listener returns the name by which the configuration knows the listener at an address,
	// which is Session.Listener, or the address if it knows none. It may be nil.
	Listener func(at string) string
}

// listener returns the name of the listener of a session.
func (d Redactor) listener(ses *proxy.Session) string {
	if d.Listener == nil {
		return clean(ses.Listener, maxName)
	}
	return clean(d.Listener(ses.Listener), maxName)
}

// Target returns the target of r, "" without a request.
func (d Redactor) Target(r *socks.Request) string {
	switch {
	case r == nil:
		return ""
	case !d.Reveal:
		return Scrubbed
	}
	return clean(r.Target(), maxName)
}

// Client returns the address of a client, "" on a Unix socket.
func (d Redactor) Client(a netip.AddrPort) string {
	switch {
	case !a.IsValid():
		return ""
	case !d.Reveal:
		return Scrubbed
	}
	return a.String()
}

// Reason returns why the session failed or how it ended, "" if it ended normally. A
// redacted reason is composed of the types of the errors alone.
func (d Redactor) Reason(ses *proxy.Session) string {
	err := ses.Err
	switch {
	case err == nil:
		return ""
	// An error from before the request may quote what the client sent, password and all.
	case !d.Reveal, ses.Request == nil:
		return clean(d.words(err), maxText)
	}
	text := err.Error()
	for _, secret := range []string{ses.Request.Auth.Password, ses.Request.Auth.Isolation} {
		if secret != "" && strings.Contains(text, secret) {
			return clean(d.words(err), maxText)
		}
	}
	return clean(text, maxText)
}

// clean turns any bytes into printable text of at most limit bytes: unprintable
// characters are escaped as in Go, and an ellipsis ends what is too long. Handlers of
// slog quote as well, but the JSON one passes characters that control a terminal (U+009B,
// U+202E).
func clean(s string, limit int) string {
	const end = "…"
	if len(s) > limit {
		cut := limit - len(end)
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + end
	}
	quoted := printable.String(s)
	if len(quoted) <= limit {
		return quoted
	}
	// Escapes are ASCII; other characters must not be cut in two.
	cut := limit - len(end)
	for cut > 0 && !utf8.RuneStart(quoted[cut]) {
		cut--
	}
	return quoted[:cut] + end
}
