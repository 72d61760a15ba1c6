package tor

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/textproto"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"hosier/internal/printable"
)

const (
	maxReply    = 4 << 20 // bytes of one reply; a list of 30,000 streams fits
	maxLines    = 1 << 16
	askTimeout  = 10 * time.Second
	cookieBytes = 32
)

// control is a connection to a tor's control port (Tor's control-spec). Its methods may
// be called by many goroutines at once.
type control struct {
	conn   net.Conn
	text   *textproto.Reader
	limit  *io.LimitedReader
	events func(line string) // called by the reader for each event

	asking  sync.Mutex    // held from a command to its reply
	looking chan struct{} // holds a token while somebody looks
	replies chan reply
	closing chan struct{} // closed by close
	done    chan struct{} // closed when the connection has ended
	err     error         // then: why
}

// reply is an answer of tor: its code, and its lines without that, printable. A line that had
// data has it behind a line break.
type reply struct {
	code  int
	lines []string
}

// eventCode is that of what tor says unasked.
const eventCode = 650

// dialControl connects to a control port, logs in, and has events from then on told to
// the function, line by line, from a goroutine of its own.
func dialControl(ctx context.Context, address, password string, events func(string)) (*control, error) {
	network, address := networkOf(address)
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("control port: %w", err)
	}
	c := newControl(conn, events)
	go c.read()
	if err := c.login(ctx, password); err != nil {
		c.close()
		return nil, fmt.Errorf("control port %s: %w", address, err)
	}
	return c, nil
}

func newControl(conn net.Conn, events func(string)) *control {
	c := &control{
		conn: conn, events: events, looking: make(chan struct{}, 1),
		replies: make(chan reply), closing: make(chan struct{}), done: make(chan struct{}),
	}
	c.limit = &io.LimitedReader{R: conn}
	c.text = textproto.NewReader(bufio.NewReader(c.limit))
	return c
}

// close ends the connection, and returns when its goroutine has ended. It is called once.
func (c *control) close() {
	close(c.closing)
	c.conn.Close()
	<-c.done
}

// read hands out what tor says until the connection ends.
func (c *control) read() {
	defer close(c.done)
	defer c.conn.Close()
	for {
		c.limit.N = maxReply
		r, err := readReply(c.text)
		if err != nil {
			c.err = err
			return
		}
		if r.code == eventCode {
			for _, line := range r.lines {
				c.events(line)
			}
			continue
		}
		select {
		case c.replies <- r:
		case <-c.closing:
			c.err = net.ErrClosed
			return
		case <-time.After(askTimeout):
			c.err = errors.New("a reply to no command")
			return
		}
	}
}

// readReply reads one reply or event: lines "250-text", "250+text" with data up to a line
// of one dot, and at last "250 text" (control-spec section 2.3). What the port says ends in
// logs, in hosier status and in the console, so here, once, it is made printable.
func readReply(t *textproto.Reader) (r reply, err error) {
	for {
		line, err := t.R.ReadString('\n') // ReadLine would take a line that was cut off for a whole one
		if err != nil {
			return r, unexpected(err)
		}
		line = strings.TrimRight(line, "\r\n")
		if len(line) < 4 {
			return r, fmt.Errorf("reply %q is too short", line)
		}
		code, err := strconv.ParseUint(line[:3], 10, 16)
		if err != nil || r.lines != nil && int(code) != r.code {
			return r, fmt.Errorf("reply has no code, or a second one: %.40q", line)
		}
		r.code = int(code)
		if line[3] == '+' {
			data, err := t.ReadDotBytes()
			if err != nil {
				return r, unexpected(err)
			}
			line += "\n" + strings.TrimSuffix(string(data), "\n")
		}
		if r.lines = append(r.lines, printable.Lines(line[4:])); len(r.lines) > maxLines {
			return r, errors.New("reply has too many lines")
		}
		switch line[3] {
		case ' ':
			return r, nil
		case '-', '+':
		default:
			return r, fmt.Errorf("reply has no separator: %.40q", line)
		}
	}
}

