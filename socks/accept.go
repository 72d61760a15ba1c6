package socks

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// MaxMessage is the least buffer, in bytes, that the reader given to [Accept] needs:
// no message of a handshake that is accepted is longer.
const MaxMessage = 1024

// ErrNotSOCKS says that the first byte of a conversation begins no SOCKS dialect. The
// byte, and all after it, is still unread.
var ErrNotSOCKS = errors.New("socks: client speaks neither SOCKS4 nor SOCKS5")

// ErrAuth says that the client's credentials, or their absence, were refused.
var ErrAuth = errors.New("socks: login refused")

// Accept reads one [Request] from a client: the server's side of a conversation up to the
// reply, which [Request.AppendReply] words. It reads from br, whose
// buffer has at least [MaxMessage] bytes, and writes to w the method and the verdict on a
// password. It waits for bytes without a limit of time: the deadline is the caller's, and so
// is closing the connection. It keeps neither br nor w.
//
// Verify judges the client's [Auth]; its error refuses the login. It is called once, or, when
// a client sends a password that was not asked for, twice. A client that offers no password
// has [NoAuth]; a nil verify accepts every client.
//
// If the request and the error are both non-nil, the client still awaits a reply, and
// the error wraps its [Status]. If the request is nil, nothing more is owed: what
// could be said has been said. The errors are [ErrNotSOCKS], [ErrAuth], *[FormatError],
// or come from br or w; an end of input inside a message is io.ErrUnexpectedEOF.
//
// Bytes after the request stay in br: they are the client's early data.
func Accept(br *bufio.Reader, w io.Writer, verify func(Auth) error) (*Request, error) {
	first, err := br.Peek(1)
	if err != nil {
		return nil, err
	}
	if verify == nil {
		verify = func(Auth) error { return nil }
	}
	var r *Request
	switch Version(first[0]) {
	case V4:
		r, err = accept4(br, verify)
	case V5:
		r, err = accept5(br, w, verify)
	default:
		return nil, ErrNotSOCKS
	}
	if err != nil {
		return r, err
	}
	return r, r.Validate()
}

func accept4(br *bufio.Reader, verify func(Auth) error) (*Request, error) {
	r, err := next(br, ParseRequest4)
	if err != nil {
		return owed(&r, err)
	}
	if err := verify(r.Auth); err != nil {
		return &r, fmt.Errorf("%w: %w: %w", ErrAuth, NotAllowed, err)
	}
	return &r, nil
}

func accept5(br *bufio.Reader, w io.Writer, verify func(Auth) error) (*Request, error) {
	methods, err := next(br, ParseMethods)
	if err != nil {
		return nil, err
	}
	method := choose(methods)
	if method == NoAuth {
		if err = verify(Auth{}); err != nil {
			method = NoAcceptable
		}
	}
	if _, werr := w.Write(AppendMethod(nil, method)); werr != nil {
		return nil, werr
	}
	if method == NoAcceptable {
		if err == nil {
			err = errors.New("client offers no method that is known here")
		}
		return nil, fmt.Errorf("%w: %w", ErrAuth, err)
	}
	auth, err := acceptAuth(br, w, method, verify)
	if err != nil {
		return owed(&Request{Version: V5}, err)
	}
	r, err := next(br, ParseRequest5)
	r.Auth = auth
	if err != nil {
		return owed(&r, err)
	}
	return &r, nil
}

// choose prefers a password over none, so that it can isolate, as C tor does.
func choose(methods []byte) Method {
	best := NoAcceptable
	for _, m := range methods {
		switch Method(m) {
		case UserPass:
			return UserPass
		case NoAuth:
			best = NoAuth
		}
	}
	return best
}

// acceptAuth reads the password message if one is due, or comes although none is: C tor
// takes it, and there are clients that send it.
func acceptAuth(br *bufio.Reader, w io.Writer, m Method, verify func(Auth) error) (Auth, error) {
	if m == NoAuth {
		first, err := br.Peek(1)
		if err != nil {
			return Auth{}, unexpected(err)
		}
		if first[0] != authVersion {
			return Auth{}, nil
		}
	}
	a, err := next(br, ParseUserPass)
	if err != nil {
		return Auth{}, err
	}
	if err = a.checkTor(); err == nil {
		err = verify(a)
	}
	if _, werr := w.Write(AppendUserPassReply(nil, err == nil)); werr != nil {
		return Auth{}, werr
	}
	if err != nil {
		return Auth{}, fmt.Errorf("%w: %w", ErrAuth, err)
	}
	return a, nil
}

// owed returns the request with an error that the client must hear of in a reply, and
// drops it when a refused login was the answer, or when the input ended early.
func owed(r *Request, err error) (*Request, error) {
	format := (*FormatError)(nil)
	if errors.Is(err, ErrAuth) || !errors.As(err, &format) {
		return nil, err
	}
	return r, err
}

// next reads one message. It alone waits for bytes.
func next[T any](br *bufio.Reader, parse func([]byte) (T, int, error)) (T, error) {
	for least := 1; ; {
		if _, err := br.Peek(least); err != nil {
			var none T
			return none, unexpected(err)
		}
		b, _ := br.Peek(br.Buffered())
		msg, n, err := parse(b)
		if err == nil || !errors.Is(err, ErrShort) {
			br.Discard(n)
			return msg, err
		}
		least = n
	}
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
