package telemetry

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"

	"hosier/proxy"
	"hosier/resolver"
	"hosier/socks"
)

// maxErrors is the number of errors of a tree that are looked at.
const maxErrors = 32

// unknown stands for an error whose text may hold anything.
const unknown = "unclassified error"

// fixed are errors with one identity, and the words for each. It is a slice, since an
// error that is not comparable must not be looked up in a map.
var fixed = []struct {
	err  error
	text string
}{
	{proxy.ErrPage, "HTTP client got the page"},
	{proxy.ErrOptions, "HTTP client asked for options"},
	{proxy.ErrProbe, "web page probed the port"},
	{proxy.ErrFull, "too many connections"},
	{proxy.ErrLimit, "client has reached its limit"},
	{proxy.ErrDialect, "dialect is not served here"},
	{proxy.ErrTLS, "client speaks TLS, and the listener does not"},
	{proxy.ErrTotal, "open for as long as allowed"},
	{proxy.ErrPanic, "panic, logged with its stack"},
	{proxy.ErrClientLeft, "client broke the connection off"},
	{socks.ErrNotSOCKS, "client speaks neither SOCKS4 nor SOCKS5"},
	{socks.ErrAuth, "login refused"},
	{socks.ErrShort, "message is not complete"},
	{context.Canceled, "canceled"},
	{context.DeadlineExceeded, "timed out"},
	{os.ErrDeadlineExceeded, "timed out"},
	{net.ErrClosed, "connection was closed here"},
	{fs.ErrPermission, "permission denied"},
	{fs.ErrNotExist, "file does not exist"},
	{io.EOF, "end of stream"},
	{io.ErrUnexpectedEOF, "unexpected end of stream"},
	{io.ErrClosedPipe, "connection was closed here"},
	{bufio.ErrBufferFull, "too long"},
	{errors.ErrUnsupported, "not supported by the egress"},
}

// operations are the values of net.OpError.Op that the standard library sets.
var operations = map[string]string{
	"dial": "dial", "read": "read", "write": "write", "close": "close", "set": "set", "accept": "accept",
	"listen":       "listen",
	"remote error": "TLS alert of the other side", "local error": "TLS alert",
}

// words describes an error by the types and values of its tree, outermost first, and
// never by a text that was composed: that may name the target or the client.
func (d Redactor) words(err error) string {
	w := wording{Redactor: d, left: maxErrors}
	w.walk(err)
	if len(w.parts) == 0 {
		return unknown
	}
	return strings.Join(w.parts, ": ")
}

type wording struct {
	Redactor
	parts []string
	left  int // errors that may still be looked at
}

func (w *wording) walk(err error) {
	if err == nil || w.left == 0 {
		return
	}
	w.left--
	text, more := w.wordOf(err)
	if n := len(w.parts); text != "" && (n == 0 || w.parts[n-1] != text) {
		w.parts = append(w.parts, text)
	}
	if !more {
		return
	}
	before := len(w.parts)
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		w.walk(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			w.walk(err)
		}
	}
	if timeout, ok := err.(net.Error); ok && len(w.parts) == before && text != "timed out" && timeout.Timeout() {
		w.parts = append(w.parts, "timed out")
	}
}

// wordOf describes err without what it wraps, and reports whether to go on with that.
func (w *wording) wordOf(err error) (text string, more bool) {
	for i := range fixed {
		if err == fixed[i].err {
			return fixed[i].text, false
		}
	}
	if w.Words != nil {
		if text := w.Words(err); text != "" {
			return text, false
		}
	}
	switch e := err.(type) {
	case socks.Status:
		return e.String(), false
	case syscall.Errno:
		return e.Error(), false
	case *socks.FormatError:
		return e.Text, false // which has none of the client's bytes
	case *socks.ProxyError:
		return "upstream", true
	case *net.OpError:
		return operations[e.Op], true
	case *net.DNSError:
		return lookup(e)
	case resolver.RCodeError:
		return e.Error(), false
	case *net.AddrError, *net.ParseError, net.InvalidAddrError:
		return "address cannot be used", false
	case net.UnknownNetworkError:
		return "network is not known", false
	case tls.RecordHeaderError:
		return "the peer does not speak TLS", false
	case *tls.CertificateVerificationError:
		return "certificate is not accepted", false
	}
	return "", true
}

// lookup names the DNS server where package resolver does: one of the configuration, and
// neither a client nor a target.
func lookup(e *net.DNSError) (text string, more bool) {
	text = "lookup"
	var by *resolver.ServerError
	if errors.As(e.UnwrapErr, &by) {
		text += " by " + clean(by.Server, maxName)
	}
	switch {
	case e.IsNotFound:
		return text + ": no such host", false
	case e.IsTimeout:
		return text + ": timed out", false
	case by != nil:
		return text, true
	}
	return "lookup failed", true
}
