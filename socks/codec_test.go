package socks

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"testing"
)

// codec is the Parse and Append pair of one message, whose values are held as any, so
// that one set of checks serves all.
type codec struct {
	parse  func([]byte) (any, int, error)
	append func([]byte, any) ([]byte, error)
}

// reply is what ParseReply4 and ParseReply5 return beside the length.
type reply struct {
	status Status
	bound  Addr
}

var (
	methodsCodec = codec{
		func(b []byte) (any, int, error) {
			m, n, err := ParseMethods(b)
			return string(m), n, err
		},
		func(b []byte, v any) ([]byte, error) {
			var methods []Method
			for _, m := range []byte(v.(string)) {
				methods = append(methods, Method(m))
			}
			return AppendMethods(b, methods...), nil
		},
	}
	methodCodec = codec{
		func(b []byte) (any, int, error) { return any3(ParseMethod(b)) },
		func(b []byte, v any) ([]byte, error) { return AppendMethod(b, v.(Method)), nil },
	}
	userPassCodec = codec{
		func(b []byte) (any, int, error) { return any3(ParseUserPass(b)) },
		func(b []byte, v any) ([]byte, error) { return AppendUserPass(b, v.(Auth)) },
	}
	userPassReplyCodec = codec{
		func(b []byte) (any, int, error) { return any3(ParseUserPassReply(b)) },
		func(b []byte, v any) ([]byte, error) { return AppendUserPassReply(b, v.(bool)), nil },
	}
	request4Codec = codec{
		func(b []byte) (any, int, error) { return any3(ParseRequest4(b)) },
		func(b []byte, v any) ([]byte, error) { r := v.(Request); return AppendRequest4(b, &r) },
	}
	request5Codec = codec{
		func(b []byte) (any, int, error) { return any3(ParseRequest5(b)) },
		func(b []byte, v any) ([]byte, error) { r := v.(Request); return AppendRequest5(b, &r) },
	}
	reply4Codec = codec{
		func(b []byte) (any, int, error) {
			s, bound, n, err := ParseReply4(b)
			return reply{s, bound}, n, err
		},
		func(b []byte, v any) ([]byte, error) {
			return AppendReply4(b, v.(reply).status, v.(reply).bound), nil
		},
	}
	reply5Codec = codec{
		func(b []byte) (any, int, error) {
			s, bound, n, err := ParseReply5(b)
			return reply{s, bound}, n, err
		},
		func(b []byte, v any) ([]byte, error) {
			return AppendReply5(b, v.(reply).status, v.(reply).bound), nil
		},
	}
)

// codecs is every message there is, for the tests that hold for all of them.
var codecs = map[string]codec{
	"methods": methodsCodec, "method": methodCodec,
	"password": userPassCodec, "password-reply": userPassReplyCodec,
	"request4": request4Codec, "request5": request5Codec,
	"reply4": reply4Codec, "reply5": reply5Codec,
}

func any3[T any](v T, n int, err error) (any, int, error) { return v, n, err }

// good is a message that parses.
type good struct {
	clause string
	wire   string
	want   any
	steps  []int  // the lengths that Parse asks for, one after the other, from nothing
	again  string // what Append makes of want, where that is not wire
}

func (c codec) good(t *testing.T, tests []good) {
	for _, test := range tests {
		t.Run(test.clause, func(t *testing.T) {
			b := mustWire(t, test.wire)
			c.whole(t, b, test.want)
			c.truncated(t, b)
			c.steps(t, b, test.steps)
			if test.again != "" {
				b = mustWire(t, test.again)
			}
			got, err := c.append([]byte("before"), test.want)
			if want := append([]byte("before"), b...); err != nil || !bytes.Equal(got, want) {
				t.Errorf("Append: got % x, %v\nwant % x", got, err, want)
			}
		})
	}
}

// whole checks that b parses, alone and with bytes behind it.
func (c codec) whole(t *testing.T, b []byte, want any) {
	t.Helper()
	for _, tail := range []string{"", "\x00", "\xff\xff", "more"} {
		got, n, err := c.parse(append(bytes.Clone(b), tail...))
		if err != nil || n != len(b) || !reflect.DeepEqual(got, want) {
			t.Errorf("Parse with %q behind: got %#v, %d, %v\nwant %#v, %d", tail, got, n, err, want, len(b))
		}
	}
}

// truncated checks that every part of the message b asks for more, and for no more
// than there is.
func (c codec) truncated(t *testing.T, b []byte) {
	t.Helper()
	for have := range b {
		_, n, err := c.parse(b[:have:have])
		if err != ErrShort || n <= have || n > len(b) {
			t.Errorf("Parse of %d of %d bytes: n = %d, %v", have, len(b), n, err)
		}
	}
}

// steps checks what a reader asks for that has nothing and always gets what it asks for.
func (c codec) steps(t *testing.T, b []byte, want []int) {
	t.Helper()
	var got []int
	for have := 0; have < len(b); {
		_, n, err := c.parse(b[:have:have])
		if err != ErrShort || n <= have || n > len(b) {
			return // truncated has said so
		}
		got = append(got, n)
		have = n
	}
	if !slices.Equal(got, want) {
		t.Errorf("Parse asked for %v bytes, want %v", got, want)
	}
}

// bad is a message that breaks the protocol.
type bad struct {
	clause string
	wire   string // up to where that can be told
	status Status
	want   any // what is returned nevertheless; not judged if nil
}

func (c codec) bad(t *testing.T, tests []bad) {
	for _, test := range tests {
		t.Run(test.clause, func(t *testing.T) {
			b := mustWire(t, test.wire)
			for _, tail := range []string{"", "\x00", "\xff\xff", "more"} {
				got, n, err := c.parse(append(bytes.Clone(b), tail...))
				format, status := (*FormatError)(nil), Status(0)
				if !errors.As(err, &format) || format.Status != test.status || !errors.As(err, &status) || status != test.status {
					t.Fatalf("with %q behind: got %#v, %d, %v\nwant status %v", tail, got, n, err, test.status)
				}
				if n != len(b) {
					t.Errorf("with %q behind: n = %d, want %d", tail, n, len(b))
				}
				if test.want != nil && !reflect.DeepEqual(got, test.want) {
					t.Errorf("with %q behind: got %#v\nwant %#v", tail, got, test.want)
				}
			}
			for have := range b {
				if _, n, err := c.parse(b[:have:have]); err != ErrShort || n <= have {
					t.Errorf("Parse of %d of %d bytes: n = %d, %v", have, len(b), n, err)
				}
			}
		})
	}
}

// badValue is a value that no message can carry.
type badValue struct {
	clause string
	value  any
	status Status
}

func (c codec) badValues(t *testing.T, tests []badValue) {
	for _, test := range tests {
		t.Run(test.clause, func(t *testing.T) {
			b, err := c.append([]byte("before"), test.value)
			format := (*FormatError)(nil)
			if !errors.As(err, &format) || format.Status != test.status {
				t.Errorf("got % x, %v, want status %v", b, err, test.status)
			}
			if string(b) != "before" {
				t.Errorf("Append left % x", b)
			}
		})
	}
}
