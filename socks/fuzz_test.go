package socks

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// FuzzParse puts any bytes to every Parse function: n is in range, ErrShort asks for
// more than there is, a verdict stands when more bytes come, and what parses survives
// Append and Parse.
func FuzzParse(f *testing.F) {
	for _, tr := range transcripts(f) {
		for _, turn := range tr.turns {
			f.Add(turn.bytes)
		}
		f.Add(tr.early)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > MaxMessage {
			return
		}
		for name, c := range codecs {
			v, n, err := c.parse(b)
			if err == ErrShort {
				if n <= len(b) || n > MaxMessage {
					t.Errorf("%s: ErrShort with n = %d of %d bytes", name, n, len(b))
				}
				c.prefixes(t, name, b, n)
				continue
			}
			if n < 1 || n > len(b) {
				t.Fatalf("%s: n = %d of %d bytes, %v", name, n, len(b), err)
			}
			if err == nil {
				c.prefixes(t, name, b[:n], n)
			} else {
				c.prefixes(t, name, b[:n], MaxMessage) // it asked for what it might have been
			}
			for _, b := range [][]byte{b[:n:n], append(bytes.Clone(b), 0), append(bytes.Clone(b), "\x05\x01\x00"...)} {
				if v2, n2, err2 := c.parse(b); err == nil && !reflect.DeepEqual(v2, v) || n2 != n || text(err2) != text(err) {
					t.Errorf("%s: %#v, %d, %v of %d bytes, but %#v, %d, %v of %d", name, v, n, err, n, v2, n2, err2, len(b))
				}
			}
			if err == nil {
				c.again(t, name, v)
			} else if format := (*FormatError)(nil); !errors.As(err, &format) || format.Status == Succeeded {
				t.Errorf("%s: error is %v", name, err)
			}
		}
	})
}

// prefixes checks that all that is shorter than b is too short, and asks for at most n.
func (c codec) prefixes(t *testing.T, name string, b []byte, n int) {
	t.Helper()
	for have := range b {
		_, least, err := c.parse(b[:have])
		if err != ErrShort || least <= have || least > n {
			t.Errorf("%s: %d of %d bytes: n = %d, %v", name, have, n, least, err)
		}
	}
}

// again checks that v is its own image.
func (c codec) again(t *testing.T, name string, v any) {
	t.Helper()
	if r, ok := v.(Request); ok && r.Version == V4 && r.Addr.IP.Is6() {
		return // Validate refuses it
	}
	if r, ok := v.(reply); ok {
		v = reply{r.status, sayable(r.bound)}
		if r.bound == (Addr{Port: r.bound.Port}) {
			return // no address becomes zeros
		}
	}
	b, err := c.append(nil, v)
	if err != nil {
		t.Fatalf("%s: Append of %#v: %v", name, v, err)
	}
	if r, ok := v.(Request); ok {
		v = asLiteral(r) // that is how Append says addresses
	}
	v2, n, err := c.parse(b)
	if err != nil || n != len(b) || !reflect.DeepEqual(v2, v) {
		t.Errorf("%s: %#v is % x\nis %#v, %d, %v", name, v, b, v2, n, err)
	}
}

// sayable is how a reply tells an address.
func sayable(a Addr) Addr {
	a.IP = a.IP.Unmap()
	return a
}

// FuzzRoundTrip puts any values to Append and then to Parse.
func FuzzRoundTrip(f *testing.F) {
	count := 0
	for _, tr := range transcripts(f) {
		if r := tr.request; r != nil {
			count++
			f.Add(byte(r.Command), r.Addr.IP.AsSlice(), r.Addr.Name, r.Addr.Port, r.Auth.User, r.Auth.Password, byte(tr.status))
		}
	}
	if count == 0 {
		f.Fatal("no transcript has a request")
	}
	f.Fuzz(func(t *testing.T, command byte, raw []byte, name string, port uint16, user, password string, status byte) {
		a := Addr{Port: port}
		if ip, ok := netip.AddrFromSlice(raw); ok {
			a.IP = ip
		} else {
			a.Name = name
		}
		requestTrip(t, request4Codec, Request{Version: V4, Command: Command(command), Addr: a, Auth: Auth{User: user}})
		requestTrip(t, request5Codec, Request{Version: V5, Command: Command(command), Addr: a})
		authTrip(t, Auth{Method: UserPass, User: user, Password: password})
		replyTrip(t, Status(status), a)
	})
}

