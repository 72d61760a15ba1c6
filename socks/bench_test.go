package socks

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"testing"
	"time"
)

// handshakes are the conversations that are measured, by both sides.
var handshakes = []struct {
	name   string
	clause string // of the transcript
	server float64
	client float64
}{
	{name: "4", clause: "SOCKS4/connect", server: 1, client: 4},
	{name: "4A", clause: "SOCKS4A/connect", server: 3, client: 4},
	{name: "5", clause: "RFC1928-s3/no-authentication", server: 2, client: 6},
	{name: "5-name", clause: "RFC1928-s4/connect-name", server: 3, client: 6},
	{name: "5-password", clause: "RFC1928-s3/both-methods", server: 5, client: 6},
}

// rehearsed is a connection whose far side has said everything already.
type rehearsed struct {
	net.Conn
	far bytes.Reader
}

func (c *rehearsed) Read(b []byte) (int, error)    { return c.far.Read(b) }
func (c *rehearsed) Write(b []byte) (int, error)   { return len(b), nil }
func (c *rehearsed) Close() error                  { return nil }
func (c *rehearsed) SetDeadline(_ time.Time) error { return nil }

// serveOnce returns the server's side of a handshake, the reply included.
func serveOnce(t testing.TB, tr *transcript) func() {
	said := tr.sent(true)
	in := bytes.NewReader(said)
	br := bufio.NewReaderSize(in, MaxMessage)
	reply := make([]byte, 0, 64)
	return func() {
		in.Reset(said)
		br.Reset(in)
		r, err := Accept(br, io.Discard, nil)
		if err != nil {
			t.Fatal(err)
		}
		reply = r.AppendReply(reply[:0], Succeeded, tr.bound)
		io.Discard.Write(reply)
	}
}

// dialOnce returns the client's side.
func dialOnce(t testing.TB, tr *transcript) func() {
	said := tr.sent(false)
	c := new(rehearsed)
	d := tr.client(c)
	r := &Request{Command: tr.request.Command, Addr: tr.request.Addr}
	return func() {
		c.far.Reset(said)
		if _, _, err := d.Do(context.Background(), r); err != nil {
			t.Fatal(err)
		}
	}
}

func BenchmarkAccept(b *testing.B)   { benchmark(b, serveOnce) }
func BenchmarkDialer(b *testing.B)   { benchmark(b, dialOnce) }
func BenchmarkTogether(b *testing.B) { benchmark(b, together) }

func benchmark(b *testing.B, side func(testing.TB, *transcript) func()) {
	for _, h := range handshakes {
		b.Run(h.name, func(b *testing.B) {
			once := side(b, find(b, h.clause))
			b.ReportAllocs()
			for b.Loop() {
				once()
			}
		})
	}
}

// together returns both sides, over net.Pipe.
func together(t testing.TB, tr *transcript) func() {
	pipes := make(chan net.Conn)
	t.Cleanup(func() { close(pipes) })
	go func() {
		br, reply := bufio.NewReaderSize(nil, MaxMessage), make([]byte, 0, 64)
		for c := range pipes {
			br.Reset(c)
			r, err := Accept(br, c, nil)
			if err != nil {
				t.Error(err)
			} else {
				c.Write(r.AppendReply(reply[:0], Succeeded, tr.bound))
			}
			c.Close()
		}
	}()
	d := tr.client(nil)
	d.Forward = func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		pipes <- server
		return client, nil
	}
	r := &Request{Command: tr.request.Command, Addr: tr.request.Addr}
	return func() {
		c, _, err := d.Do(context.Background(), r)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
}

func BenchmarkParse(b *testing.B) {
	for _, bench := range []struct {
		name, wire string
		parse      func([]byte) error
	}{
		{"Request4", "04 01 00 50 c0 00 02 01 00", func(b []byte) error { _, _, err := ParseRequest4(b); return err }},
		{"Request4A", `04 01 00 50 00 00 00 01 00 "www.example" 00`, func(b []byte) error { _, _, err := ParseRequest4(b); return err }},
		{"Methods", "05 02 00 02", func(b []byte) error { _, _, err := ParseMethods(b); return err }},
		{"Method", "05 02", func(b []byte) error { _, _, err := ParseMethod(b); return err }},
		{"UserPass", `01 03 "foo" 03 "bar"`, func(b []byte) error { _, _, err := ParseUserPass(b); return err }},
		{"UserPassReply", "01 00", func(b []byte) error { _, _, err := ParseUserPassReply(b); return err }},
		{"Request5", "05 01 00 01 c0 00 02 01 00 50", func(b []byte) error { _, _, err := ParseRequest5(b); return err }},
		{"Request5Name", `05 01 00 03 0b "www.example" 00 50`, func(b []byte) error { _, _, err := ParseRequest5(b); return err }},
		{"Request5Literal", `05 01 00 03 09 "192.0.2.1" 00 50`, func(b []byte) error { _, _, err := ParseRequest5(b); return err }},
		{"Reply4", "00 5a 04 38 c0 00 02 01", func(b []byte) error { _, _, _, err := ParseReply4(b); return err }},
		{"Reply5", "05 00 00 01 c0 00 02 01 04 38", func(b []byte) error { _, _, _, err := ParseReply5(b); return err }},
		{"Short", `05 01 00 03 0b "www"`, func(b []byte) error {
			if _, _, err := ParseRequest5(b); err != ErrShort {
				return err
			}
			return nil
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			wire := mustWire(b, bench.wire)
			b.ReportAllocs()
			b.SetBytes(int64(len(wire)))
			for b.Loop() {
				if err := bench.parse(wire); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestAllocations pins what a handshake allocates on each side, the server's reader and
// reply buffer not counted.
func TestAllocations(t *testing.T) {
	for _, h := range handshakes {
		tr := find(t, h.clause)
		if got := testing.AllocsPerRun(100, serveOnce(t, tr)); got != h.server {
			t.Errorf("%s: the server allocates %v times, want %v", h.name, got, h.server)
		}
		if got := testing.AllocsPerRun(100, dialOnce(t, tr)); got != h.client {
			t.Errorf("%s: the client allocates %v times, want %v", h.name, got, h.client)
		}
	}
}
