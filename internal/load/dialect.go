package load

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"

	"hosier/socks"
)

// step is one message to a server, and the answer to it.
type step struct {
	what  string
	send  []byte
	parse func([]byte) (int, error) // n and socks.ErrShort as in package socks
}

// script is the conversation that leads to the origin. The bytes are the same each time,
// so they are made once.
func (d Dialect) script(origin netip.AddrPort) ([]step, error) {
	if d.Version == 0 {
		return nil, nil
	}
	r := socks.Request{Version: d.Version, Command: socks.Connect, Auth: d.Auth, Addr: socks.AddrFrom(origin)}
	if d.Name != "" {
		host, err := socks.ParseHost(d.Name)
		if err != nil {
			return nil, fmt.Errorf("name %q: %w", d.Name, err)
		}
		r.Addr = socks.Addr{Name: host.Name, IP: host.IP, Port: origin.Port()}
	}
	if d.Version == socks.HTTP {
		return []step{{"request", d.head(r.Addr.String()), replyHTTP}}, nil
	}
	if d.Version == socks.V4 {
		request, err := socks.AppendRequest4(nil, &r)
		return []step{{"request", request, reply4}}, err
	}
	steps, err := d.greeting()
	if err != nil {
		return nil, err
	}
	request, err := socks.AppendRequest5(nil, &r)
	return append(steps, step{"request", request, reply5}), err
}

// greeting offers one method only, so that it is the one that is measured.
func (d Dialect) greeting() ([]step, error) {
	method := socks.NoAuth
	if d.Auth.Method == socks.UserPass {
		method = socks.UserPass
	}
	steps := []step{{"greeting", socks.AppendMethods(nil, method), func(b []byte) (int, error) {
		m, n, err := socks.ParseMethod(b)
		if err == nil && m != method {
			err = fmt.Errorf("the server does not take the method %v", method)
		}
		return n, err
	}}}
	if method == socks.NoAuth {
		return steps, nil
	}
	login, err := socks.AppendUserPass(nil, d.Auth)
	return append(steps, step{"password", login, func(b []byte) (int, error) {
		accepted, n, err := socks.ParseUserPassReply(b)
		if err == nil && !accepted {
			err = errors.New("the server refuses the user name or the password")
		}
		return n, err
	}}), err
}

// head is a CONNECT, as curl words it.
func (d Dialect) head(target string) []byte {
	b := fmt.Appendf(nil, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", target, target)
	if d.Auth.Method == socks.UserPass {
		pair := base64.StdEncoding.EncodeToString([]byte(d.Auth.User + ":" + d.Auth.Password))
		b = fmt.Appendf(b, "Proxy-Authorization: Basic %s\r\n", pair)
	}
	return append(b, "User-Agent: hosier-bench\r\nProxy-Connection: Keep-Alive\r\n\r\n"...)
}

// maxAnswer is how long the head of an answer to CONNECT may be.
const maxAnswer = 8 << 10

func replyHTTP(b []byte) (int, error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	switch line, _, _ := bytes.Cut(b, []byte("\r\n")); {
	case end < 0 && len(b) < maxAnswer:
		return 0, socks.ErrShort
	case end < 0 || !bytes.HasPrefix(line, []byte("HTTP/1.")):
		return 0, errors.New("the server does not answer in HTTP")
	case len(line) < 10 || line[9] != '2':
		return 0, fmt.Errorf("the server answers %q", line)
	}
	return end + 4, nil
}

func reply4(b []byte) (int, error) {
	s, _, n, err := socks.ParseReply4(b)
	return n, verdict(s, err)
}

func reply5(b []byte) (int, error) {
	s, _, n, err := socks.ParseReply5(b)
	return n, verdict(s, err)
}

func verdict(s socks.Status, err error) error {
	if err == nil && s != socks.Succeeded {
		return s
	}
	return err
}

// talk is where one connection stands in its script.
type talk struct {
	steps []step
	early []byte // received, and too short to be an answer
}

// begin sends the first message, and reports whether there is none to send.
func (t *talk) begin(c conn) (ready bool, err error) {
	if len(t.steps) == 0 {
		return true, nil
	}
	return false, sendAll(c, t.steps[0].send)
}

// feed takes what was received. When ready, the way to the origin is open, and rest came
// from there.
func (t *talk) feed(c conn, b []byte) (rest []byte, ready bool, err error) {
	if len(t.early) > 0 {
		t.early = append(t.early, b...)
		b = t.early
	}
	for len(t.steps) > 0 {
		n, err := t.steps[0].parse(b)
		if errors.Is(err, socks.ErrShort) {
			t.early = append([]byte(nil), b...)
			return nil, false, nil
		}
		if err != nil {
			return nil, false, fmt.Errorf("%s: %w", t.steps[0].what, err)
		}
		b, t.steps = b[n:], t.steps[1:]
		if len(t.steps) > 0 {
			if err := sendAll(c, t.steps[0].send); err != nil {
				return nil, false, fmt.Errorf("%s: %w", t.steps[0].what, err)
			}
		}
	}
	t.early = nil
	return b, true, nil
}

// sendAll is for messages that every socket has room for.
func sendAll(c conn, b []byte) error {
	n, err := c.write(b)
	if err == nil && n < len(b) {
		err = errors.New("the connection has no room for a small message")
	}
	return err
}
