package proxy

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"hosier/socks"
)

// Policy is what holds for a connection. Only Route is required; without it every
// request is refused. A Policy may serve many connections at once, and must not change
// once it does. The Session that its functions are given is the server's: they must not keep
// it, and Identify alone may set Client.
type Policy struct {
	// Identify learns who the client is from what comes before its dialect, such as a PROXY
	// header or the peer of a Unix socket, and sets Client and User of the session. It reads
	// no byte beyond that. The deadline of the handshake is set on the connection; the context
	// ends only with the server. With an error the connection is closed without a byte. Nil
	// takes the other end for the client. At most half of MaxConns may be at this step. On a
	// server that is NonBlocking it waits for nothing but that connection.
	Identify func(context.Context, *Session, net.Conn) error

	// Admit judges the client once it is known, before anything is computed or said for it.
	// With an error ([ErrFull], [ErrLimit], one that wraps a [socks.Status]) the client is
	// refused: where there is a Prepare, by closing the connection without a byte; else in its
	// own dialect, for which it gets a few seconds, and without Verify, Route and Page. It
	// keeps no place of MaxConns meanwhile, and if many are being refused at once it is
	// closed. Nil admits everyone.
	Admit func(*Session) error

	// Prepare makes of a connection the one that the client speaks on: it may begin TLS, and
	// set User of the session. The deadline of the handshake is set on the connection, which
	// it returns or wraps; the context ends only with the server. With an error the connection
	// is closed without a byte. Nil takes every connection as it is. It may wait.
	Prepare func(context.Context, *Session, net.Conn) (net.Conn, error)

	// Dialects are those that are served; all if 0. A client of another one is told so
	// as early as its dialect can say it.
	Dialects Dialects

	// Verify judges what a client says about itself, as in [socks.Accept]: a client
	// without a password has the method NoAuth; a *[LaterError] has it come again later. The
	// user it returns is that of the
	// request. Nil believes everyone, and knows no users but those of Identify and Prepare. It is
	// called from the connection's goroutine.
	Verify func(*Session, socks.Auth) (user string, err error)

	// Known returns the user of a login that Verify would accept, where that is known without
	// computing or waiting: the connection then stays in the event loop, if it is in one.
	// False has Verify asked. Nil knows nobody.
	Known func(*Session, socks.Auth) (user string, ok bool)

	// Route chooses where the session's request goes, or refuses it. An error that wraps no
	// [socks.Status] gives the client a general failure; socks.NotAllowed is the refusal by a
	// rule.
	Route func(context.Context, *Session) (Route, error)

	// Page answers HTTP clients that want no tunnel and may know that somebody is here. The
	// request has no body, and its context an [http.LocalAddrContextKey]. The answer is sent
	// whole, at its end, with a Content-Length and headers that keep web pages from reading
	// it; the connection is closed after it. Nil has a few lines
	// of text, which those get in any case whose request cannot be read.
	Page http.Handler

	// Names are host names by which clients know this server, in lower case and without a dot
	// at the end. HTTP clients that ask for one of them get the Page, as by the server's
	// address; those that ask for another name get nothing, since a web page may have made
	// it lead here.
	Names []string

	// ExtendedErrors lets SOCKS5 clients see Tor's codes F0 to F7, and HTTP clients the header
	// Tor-Capabilities of Tor's proposal 365. Without it they get the ordinary code nearest to
	// it, and no such header.
	ExtendedErrors bool

	HandshakeTimeout time.Duration // from accept to the whole request; 10 s if 0
	ConnectTimeout   time.Duration // for an egress to answer, see Attempts; 150 s if 0, since Tor takes up to 125
	IdleTimeout      time.Duration // ends a relay in which nothing moves; no limit if 0
	TotalTimeout     time.Duration // from accept to the end, whatever moves; no limit if 0
}

// Dialects is a set of dialects.
type Dialects uint8

// The dialects that a [Policy] may serve.
const (
	SOCKS4 Dialects = 1 << iota // and 4A
	SOCKS5
	CONNECT // of HTTP
)

func (d Dialects) has(one Dialects) bool { return d == 0 || d&one != 0 }

// Why a request was refused that no rule would have refused.
var (
	// ErrFull says that the server serves as many as it can: code 01, HTTP 503.
	ErrFull = errors.New("proxy: too many connections")
	// ErrLimit says that this client has had its share: code 02, HTTP 429.
	ErrLimit = errors.New("proxy: client has reached its limit")
	// ErrDialect says that the listener does not serve the dialect of the client.
	ErrDialect = errors.New("proxy: dialect is not served here")
	// ErrTLS says that the client speaks TLS, which the listener does not.
	ErrTLS = errors.New("proxy: client speaks TLS, and the listener does not")
	// ErrTotal is the end of a connection that was open for as long as it may.
	ErrTotal = errors.New("proxy: connection was open for as long as it may")
)

// LaterError is a Verify's refusal of a client whatever it shows, until some time has passed.
// Over HTTP the answer has a Retry-After, and the code 429, or 503 if Err wraps [ErrFull]; 407
// would have programs drop a password that may be right. Other dialects only know that a
// login failed.
type LaterError struct {
	After time.Duration
	Err   error
}

func (e *LaterError) Error() string { return e.Err.Error() }
func (e *LaterError) Unwrap() error { return e.Err }

func (p *Policy) handshakeTimeout() time.Duration { return orElse(p.HandshakeTimeout, 10*time.Second) }

func (p *Policy) connectTimeout() time.Duration { return orElse(p.ConnectTimeout, 150*time.Second) }

func orElse(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}
