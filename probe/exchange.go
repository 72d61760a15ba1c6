package probe

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

const (
	maxTaken    = 4 << 20 // bytes that one exchange takes from the proxy
	maxRecords  = 200     // messages that are kept of an exchange
	maxRecorded = 1024    // bytes that are kept of a message
)

// Exchange is all that one check says to the proxy and hears from it.
type Exchange struct {
	p       *prober
	ctx     context.Context
	conns   []*conn
	opened  []*target
	records []Record
	taken   int
	note    string
}

// Record is one message of an exchange, or, without parts, an event.
type Record struct {
	Conn  int    // which connection with the proxy, from 1
	Sent  bool   // by probe; else by the proxy
	What  string // the message or the event
	Parts []Part
	Total int // bytes of the message; more than the parts have if it was cut
}

// Part is a field of a message.
type Part struct {
	Name  string
	Bytes []byte
}

// verdict ends a check. It is thrown, so that a check reads as the straight line of
// what should happen.
type verdict struct {
	outcome Outcome
	reason  string
}

func (x *Exchange) fail(format string, args ...any) {
	panic(verdict{Failed, fmt.Sprintf(format, args...)})
}

func (x *Exchange) refused(format string, args ...any) {
	panic(verdict{Refused, fmt.Sprintf(format, args...)})
}

func (x *Exchange) skip(format string, args ...any) {
	panic(verdict{Skipped, fmt.Sprintf(format, args...)})
}

// want fails unless ok.
func (x *Exchange) want(ok bool, format string, args ...any) {
	if !ok {
		x.fail(format, args...)
	}
}

func (x *Exchange) record(r Record) {
	if len(x.records) >= maxRecords {
		return
	}
	room := maxRecorded
	for i, p := range r.Parts {
		p.Bytes = x.masked(p.Bytes)
		r.Total += len(p.Bytes)
		keep := min(len(p.Bytes), room)
		room -= keep
		r.Parts[i].Bytes = append([]byte(nil), p.Bytes[:keep]...)
	}
	x.records = append(x.records, r)
}

// masked hides the password that was given, so that an exchange can be shown.
func (x *Exchange) masked(b []byte) []byte {
	l := x.p.cfg.Login
	if l == nil {
		return b
	}
	secrets := []string{base64.StdEncoding.EncodeToString([]byte(l.User + ":" + l.Password)), l.Password}
	for _, s := range secrets {
		b = bytes.ReplaceAll(b, []byte(s), bytes.Repeat([]byte("*"), len(s)))
	}
	return b
}

func (x *Exchange) close() {
	for _, c := range x.conns {
		c.nc.Close()
	}
	for _, t := range x.opened {
		t.close()
	}
}

// target opens a target of the far side, for this exchange alone.
func (x *Exchange) target(k kind) *target { return x.targetOf(k, false) }

func (x *Exchange) targetOf(k kind, v6 bool) *target {
	t, err := x.p.targets.open(k, v6)
	if err != nil {
		x.skip("the target cannot be opened: %v", err)
	}
	x.opened = append(x.opened, t)
	return t
}

// await waits until the target has seen what ok says, and fails if it does not.
func (x *Exchange) await(t *target, what string, ok func(sighting) bool) sighting {
	end := time.Now().Add(x.p.cfg.Timeout)
	for {
		s, err := t.seen()
		if err != nil {
			x.skip("the target cannot be asked: %v", err)
		}
		if ok(s) {
			return s
		}
		if !time.Now().Before(end) || !x.pause(5*time.Millisecond) {
			x.fail("the target %s within %v", what, x.p.cfg.Timeout)
		}
	}
}