// ask sends a command and returns the lines of the reply. A reply other than 250 is an
// error with tor's words. After a failure of another kind the connection is over.
func (c *control) ask(ctx context.Context, command string) ([]string, error) {
	c.asking.Lock()
	defer c.asking.Unlock()
	verb, _, _ := strings.Cut(command, " ") // the rest may be a secret
	c.conn.SetWriteDeadline(time.Now().Add(askTimeout))
	if _, err := io.WriteString(c.conn, command+"\r\n"); err != nil {
		c.conn.Close()
		select {
		case <-c.done: // what it ended by says more
			err = c.err
		case <-ctx.Done():
		}
		return nil, fmt.Errorf("%s: %w", verb, err)
	}
	timeout := time.NewTimer(askTimeout)
	defer timeout.Stop()
	select {
	case r := <-c.replies:
		if r.code != 250 {
			return nil, fmt.Errorf("%s: tor says %d %s", verb, r.code, r.lines[len(r.lines)-1])
		}
		return r.lines, nil
	case <-c.done:
		return nil, fmt.Errorf("%s: %w", verb, c.err)
	case <-ctx.Done():
		c.conn.Close() // a late reply would be taken for that to another command
		return nil, fmt.Errorf("%s: %w", verb, context.Cause(ctx))
	case <-timeout.C:
		c.conn.Close()
		return nil, fmt.Errorf("%s: no answer within %v", verb, askTimeout)
	}
}

// getInfo returns the values of the keys, in their order. A value of several lines has
// a line break in front.
func (c *control) getInfo(ctx context.Context, keys ...string) ([]string, error) {
	lines, err := c.ask(ctx, "GETINFO "+strings.Join(keys, " "))
	if err != nil {
		return nil, err
	}
	values := make([]string, len(keys))
	for i, key := range keys {
		value, ok := "", false
		for _, line := range lines {
			if value, ok = strings.CutPrefix(line, key+"="); ok {
				break
			}
		}
		if !ok {
			return nil, fmt.Errorf("GETINFO: no %s in the answer", key)
		}
		values[i] = value
	}
	return values, nil
}

// look is getInfo for somebody who may give up before tor has answered. The connection, by
// whose end tor would be taken to be gone, stays as it is then. There is one look at a time.
func (c *control) look(ctx context.Context, key string) (string, error) {
	select {
	case c.looking <- struct{}{}:
	case <-ctx.Done():
		return "", fmt.Errorf("GETINFO: %w", context.Cause(ctx))
	}
	type answer struct {
		values []string
		err    error
	}
	answered := make(chan answer, 1)
	go func() { // until tor answers, the connection ends, or askTimeout is over
		defer func() { <-c.looking }()
		values, err := c.getInfo(context.Background(), key)
		answered <- answer{values, err}
	}()
	select {
	case a := <-answered:
		if a.err != nil {
			return "", a.err
		}
		return a.values[0], nil
	case <-ctx.Done():
		return "", fmt.Errorf("GETINFO: %w", context.Cause(ctx))
	}
}

// streams counts the open streams.
func (c *control) streams(ctx context.Context) (int, error) {
	list, err := c.look(ctx, "stream-status")
	if err != nil {
		return 0, err
	}
	n := 0
	for line := range strings.Lines(list) {
		// ID SP state SP circuit SP target
		if part := strings.Fields(line); len(part) >= 4 && part[1] == "SUCCEEDED" {
			n++
		}
	}
	return n, nil
}

// login authenticates by what tor offers. Of the methods with a cookie SAFECOOKIE alone is used,
// which every tor since 0.2.3 has: by COOKIE, a process that has taken the port of a tor that is
// away would be sent the contents of any 32-byte file that it names.
func (c *control) login(ctx context.Context, password string) error {
	lines, err := c.ask(ctx, "PROTOCOLINFO 1")
	if err != nil {
		return err
	}
	methods, cookie := "", ""
	for _, line := range lines {
		if rest, ok := strings.CutPrefix(line, "AUTH "); ok {
			methods = "," + keywords(rest)["METHODS"] + ","
			_, file, _ := strings.Cut(rest, " COOKIEFILE=")
			cookie, _ = value(file) // as it is: keywords is for what is shown
		}
	}
	offers := func(m string) bool { return strings.Contains(methods, ","+m+",") }
	proof := ""
	switch {
	case offers("NULL"):
	case password != "" && offers("HASHEDPASSWORD"):
		proof = quote(password)
	case offers("SAFECOOKIE"):
		proof, err = c.safeCookie(ctx, cookie)
	case offers("COOKIE"):
		return errors.New("of methods with a cookie it offers COOKIE alone, which would show the cookie; a tor offers SAFECOOKIE with it")
	case offers("HASHEDPASSWORD"):
		return errors.New("tor wants a password")
	default:
		return errors.New("tor offers no way to log in that is known here")
	}
	if err != nil {
		return err
	}
	_, err = c.ask(ctx, strings.TrimSpace("AUTHENTICATE "+proof))
	return err
}

