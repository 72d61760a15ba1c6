package socks

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"
)

// conversation is one request of a Dialer on its connection c. It waits for each answer
// before it goes on: C tor loses the first of two answers when it gets two messages at
// once.
type conversation struct {
	*Dialer
	c         net.Conn
	interrupt func() // ends all waiting for c, for good
	asked     bool   // the request has been sent, or a part of it
}

func newConversation(d *Dialer, c net.Conn) conversation {
	return conversation{Dialer: d, c: c, interrupt: func() {
		if c.SetDeadline(time.Unix(1, 0)) != nil { // an SSH channel has no deadlines
			c.Close()
		}
	}}
}

// run returns the status that the proxy replied. Its errors are *ProxyErrors.
func (t *conversation) run(request []byte) (s Status, bound Addr, err error) {
	if t.Version != V4 {
		err = t.greet()
	}
	if err == nil {
		t.asked = true
		_, err = t.c.Write(request)
	}
	if err == nil {
		if s, bound, err = t.reply(request[:0]); err != nil {
			err = fmt.Errorf("reply: %w", err)
		}
	}
	if err != nil {
		return 0, Addr{}, &ProxyError{Proxy: t.Proxy, Err: err, Asked: t.asked}
	}
	return s, bound, nil
}

func (t *conversation) greet() error {
	limit := time.AfterFunc(greetTimeout, t.interrupt)
	b := AppendMethods(make([]byte, 0, 64), NoAuth)
	if t.Auth.present() {
		b = AppendMethods(b[:0], NoAuth, UserPass)
	}
	m, err := tell(t.c, b, ParseMethod)
	if err == nil {
		err = t.login(b, m)
	}
	if !limit.Stop() {
		return fmt.Errorf("no answer to greeting and login within %v: %w", greetTimeout, os.ErrDeadlineExceeded)
	}
	return err
}

func (t *conversation) login(b []byte, m Method) error {
	switch {
	case m == NoAuth:
		return nil
	case m != UserPass || !t.Auth.present():
		return fmt.Errorf("%w: it accepts none of the methods offered", ErrAuth)
	}
	b, err := AppendUserPass(b[:0], t.Auth)
	if err != nil {
		return err
	}
	accepted, err := tell(t.c, b, ParseUserPassReply)
	if err == nil && !accepted {
		err = fmt.Errorf("%w: user name or password is wrong", ErrAuth)
	}
	return err
}

// tell writes b and reads the one message that answers it.
func tell[T any](c net.Conn, b []byte, parse func([]byte) (T, int, error)) (answer T, err error) {
	if _, err = c.Write(b); err != nil {
		return answer, err
	}
	for b = b[:0]; ; {
		var n int
		if answer, n, err = parse(b); !errors.Is(err, ErrShort) {
			return answer, err
		}
		if b, err = readTo(c, b, n); err != nil && len(b) < n {
			return answer, unexpected(err)
		}
	}
}

// reply reads the reply into b. A failure stands as soon as its code is there, and so
// the rest of it may be missing, for which a proxy gets no more than restTimeout.
func (t *conversation) reply(b []byte) (s Status, bound Addr, err error) {
	parse := ParseReply5
	if t.Version == V4 {
		parse = ParseReply4
	}
	var limit *time.Timer
	for {
		var n int
		if s, bound, n, err = parse(b); !errors.Is(err, ErrShort) {
			return s, bound, err
		}
		if s != Succeeded && limit == nil {
			limit = time.AfterFunc(restTimeout, t.interrupt)
			defer limit.Stop()
		}
		if b, err = readTo(t.c, b, n); err != nil && len(b) < n {
			if s, _, _, _ = parse(b); s != Succeeded {
				return s, Addr{}, nil
			}
			return s, Addr{}, unexpected(err)
		}
	}
}

// readTo appends what one Read has to b, up to a length of n: the caller of a Dialer gets
// a connection from which nothing is missing that follows the reply.
func readTo(c net.Conn, b []byte, n int) ([]byte, error) {
	have := len(b)
	b = slices.Grow(b, n-have)[:n]
	m, err := c.Read(b[have:])
	return b[:have+m], err
}
