package load

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"hosier/socks"
)

// deaf is a connection that takes everything and remembers it.
type deaf struct{ sent bytes.Buffer }

func (d *deaf) write(b []byte) (int, error) { return d.sent.Write(b) }
func (d *deaf) soon()                       {}
func (d *deaf) close()                      {}

func TestScripts(t *testing.T) {
	login := socks.Auth{Method: socks.UserPass, User: "me", Password: "pw"}
	for name, c := range map[string]struct {
		dialect       Dialect
		sent, answers string
	}{
		"none": {},
		"SOCKS4": {
			Dialect{Version: socks.V4, Auth: socks.Auth{User: "me"}},
			"04 01 0050 7f000001 6d65 00", "00 5a 0000 00000000",
		},
		"SOCKS4A": {
			Dialect{Version: socks.V4, Name: "origin.test"},
			"04 01 0050 00000001 00 6f726967696e2e74657374 00", "00 5a 0000 00000000",
		},
		"SOCKS5": {
			Dialect{Version: socks.V5},
			"05 01 00  05 01 00 01 7f000001 0050", "05 00  05 00 00 01 00000000 0000",
		},
		"SOCKS5/name": {
			Dialect{Version: socks.V5, Name: "origin.test"},
			"05 01 00  05 01 00 03 0b 6f726967696e2e74657374 0050", "05 00  05 00 00 03 01 61 0000",
		},
		"SOCKS5/password": {
			Dialect{Version: socks.V5, Auth: login},
			"05 01 02  01 02 6d65 02 7077  05 01 00 01 7f000001 0050", "05 02  01 00  05 00 00 01 00000000 0000",
		},
		"CONNECT": {
			Dialect{Version: socks.HTTP, Name: "origin.test"},
			hex.EncodeToString([]byte("CONNECT origin.test:80 HTTP/1.1\r\nHost: origin.test:80\r\nUser-Agent: hosier-bench\r\nProxy-Connection: Keep-Alive\r\n\r\n")),
			hex.EncodeToString([]byte("HTTP/1.1 200 OK\r\nVia: 1.1 hosier\r\n\r\n")),
		},
		"CONNECT/password": {
			Dialect{Version: socks.HTTP, Auth: login},
			hex.EncodeToString([]byte("CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: 127.0.0.1:80\r\nProxy-Authorization: Basic bWU6cHc=\r\nUser-Agent: hosier-bench\r\nProxy-Connection: Keep-Alive\r\n\r\n")),
			hex.EncodeToString([]byte("HTTP/1.0 200 Connection established\r\n\r\n")),
		},
	} {
		t.Run(name, func(t *testing.T) {
			steps, err := c.dialect.script(netip.MustParseAddrPort("127.0.0.1:80"))
			if err != nil {
				t.Fatal(err)
			}
			answers := append(unhex(t, c.answers), "rest"...)
			for size := 1; size <= len(answers); size++ {
				converse(t, steps, answers, size, unhex(t, c.sent))
			}
		})
	}
}

// converse has the answers come in pieces of a size; all must give the same.
func converse(t *testing.T, steps []step, answers []byte, size int, sent []byte) {
	t.Helper()
	d := &deaf{}
	k := talk{steps: steps}
	ready, err := k.begin(d)
	var rest []byte
	for len(answers) > 0 && err == nil {
		piece := answers[:min(size, len(answers))]
		answers = answers[len(piece):]
		if ready {
			rest = append(rest, piece...)
			continue
		}
		var more []byte
		more, ready, err = k.feed(d, piece)
		rest = append(rest, more...)
	}
	if err != nil || !ready || string(rest) != "rest" || !bytes.Equal(d.sent.Bytes(), sent) {
		t.Errorf("in pieces of %d: ready %v, error %v, rest %q, sent % x, want % x", size, ready, err, rest, d.sent.Bytes(), sent)
	}
}

func TestScriptRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		dialect Dialect
		answers string
		want    string
	}{
		"no method":      {Dialect{Version: socks.V5}, "05 ff", "greeting: the server does not take the method"},
		"another method": {Dialect{Version: socks.V5}, "05 02", "greeting: the server does not take the method"},
		"bad password":   {Dialect{Version: socks.V5, Auth: socks.Auth{Method: socks.UserPass, User: "a", Password: "b"}}, "05 02 01 01", "password: the server refuses"},
		"status":         {Dialect{Version: socks.V5}, "05 00 05 05 00 01 00000000 0000", "request: connection refused"},
		"SOCKS4":         {Dialect{Version: socks.V4}, "00 5b 0000 00000000", "request: general"},
		"garbage":        {Dialect{Version: socks.V5}, "48 54 54 50", "greeting: "},
	} {
		t.Run(name, func(t *testing.T) {
			steps, err := c.dialect.script(netip.MustParseAddrPort("127.0.0.1:80"))
			if err != nil {
				t.Fatal(err)
			}
			k := talk{steps: steps}
			k.begin(&deaf{})
			_, ready, err := k.feed(&deaf{}, unhex(t, c.answers))
			if ready || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("ready %v, error %v, want %q", ready, err, c.want)
			}
		})
	}
}

func TestScriptCannotBeSaid(t *testing.T) {
	long := strings.Repeat("x", 300)
	for name, d := range map[string]Dialect{
		"name":      {Version: socks.V5, Name: "a b"},
		"password":  {Version: socks.V5, Auth: socks.Auth{Method: socks.UserPass, User: long}},
		"IPv6 in 4": {Version: socks.V4},
	} {
		if _, err := d.script(netip.MustParseAddrPort("[::1]:80")); err == nil {
			t.Errorf("%s: there is a script", name)
		}
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
