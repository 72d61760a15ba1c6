package socks

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// accepted calls f for every transcript that is for Accept.
func accepted(t *testing.T, f func(t *testing.T, tr *transcript)) {
	for _, tr := range transcripts(t) {
		if !tr.dialerOnly {
			t.Run(tr.clause, func(t *testing.T) { f(t, tr) })
		}
	}
}

// check compares what Accept did with the transcript.
func (tr *transcript) check(t *testing.T, how string, o outcome) {
	t.Helper()
	left := tr.early
	if tr.fails == "unexpected-eof" {
		left = o.left // of a message that never ended
	}
	o.same(t, how, outcome{tr.request, o.err, tr.said, left, tr.calls})
	var ok bool
	switch tr.fails {
	case "":
		ok = o.err == nil
	case "login":
		ok = errors.Is(o.err, ErrAuth) && (tr.refuse == "") != errors.Is(o.err, errRefused)
	case "not-socks":
		ok = o.err == ErrNotSOCKS
	case "eof":
		ok = o.err == io.EOF
	case "unexpected-eof":
		ok = o.err == io.ErrUnexpectedEOF
	default:
		status, err := readStatus(tr.fails)
		if err != nil {
			t.Fatal(err)
		}
		ok = isFormat(o.err, status)
	}
	if !ok {
		t.Errorf("%s: error is %v, want %q", how, o.err, tr.fails)
	}
	if o.request == nil || !tr.hasReply {
		return
	}
	if status := Status(0); o.err != nil && (!errors.As(o.err, &status) || status != tr.status) {
		t.Errorf("%s: error wraps %v, the client is owed %v", how, status, tr.status)
	}
	if got := o.request.AppendReply(nil, tr.status, tr.bound); !bytes.Equal(got, tr.replied) {
		t.Errorf("%s: reply is % x\nwant % x", how, got, tr.replied)
	}
}

// TestTranscripts replays each transcript whole, byte by byte, and in random pieces.
func TestTranscripts(t *testing.T) {
	accepted(t, func(t *testing.T, tr *transcript) {
		all := append(tr.sent(true), tr.early...)
		tr.check(t, "in one write", accept(bytes.NewReader(all), tr.refuse))
		tr.check(t, "byte by byte", accept(iotest.OneByteReader(bytes.NewReader(all)), tr.refuse))
		tr.check(t, "with the end", accept(iotest.DataErrReader(bytes.NewReader(all)), tr.refuse))
		random := rand.New(rand.NewPCG(1928, uint64(len(all))))
		for range 20 {
			p := &pieces{left: all, random: random}
			tr.check(t, "in random pieces", accept(p, tr.refuse))
		}
	})
}

// pieces reads any number of bytes at a time, none excepted.
type pieces struct {
	left   []byte
	random *rand.Rand
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.left) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.random.IntN(20))], p.left)
	p.left = p.left[n:]
	return n, nil
}

// TestTranscriptsCutOff ends the input after every byte of a transcript.
func TestTranscriptsCutOff(t *testing.T) {
	accepted(t, func(t *testing.T, tr *transcript) {
		if tr.fails == "unexpected-eof" {
			return // cut off already
		}
		all := tr.sent(true)
		for n := range all {
			o := accept(bytes.NewReader(all[:n]), tr.refuse)
			want := io.ErrUnexpectedEOF
			if n == 0 {
				want = io.EOF
			}
			if o.request != nil || o.err != want {
				t.Errorf("end after %d of %d bytes: %v, %v", n, len(all), o.request, o.err)
			}
			if !bytes.HasPrefix(tr.said, o.said) {
				t.Errorf("end after %d of %d bytes: said % x", n, len(all), o.said)
			}
		}
	})
}

// TestTranscriptsInTurn sends nothing before the answer to what went before has come, so
// that a server that waits for too much, or says too little, never ends.
func TestTranscriptsInTurn(t *testing.T) {
	accepted(t, func(t *testing.T, tr *transcript) {
		synctest.Test(t, func(t *testing.T) {
			client, server := net.Pipe()
			go func() {
				defer server.Close()
				o := acceptOpen(server, tr.refuse)
				if o.request != nil && tr.hasReply {
					server.Write(o.request.AppendReply(nil, tr.status, tr.bound))
				}
			}()
			defer client.Close()
			client.SetDeadline(time.Now().Add(time.Minute))
			if len(tr.turns) == 0 {
				client.Write(tr.early)
			}
			for _, turn := range tr.turns {
				if turn.client {
					if _, err := client.Write(turn.bytes); err != nil {
						t.Fatalf("sending % x: %v", turn.bytes, err)
					}
					continue
				}
				got := make([]byte, len(turn.bytes))
				if n, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, turn.bytes) {
					t.Fatalf("got % x, %v\nwant % x", got[:n], err, turn.bytes)
				}
			}
			if tr.fails == "unexpected-eof" || tr.fails == "eof" {
				client.Close()
				return
			}
			if rest, err := io.ReadAll(client); err != nil || len(rest) > 0 {
				t.Errorf("at the end: % x, %v", rest, err)
			}
		})
	})
}