func requestTrip(t *testing.T, c codec, r Request) {
	t.Helper()
	b, err := c.append(nil, r)
	if err != nil {
		return // what cannot be said has its tables
	}
	want, bad := r, error(nil)
	want.Literal = literal(r)
	if r.Version == V4 {
		want.Addr.IP = r.Addr.IP.Unmap()
	}
	if !r.Addr.IP.IsValid() {
		want.Addr, bad = ParseHost(r.Addr.Name) // a literal, maybe
		want.Addr.Port = r.Addr.Port
	}
	zeros := want.Addr.IP.IsValid() && want.Addr.IP.IsUnspecified()
	refused := bad != nil || !r.Command.known(r.Version) || r.Version == V4 && zeros
	got, n, err := c.parse(b)
	if n != len(b) || (err != nil) != refused || err == nil && !reflect.DeepEqual(got, any(want)) {
		t.Errorf("% x is %v, %d, %v, want %v", b, got, n, err, want)
	}
}

func authTrip(t *testing.T, a Auth) {
	t.Helper()
	b, err := AppendUserPass(nil, a)
	if fits := len(a.User) <= 255 && len(a.Password) <= 255; err != nil || !fits {
		if fits || err == nil {
			t.Errorf("%q: %v", fields([]Auth{a}), err)
		}
		return
	}
	if got, n, err := ParseUserPass(b); got != a || n != len(b) || err != nil {
		t.Errorf("% x is %q, %d, %v", b, fields([]Auth{got}), n, err)
	}
}

func replyTrip(t *testing.T, s Status, bound Addr) {
	t.Helper()
	if !bound.IP.IsValid() && (bound.Name == "" || len(bound.Name) > 255) {
		bound.Name, bound.IP = "", netip.IPv4Unspecified() // told as zeros
	}
	b := AppendReply5(nil, s, bound)
	if got, told, n, err := ParseReply5(b); got != s || told != sayable(bound) || n != len(b) || err != nil {
		t.Errorf("% x is %v, %#v, %d, %v", b, got, told, n, err)
	}
	if !bound.IP.Unmap().Is4() {
		bound = Addr{IP: netip.IPv4Unspecified()}
	}
	b = AppendReply4(nil, s, bound)
	want := reply{GeneralFailure, Addr{}}
	if s == Succeeded {
		want = reply{Succeeded, sayable(bound)}
	}
	if got, n, err := reply4Codec.parse(b); got != any(want) || n != len(b) || err != nil {
		t.Errorf("% x is %#v, %d, %v", b, got, n, err)
	}
}

// FuzzAccept puts any bytes to Accept, divided in any way: the answer is the same.
func FuzzAccept(f *testing.F) {
	for _, tr := range transcripts(f) {
		if tr.dialerOnly {
			continue
		}
		all := append(tr.sent(true), tr.early...)
		f.Add(all, []byte{}, tr.refuse == "refuse", tr.refuse == "refuse-password")
		f.Add(all, []byte{0, 1, 2, 3, 4, 5, 6, 7}, tr.refuse == "refuse", tr.refuse == "refuse-password")
	}
	f.Fuzz(func(t *testing.T, all, cuts []byte, refuseAll, refusePassword bool) {
		refuse := ""
		if refuseAll {
			refuse = "refuse"
		} else if refusePassword {
			refuse = "refuse-password"
		}
		o := accept(bytes.NewReader(all), refuse)
		o.sane(t, all)
		accept(iotest.OneByteReader(bytes.NewReader(all)), refuse).same(t, "byte by byte", o)
		accept(&chunks{left: all, cuts: cuts}, refuse).same(t, "in pieces", o)
	})
}

