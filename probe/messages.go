package probe

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"hosier/socks"
)

// The builders below name the fields and judge nothing: most of what a check sends is
// wrong on purpose, which package socks would refuse to make.

func part(name string, b ...byte) Part { return Part{name, b} }

func text(name, s string) Part { return Part{name, []byte(s)} }

func greeting(methods ...byte) []Part {
	return []Part{part("VER", 5), part("NMETHODS", byte(len(methods))), part("METHODS", methods...)}
}

func password(user, pass string) []Part {
	return []Part{part("VER", 1), part("ULEN", byte(len(user))), text("UNAME", user), part("PLEN", byte(len(pass))), text("PASSWD", pass)}
}

func port(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }

// request5 is a SOCKS5 request for an address or a name.
func request5(cmd socks.Command, a socks.Addr) []Part {
	head := []Part{part("VER", 5), part("CMD", byte(cmd)), part("RSV", 0)}
	switch {
	case a.IP.Is4():
		head = append(head, part("ATYP", 1), part("DST.ADDR", a.IP.AsSlice()...))
	case a.IP.IsValid():
		head = append(head, part("ATYP", 4), part("DST.ADDR", a.IP.AsSlice()...))
	default:
		head = append(head, part("ATYP", 3), part("LEN", byte(len(a.Name))), text("DST.ADDR", a.Name))
	}
	return append(head, part("DST.PORT", port(a.Port)...))
}

// set returns the message with one field replaced.
func set(parts []Part, name string, b ...byte) []Part {
	out := append([]Part(nil), parts...)
	for i := range out {
		if out[i].Name == name {
			out[i].Bytes = b
		}
	}
	return out
}

// request4 is a SOCKS4 request, or a SOCKS4A request if there is a name.
func request4(cmd socks.Command, a socks.Addr, user string) []Part {
	ip := []byte{0, 0, 0, 1}
	if a.IP.Is4() {
		ip = a.IP.AsSlice()
	}
	m := []Part{
		part("VN", 4), part("CD", byte(cmd)), part("DSTPORT", port(a.Port)...), part("DSTIP", ip...),
		text("USERID", user), part("NULL", 0),
	}
	if !a.IP.IsValid() {
		m = append(m, text("HOST", a.Name), part("NULL", 0))
	}
	return m
}

// head is an HTTP request head. Each header is a whole line.
func head(line string, headers ...string) []Part {
	parts := []Part{text("request line", line+"\r\n")}
	for _, h := range headers {
		parts = append(parts, text("header", h+"\r\n"))
	}
	return append(parts, text("empty line", "\r\n"))
}

func connectHead(a socks.Addr, headers ...string) []Part {
	return head("CONNECT "+a.String()+" HTTP/1.1", append([]string{"Host: " + a.String()}, headers...)...)
}

func basic(l Login) string {
	return "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(l.User+":"+l.Password))
}

// reply is an answer to a request, in any dialect.
type reply struct {
	code  byte // of SOCKS; 0 for a success in SOCKS5, 5A in SOCKS4
	four  bool // SOCKS4
	cut   bool // a failure that ended after its code, and has nothing else
	atyp  byte // SOCKS5
	bound socks.Addr
	raw   []byte
	http  *httpReply
}

// succeeded reports whether the proxy says that it did what it was asked.
func (r reply) succeeded() bool {
	switch {
	case r.http != nil:
		return r.http.code/100 == 2
	case r.four:
		return r.code == 0x5A
	}
	return r.code == 0
}

func (r reply) String() string {
	switch {
	case r.http != nil:
		return fmt.Sprintf("HTTP %d", r.http.code)
	case r.four:
		return fmt.Sprintf("SOCKS4 code %02X", r.code)
	}
	return fmt.Sprintf("code %02X (%v)", r.code, socks.Status(r.code))
}

// method reads the server's choice of a method.
func (c *conn) method() byte {
	c.need(2, "the method reply")
	b := c.take("method reply", Part{"VER", c.in[:1]}, Part{"METHOD", c.in[1:2]})
	c.x.want(b[0] == 5, "the method reply begins with %02x, not with version 05", b[0])
	return b[1]
}

// verdict reads the answer to a password.
func (c *conn) verdict() byte {
	c.need(2, "the password reply")
	b := c.take("password reply", Part{"VER", c.in[:1]}, Part{"STATUS", c.in[1:2]})
	c.x.want(b[0] == 1, "the password reply begins with %02x, not with version 01", b[0])
	return b[1]
}