// acceptOpen is accept without taking the rest, which on an open connection has no end.
func acceptOpen(c net.Conn, refuse string) (o outcome) {
	o.request, o.err = Accept(bufio.NewReaderSize(c, MaxMessage), c, func(a Auth) error {
		if refuse == "refuse" || refuse == "refuse-password" && a.Method == UserPass {
			return errRefused
		}
		return nil
	})
	return o
}

// TestTranscriptsUnwritable lets every write fail, the first or the second.
func TestTranscriptsUnwritable(t *testing.T) {
	broken := errors.New("wire is cut")
	accepted(t, func(t *testing.T, tr *transcript) {
		for writes := range 2 {
			w := &failing{after: writes, err: broken}
			r, err := Accept(bufio.NewReaderSize(bytes.NewReader(tr.sent(true)), MaxMessage), w, nil)
			if w.failed && (r != nil || err != broken) {
				t.Errorf("write %d: %v, %v", writes+1, r, err)
			}
			if w.after < 0 {
				t.Errorf("write %d: written to after the failure", writes+1)
			}
		}
	})
}

// failing is a writer that fails once it was written to often enough.
type failing struct {
	after  int
	err    error
	failed bool
}

func (w *failing) Write(b []byte) (int, error) {
	switch {
	case w.failed:
		w.after = -1
		return 0, w.err
	case w.after == 0:
		w.failed = true
		return 0, w.err
	}
	w.after--
	return len(b), nil
}

// TestAcceptReadError passes an error of the connection on as it is, wherever it comes.
func TestAcceptReadError(t *testing.T) {
	broken := errors.New("wire is cut")
	accepted(t, func(t *testing.T, tr *transcript) {
		all := tr.sent(true)
		for n := range all {
			r := io.MultiReader(bytes.NewReader(all[:n]), iotest.ErrReader(broken))
			if o := accept(r, tr.refuse); o.request != nil || o.err != broken && tr.fails != "unexpected-eof" {
				t.Errorf("after %d of %d bytes: %v, %v", n, len(all), o.request, o.err)
			}
		}
	})
}

// TestAcceptVerify tells verify what the client said, and all of it.
func TestAcceptVerify(t *testing.T) {
	for _, test := range []struct {
		clause, wire string
		want         []Auth
	}{
		{"SOCKS4/user", `04 01 00 50 c0 00 02 01 "foo" 00`, []Auth{{User: "foo"}}},
		{"SOCKS4/no-user", `04 01 00 50 c0 00 02 01 00`, []Auth{{}}},
		{"RFC1928-s3/none", `05 01 00 05 01 00 01 c0 00 02 01 00 50`, []Auth{{}}},
		{"RFC1929-s2/password", `05 01 02 01 03 "foo" 03 "bar" 05 01 00 01 c0 00 02 01 00 50`, []Auth{{Method: UserPass, User: "foo", Password: "bar"}}},
		{"RFC1929-s2/unasked", `05 01 00 01 03 "foo" 03 "bar" 05 01 00 01 c0 00 02 01 00 50`, []Auth{{}, {Method: UserPass, User: "foo", Password: "bar"}}},
	} {
		t.Run(test.clause, func(t *testing.T) {
			var got []Auth
			r, err := Accept(bufio.NewReader(bytes.NewReader(mustWire(t, test.wire))), io.Discard, func(a Auth) error {
				got = append(got, a)
				return nil
			})
			if err != nil || r == nil || r.Auth != test.want[len(test.want)-1] {
				t.Errorf("got %v, %v", r, err)
			}
			if fmt.Sprintf("%q", fields(got)) != fmt.Sprintf("%q", fields(test.want)) {
				t.Errorf("verify was asked about %q, want %q", fields(got), fields(test.want))
			}
		})
	}
}

// fields shows what formatting hides.
func fields(all []Auth) (text []string) {
	for _, a := range all {
		text = append(text, string(a.Method), a.User, a.Password, a.Isolation)
	}
	return text
}

// TestAcceptVerifyStatus has a verify whose error looks like one of the protocol: a
// refused login has its answer, and is owed no other.
func TestAcceptVerifyStatus(t *testing.T) {
	refuse := func(Auth) error { return &FormatError{HostUnreachable, "looks like one of the protocol"} }
	for _, text := range []string{"05 01 00", `05 01 02 01 03 "foo" 03 "bar"`} {
		var said bytes.Buffer
		r, err := Accept(bufio.NewReader(bytes.NewReader(mustWire(t, text))), &said, refuse)
		if r != nil || !errors.Is(err, ErrAuth) {
			t.Errorf("%s: %v, %v", text, r, err)
		}
	}
}

// TestAcceptBuffer takes the longest messages there are with a buffer of MaxMessage.
func TestAcceptBuffer(t *testing.T) {
	for _, text := range []string{
		`04 01 00 50 00 00 00 01 "u"*512 00 "n"*255 00`,
		`05 ff 00*255 01 ff "u"*255 ff "p"*255 05 01 00 03 ff "n"*255 00 50`,
	} {
		b := mustWire(t, text+` "early"*1000`)
		o := accept(bytes.NewReader(b), "")
		if o.err != nil || o.request == nil || len(o.left) != 5000 {
			t.Errorf("%.20s: %v, %v, %d bytes left", text, o.request, o.err, len(o.left))
		}
	}
}