// sane checks what holds of every answer.
func (o outcome) sane(t *testing.T, all []byte) {
	t.Helper()
	if !bytes.HasSuffix(all, o.left) {
		t.Errorf("left %q of %q", o.left, all)
	}
	status := Succeeded
	switch wrapped := errors.As(o.err, &status); {
	case o.request == nil && o.err == nil:
		t.Error("neither a request nor an error")
	case o.request != nil && o.err != nil && (!wrapped || status == Succeeded):
		t.Errorf("request with an error without a status: %v", o.err)
	case o.request != nil && o.err == nil && (o.request.Validate() != nil || !o.request.Addr.IP.IsValid() && o.request.Addr.Name == ""):
		t.Errorf("request is not valid: %v", o.request)
	case o.request != nil && len(o.request.AppendReply(nil, status, Addr{})) < 8:
		t.Errorf("request has no reply: %v", o.request)
	}
	if o.calls > 2 || !slices.Contains(sayings, string(o.said)) {
		t.Errorf("said % x, asked %d times", o.said, o.calls)
	}
	if len(all) > 0 && all[0] == byte(V4) && (len(o.said) > 0 || o.calls > 1) {
		t.Errorf("said % x to SOCKS4, asked %d times", o.said, o.calls)
	}
}

// sayings is all that Accept ever says.
var sayings = []string{
	"", "\x05\xff",
	"\x05\x00", "\x05\x00\x01\x00", "\x05\x00\x01\x01",
	"\x05\x02", "\x05\x02\x01\x00", "\x05\x02\x01\x01",
}

// chunks reads as many bytes at a time as the next of cuts says, plus one.
type chunks struct{ left, cuts []byte }

func (c *chunks) Read(b []byte) (int, error) {
	if len(c.left) == 0 {
		return 0, io.EOF
	}
	size := len(b)
	if len(c.cuts) > 0 {
		size = min(size, int(c.cuts[0])+1)
		c.cuts = c.cuts[1:]
	}
	n := copy(b[:size], c.left)
	c.left = c.left[n:]
	return n, nil
}

// nameRule says in another way what a name is.
var nameRule = regexp.MustCompile(`\A[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9][A-Za-z0-9_-]*)*\.?\z`)

// FuzzHost puts any text to ParseHost, ParseAddr and what judges onion names.
func FuzzHost(f *testing.F) {
	for _, tr := range transcripts(f) {
		if tr.request != nil {
			f.Add(tr.request.Addr.Host())
		}
	}
	f.Fuzz(func(t *testing.T, host string) {
		onion := Addr{Name: host}
		if err := onion.CheckOnion(); err == nil && onion.IsOnion() && len(host) < 62 {
			t.Errorf("%q is an onion address", host)
		}
		a, err := ParseHost(host)
		literal, notIP := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
		switch {
		case err != nil:
			if !isFormat(err, GeneralFailure) || a != (Addr{}) {
				t.Errorf("%q: %#v, %v", host, a, err)
			}
			if len(host) <= 255 && nameRule.MatchString(host) {
				t.Errorf("%q is a name: %v", host, err)
			}
			return
		case a.IP.IsValid():
			if notIP != nil || a != (Addr{IP: literal}) || literal.Zone() != "" || host[0] == '[' && literal.Is4() {
				t.Errorf("%q: %#v", host, a)
			}
		case a != Addr{Name: host} || len(host) > 255 || !nameRule.MatchString(host) || notIP == nil:
			t.Errorf("%q: %#v", host, a)
		}
		a.Port = uint16(len(host)) * 257
		if got, err := ParseAddr(a.String()); got != a || err != nil {
			t.Errorf("%v: %#v, %v", a, got, err)
		}
	})
}