// cutFailure reads up to n bytes of a reply, and returns whether the proxy hung up within them
// and had sent at least the code of a failure. The checks of what a failure is about go by that
// code, so that the missing rest counts once: in reply/whole and socks4/eight-bytes.
func (c *conn) cutFailure(n int, version, granted byte) (r reply, cut bool) {
	err := c.fill(n, c.x.soon())
	if err == io.EOF && len(c.in) >= 2 && c.in[0] == version && c.in[1] != granted {
		b := c.rest("part of the reply")
		c.event("hangs up")
		return reply{code: b[1], cut: true, raw: b}, true
	}
	c.needed(err, n, "the reply")
	return r, false
}

// whole fails if the proxy hung up within its reply.
func (x *Exchange) whole(r reply) {
	x.want(!r.cut, "the proxy hung up after %d bytes of the reply", len(r.raw))
}

// reply5 reads a reply of SOCKS5. A form that no client could read fails, but see cutFailure.
func (c *conn) reply5() reply {
	if r, cut := c.cutFailure(5, 5, 0); cut {
		return r
	}
	size := 4
	switch c.in[3] {
	case 1:
	case 3:
		size = 1 + int(c.in[4])
	case 4:
		size = 16
	default:
		c.fill(10, c.x.soon())
		b := c.rest("reply")
		c.x.fail("the reply with code %02X has address type %02x, which no client can read", b[1], b[3])
	}
	n := 4 + size + 2
	if r, cut := c.cutFailure(n, 5, 0); cut {
		return r
	}
	in := c.in[:n:n]
	c.take("reply", Part{"VER", in[:1]}, Part{"REP", in[1:2]}, Part{"RSV", in[2:3]}, Part{"ATYP", in[3:4]},
		Part{"BND.ADDR", in[4 : n-2]}, Part{"BND.PORT", in[n-2:]})
	c.x.want(in[0] == 5, "the reply begins with %02x, not with version 05", in[0])
	_, bound, _, err := socks.ParseReply5(in)
	c.x.want(err == nil, "the reply cannot be read: %v", err)
	return reply{code: in[1], atyp: in[3], bound: bound, raw: in}
}

// reply4 reads a reply of SOCKS4; see cutFailure.
func (c *conn) reply4() reply {
	if r, cut := c.cutFailure(8, 0, 0x5A); cut {
		r.four = true
		return r
	}
	in := c.in[:8:8]
	c.take("reply", Part{"VN", in[:1]}, Part{"CD", in[1:2]}, Part{"DSTPORT", in[2:4]}, Part{"DSTIP", in[4:8]})
	c.x.want(in[0] == 0, "the reply begins with %02x; a SOCKS4 reply has version 00", in[0])
	bound := socks.Addr{IP: netip.AddrFrom4([4]byte(in[4:8])), Port: binary.BigEndian.Uint16(in[2:4])}
	return reply{code: in[1], four: true, bound: bound, raw: in}
}

// httpReply is the head of an answer of HTTP.
type httpReply struct {
	code    int
	proto   string
	headers [][2]string // the names in lower case
}

// get returns the first value of a header, and whether there is one.
func (h *httpReply) get(name string) (string, bool) {
	for _, f := range h.headers {
		if f[0] == name {
			return f[1], true
		}
	}
	return "", false
}

const maxHTTPHead = 16 << 10

// replyHTTP reads the head of an answer.
func (c *conn) replyHTTP() reply {
	for n := 1; ; n = len(c.in) + 1 {
		if i := strings.Index(string(c.in), "\r\n\r\n"); i >= 0 {
			raw := c.take("HTTP answer", Part{"head", c.in[:i+4]})
			h, err := parseHead(string(raw[:i]))
			c.x.want(err == nil, "the HTTP answer cannot be read: %v", err)
			return reply{raw: raw, http: h}
		}
		c.x.want(n < maxHTTPHead, "the head of the HTTP answer has no end within %d KiB", maxHTTPHead>>10)
		c.need(n, "the HTTP answer")
	}
}

func parseHead(head string) (*httpReply, error) {
	lines := strings.Split(head, "\r\n")
	h := &httpReply{}
	var minor int
	if n, err := fmt.Sscanf(lines[0], "HTTP/1.%d %d", &minor, &h.code); n != 2 || h.code < 100 || h.code > 999 {
		return nil, fmt.Errorf("its first line is not a status line of HTTP/1 (%w)", errOr(err))
	}
	h.proto = lines[0][:8]
	for _, line := range lines[1:] {
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" || strings.ContainsAny(name, " \t\r\n") {
			return nil, fmt.Errorf("a header line has no name and colon")
		}
		h.headers = append(h.headers, [2]string{strings.ToLower(name), strings.TrimSpace(value)})
	}
	return h, nil
}

func errOr(err error) error {
	if err == nil {
		return fmt.Errorf("the status is out of range")
	}
	return err
}
