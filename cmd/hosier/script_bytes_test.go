package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"hosier/internal/tcptest"
	"hosier/socks"
)

// The script commands that move bytes.

func cmdConnect(s script, args []string) {
	c, err := dial(args[1])
	s.ts.Check(err)
	s.ts.Defer(func() { c.Close() })
	s.conns[args[0]] = c
}

// dial connects to host:port or unix:/path.
func dial(address string) (net.Conn, error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return net.DialTimeout("unix", path, patience)
	}
	return net.DialTimeout("tcp", address, patience)
}

func cmdSend(s script, args []string) {
	_, err := s.conn(args[0]).Write(parseBytes(s, args[1:]).value)
	s.ts.Check(err)
}

func cmdExpect(s script, args []string) {
	want := parseBytes(s, args[1:])
	if err := want.read(s.conn(args[0])); err != nil {
		s.Fatalf("%s: %v", args[0], err)
	}
}

func cmdDrip(s script, args []string) {
	c := s.conn(args[0])
	count, err := strconv.Atoi(args[1])
	s.ts.Check(err)
	gone := make(chan error, 1)
	go func() {
		n, err := c.Read(make([]byte, 1))
		if n > 0 {
			err = errors.New("there was an answer")
		}
		gone <- err
	}()
	for range count {
		select {
		case err := <-gone:
			if !hungUp(err) {
				s.Fatalf("%s: %v", args[0], err)
			}
			return
		case <-time.After(20 * time.Millisecond):
			c.Write([]byte{'a'}) // that this fails is seen by the reader
		}
	}
	s.Fatalf("%s: took %d bytes and did not hang up", args[0], count)
}

func cmdEOF(s script, args []string) {
	b := make([]byte, 64)
	c := s.conn(args[0])
	n, err := c.Read(b)
	if n > 0 || !hungUp(err) {
		s.Fatalf("%s: got % x, %v; want the end", args[0], b[:n], err)
	}
	c.Close()
}

// hungUp reports whether the other side ended the connection, gently or not.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
}

func cmdFinish(s script, args []string) {
	s.ts.Check(s.conn(args[0]).(interface{ CloseWrite() error }).CloseWrite())
}

func cmdHangup(s script, args []string) { s.ts.Check(s.conn(args[0]).Close()) }

// pattern is bytes of which some may be any.
type pattern struct {
	value []byte
	any   []bool
}

func parseBytes(s script, words []string) (p pattern) {
	for _, word := range words {
		switch {
		case strings.HasPrefix(word, "="):
			p.add([]byte(word[1:]))
		case strings.HasPrefix(word, "5@"), strings.HasPrefix(word, "4@"):
			addr, err := socks.ParseAddr(word[2:])
			s.ts.Check(err)
			p.add(wireAddr(word[0], addr))
		case word == "..":
			p.value, p.any = append(p.value, 0), append(p.any, true)
		default:
			b, err := hex.DecodeString(word)
			s.ts.Check(err)
			p.add(b)
		}
	}
	return p
}

func (p *pattern) add(b []byte) {
	p.value, p.any = append(p.value, b...), append(p.any, make([]bool, len(b))...)
}

// wireAddr is written here once more, lest the scripts believe the code that they test.
func wireAddr(version byte, a socks.Addr) []byte {
	port := []byte{byte(a.Port >> 8), byte(a.Port)}
	switch {
	case version == '4':
		return append(port, a.IP.AsSlice()...)
	case a.Name != "":
		return append(append([]byte{3, byte(len(a.Name))}, a.Name...), port...)
	case a.IP.Is4():
		return append(append([]byte{1}, a.IP.AsSlice()...), port...)
	}
	return append(append([]byte{4}, a.IP.AsSlice()...), port...)
}

// read takes as many bytes from r and compares.
func (p pattern) read(r io.Reader) error {
	got := make([]byte, len(p.value))
	if n, err := io.ReadFull(r, got); err != nil {
		return fmt.Errorf("got % x and then %w, want % x", got[:n], err, p.value)
	}
	for i := range got {
		if !p.any[i] && got[i] != p.value[i] {
			return fmt.Errorf("got % x, want % x", got, p.value)
		}
	}
	return nil
}

func cmdEcho(s script, _ []string) {
	s.Setenv("ECHO", tcptest.Listen(s, tcptest.Echo))
}

func cmdPeer(s script, args []string) {
	type step struct {
		write bool
		bytes pattern
	}
	var steps []step
	for line := range strings.Lines(s.ts.ReadFile(args[1])) {
		if word := strings.Fields(line); len(word) > 0 {
			steps = append(steps, step{word[0] == ">", parseBytes(s, word[1:])})
		}
	}
	s.Setenv(args[0], tcptest.Listen(s, func(c net.Conn) {
		for _, step := range steps {
			if step.write {
				c.Write(step.bytes.value)
			} else if err := step.bytes.read(c); err != nil {
				return // the script sees what becomes of it
			}
		}
		io.Copy(io.Discard, c)
	}))
}
