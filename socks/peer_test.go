package socks

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

const proxyName = "proxy.example:1080"

// peer plays the proxy of a transcript. Run it within a synctest bubble.
type peer struct {
	c      net.Conn
	after  []byte // written together with the last answer
	early  []byte // what must come behind the conversation
	stop   int    // after so many bytes of its own it says no more; all if negative
	hangUp bool   // and hangs up then
	slow   bool   // it sends byte by byte
}

func (p *peer) play(turns []turn) (err error) {
	defer p.c.Close()
	left := p.stop
	for i, turn := range turns {
		if turn.client {
			if err := p.expect(turn.bytes); err != nil {
				return err
			}
			continue
		}
		b := turn.bytes
		if i == len(turns)-1 {
			b = append(bytes.Clone(b), p.after...)
		}
		if p.stop >= 0 && len(b) > left {
			return p.end(b[:left])
		}
		left -= len(b)
		if err := p.send(b); err != nil {
			return err
		}
	}
	if err := p.expectRaw(p.early); err != nil {
		return err
	}
	return p.end(nil)
}

// expect reads b, and checks that nothing more is sent before there is an answer.
func (p *peer) expect(b []byte) error {
	if err := p.expectRaw(b); err != nil {
		return err
	}
	synctest.Wait()
	p.c.SetReadDeadline(time.Now().Add(time.Millisecond))
	defer p.c.SetReadDeadline(time.Time{})
	more := make([]byte, 1)
	if n, err := p.c.Read(more); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("client goes on before there is an answer: % x, %w", more[:n], err)
	}
	return nil
}

func (p *peer) expectRaw(b []byte) error {
	got := make([]byte, len(b))
	if n, err := io.ReadFull(p.c, got); err != nil || !bytes.Equal(got, b) {
		return fmt.Errorf("client said % x, %w\nwant % x", got[:n], err, b)
	}
	return nil
}

func (p *peer) send(b []byte) error {
	if !p.slow {
		_, err := p.c.Write(b)
		return err
	}
	for i := range b {
		if _, err := p.c.Write(b[i : i+1]); err != nil {
			return err
		}
	}
	return nil
}

// end sends b and waits until the client hangs up, if it does not hang up itself.
func (p *peer) end(b []byte) error {
	if len(b) > 0 {
		if err := p.send(b); err != nil {
			return err
		}
	}
	if p.hangUp {
		return nil
	}
	if more, err := io.ReadAll(p.c); err != nil || len(more) > 0 {
		return fmt.Errorf("at the end client said % x, %w", more, err)
	}
	return nil
}

// start begins to play, and returns the client's end of the connection and what comes
// of it.
func (p *peer) start(t *testing.T, turns []turn) (net.Conn, <-chan error) {
	client, server := net.Pipe()
	t.Cleanup(func() {
		client.Close()
		server.Close()
	})
	p.c = server
	result := make(chan error, 1)
	go func() { result <- p.play(turns) }()
	return client, result
}

// checkClosed checks that this side has closed its end of a pipe, whatever the far side
// did, and closes it.
func checkClosed(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now())
	if _, err := c.Read(make([]byte, 1)); err != io.ErrClosedPipe {
		t.Errorf("connection is open: %v", err)
	}
	c.Close()
}