// safeCookie proves knowledge of the cookie without showing it, after tor has done so
// (control-spec section 3.24).
func (c *control) safeCookie(ctx context.Context, file string) (string, error) {
	cookie, err := readCookie(file)
	if err != nil {
		return "", err
	}
	mine := make([]byte, 32)
	rand.Read(mine) // never fails
	lines, err := c.ask(ctx, "AUTHCHALLENGE SAFECOOKIE "+hex.EncodeToString(mine))
	if err != nil {
		return "", err
	}
	word := keywords(strings.TrimPrefix(lines[0], "AUTHCHALLENGE "))
	sum, err1 := hex.DecodeString(word["SERVERHASH"])
	theirs, err2 := hex.DecodeString(word["SERVERNONCE"])
	if err := errors.Join(err1, err2); err != nil {
		return "", fmt.Errorf("AUTHCHALLENGE: %w", err)
	}
	hash := func(key string) []byte {
		mac := hmac.New(sha256.New, []byte(key))
		for _, part := range [][]byte{cookie, mine, theirs} {
			mac.Write(part)
		}
		return mac.Sum(nil)
	}
	if !hmac.Equal(sum, hash("Tor safe cookie authentication server-to-controller hash")) {
		return "", fmt.Errorf("who listens there does not know the cookie in %s", printable.String(file))
	}
	return hex.EncodeToString(hash("Tor safe cookie authentication controller-to-server hash")), nil
}

// readCookie reads the file that the other side named. It has one length only, so that
// no other file can be asked for.
func readCookie(file string) ([]byte, error) {
	shown := printable.String(file)
	failed := func(err error) error {
		if bad := (*fs.PathError)(nil); errors.As(err, &bad) {
			err = bad.Err
		}
		return fmt.Errorf("cookie file %s: %w", shown, err)
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil, failed(err)
	}
	if !info.Mode().IsRegular() || info.Size() != cookieBytes {
		return nil, fmt.Errorf("cookie file %s is not one of %d bytes", shown, cookieBytes)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, failed(err)
	}
	return b, nil
}

// keywords reads words of the form KEY=value or KEY="quoted value", and leaves out what
// is not of that form. The values are printable.
func keywords(s string) map[string]string {
	words := map[string]string{}
	for s = strings.TrimLeft(s, " "); s != ""; s = strings.TrimLeft(s, " ") {
		end := strings.IndexAny(s, " =")
		if end < 0 || s[end] == ' ' {
			_, s, _ = strings.Cut(s, " ")
			continue
		}
		key, v := s[:end], ""
		v, s = value(s[end+1:])
		words[key] = printable.String(v)
	}
	return words
}

// value reads a value, which may be quoted, from the front of s. In quotes tor escapes as C
// does what is not printable ASCII, such as each byte of a letter with an accent (control-spec
// section 2.1.1).
func value(s string) (v, rest string) {
	if !strings.HasPrefix(s, `"`) {
		v, rest, _ = strings.Cut(s, " ")
		return v, rest
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:]
		case s[i] == '\\' && i+1 < len(s):
			c, n := unescape(s[i+1:])
			b.WriteByte(c)
			i += n
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), ""
}

// unescape returns what stands behind a backslash at the front of s, and how many bytes of s
// that are.
func unescape(s string) (c byte, n int) {
	for n < min(3, len(s)) && '0' <= s[n] && s[n] <= '7' {
		n++
	}
	if octal, err := strconv.ParseUint(s[:n], 8, 8); err == nil {
		return byte(octal), n
	}
	if i := strings.IndexByte("ntr", s[0]); i >= 0 {
		return "\n\t\r"[i], 1
	}
	return s[0], 1
}

// quote makes a QuotedString. Line breaks cannot stand in one.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r", "", "\n", "").Replace(s) + `"`
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("tor hung up: %w", io.ErrUnexpectedEOF)
	}
	return err
}