// pause waits, and tells whether the exchange may go on.
func (x *Exchange) pause(d time.Duration) bool {
	select {
	case <-x.ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// conn is one connection with the proxy.
type conn struct {
	x  *Exchange
	n  int
	nc net.Conn
	in []byte // read and not yet taken
}

// dial opens a connection with the proxy.
func (x *Exchange) dial() *conn {
	nc, err := x.p.dial(x.ctx)
	if err != nil {
		x.fail("the proxy does not take a connection: %v", err)
	}
	if end, ok := x.ctx.Deadline(); ok {
		nc.SetDeadline(end)
	}
	c := &conn{x: x, n: len(x.conns) + 1, nc: nc}
	x.conns = append(x.conns, c)
	return c
}

// say sends a message in one write. That the proxy has hung up shows when it is read.
func (c *conn) say(what string, parts ...Part) {
	b := join(parts)
	c.x.record(Record{Conn: c.n, Sent: true, What: what, Parts: append([]Part(nil), parts...)})
	c.write(b)
}

func (c *conn) write(b []byte) {
	c.nc.SetWriteDeadline(c.x.soon())
	c.nc.Write(b)
}

// soon is when an answer that is due now is late.
func (x *Exchange) soon() time.Time {
	soon := time.Now().Add(x.p.cfg.Timeout)
	if end, ok := x.ctx.Deadline(); ok && end.Before(soon) {
		return end
	}
	return soon
}

// finish ends what probe sends.
func (c *conn) finish() {
	c.x.record(Record{Conn: c.n, Sent: true, What: "end of input (FIN)"})
	if half, ok := c.nc.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
}

func (c *conn) hangUp() {
	c.x.record(Record{Conn: c.n, Sent: true, What: "hangs up"})
	c.nc.Close()
}

// fill reads until n bytes are there, or the end. The error is io.EOF for an end, a
// reset among them, and os.ErrDeadlineExceeded when the time is over.
func (c *conn) fill(n int, until time.Time) error {
	c.nc.SetReadDeadline(until)
	buf := make([]byte, 16<<10)
	for len(c.in) < n {
		got, err := c.nc.Read(buf)
		c.in = append(c.in, buf[:got]...)
		if c.x.taken += got; c.x.taken > maxTaken {
			c.x.fail("the proxy sent more than %d MiB", maxTaken>>20)
		}
		switch {
		case len(c.in) >= n:
		case errors.Is(err, os.ErrDeadlineExceeded):
			return err
		case err != nil:
			return io.EOF
		}
	}
	return nil
}

// take records the next bytes of the proxy as a message, and removes them.
func (c *conn) take(what string, parts ...Part) []byte {
	b := join(parts)
	c.x.record(Record{Conn: c.n, What: what, Parts: append([]Part(nil), parts...)})
	c.in = c.in[len(b):]
	return b
}

// rest records and returns all that is there.
func (c *conn) rest(what string) []byte {
	b := append([]byte(nil), c.in...)
	if len(b) > 0 {
		c.take(what, Part{"bytes", b})
	}
	return b
}

// need reads until n bytes are there and fails if they do not come.
func (c *conn) need(n int, what string) {
	c.needed(c.fill(n, c.x.soon()), n, what)
}

// needed fails if fill, which was to read n bytes, did not.
func (c *conn) needed(err error, n int, what string) {
	if err == nil {
		return
	}
	have := len(c.in)
	c.rest("part of " + what)
	if err == io.EOF {
		c.event("hangs up")
		c.x.fail("the proxy hung up after %d of %d bytes of %s", have, n, what)
	}
	c.x.fail("%s did not come within %v: %d of %d bytes did", what, c.x.p.cfg.Timeout, have, n)
}

func (c *conn) event(what string) { c.x.record(Record{Conn: c.n, What: what}) }

// expect reads len(want) bytes and fails if they differ.
func (c *conn) expect(want []byte, what string) {
	c.need(len(want), what)
	got := c.take(what, Part{"data", c.in[:len(want)]})
	for i := range want {
		if got[i] != want[i] {
			c.x.fail("%s: byte %d is %02x, not %02x", what, i, got[i], want[i])
		}
	}
}

// ends fails unless the proxy hangs up in time, and without another byte.
func (c *conn) ends(after string) {
	c.endsWithin(after, c.x.p.cfg.Timeout)
}

func (c *conn) endsWithin(after string, d time.Duration) {
	err := c.fill(1, time.Now().Add(d))
	switch {
	case err == io.EOF && len(c.in) == 0:
		c.event("hangs up")
		return
	case err == io.EOF, err == nil:
		b := c.rest("bytes that nobody waits for")
		c.x.fail("%d more bytes came after %s", len(b), after)
	}
	c.x.fail("the proxy did not hang up within %v after %s", d, after)
}

// ended reads all up to the end, at most for the time of one answer. It reports whether
// the end came.
func (c *conn) ended() (b []byte, end bool) {
	err := c.fill(maxTaken, c.x.soon())
	b = c.rest("all that came")
	if err == io.EOF {
		c.event("hangs up")
	}
	return b, err == io.EOF
}

// quiet fails if something comes, or the proxy hangs up, while nothing may happen.
func (c *conn) quiet(why string) {
	err := c.fill(1, time.Now().Add(c.x.p.cfg.Quiet))
	switch {
	case err == nil:
		b := c.rest("bytes that nobody waits for")
		c.x.fail("%d bytes came %s", len(b), why)
	case err == io.EOF:
		c.event("hangs up")
		c.x.fail("the proxy hung up %s", why)
	}
}

func join(parts []Part) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p.Bytes...)
	}
	return b
}

// within waits longer than an answer usually takes for the first n bytes of one.
func (c *conn) within(d time.Duration, n int, what string) {
	if err := c.fill(n, time.Now().Add(d)); err != nil && err != io.EOF {
		c.x.fail("%s did not come within %v", what, d)
	}
}

func isEOF(err error) bool { return err == io.EOF }
