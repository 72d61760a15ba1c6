package relay

import (
	"bytes"
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// pipes starts a relay over net.Pipe, whose ends know no CloseWrite, in a bubble
// where time is the test's own.
func pipes(t *testing.T, p Pair) (client, server net.Conn, done chan Result) {
	e := new(Engine)
	done = make(chan Result, 1)
	p.Done = func(r Result) { done <- r }
	p.Client, client = net.Pipe()
	p.Server, server = net.Pipe()
	e.Start(p)
	t.Cleanup(func() { e.Close(); client.Close(); server.Close() })
	return client, server, done
}

func TestIdleLimitIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = time.Minute
		client, server, done := pipes(t, Pair{Idle: limit})
		for range 10 {
			time.Sleep(limit - time.Nanosecond)
			client.Write([]byte("x"))
			io.ReadFull(server, make([]byte, 1))
		}
		last := time.Now()
		if r := <-done; r.Err != ErrIdle || r.Up != 10 || overdue(last, limit) {
			t.Errorf("Result = %+v after %v, want ErrIdle after %v", r, time.Since(last), limit)
		}
	})
}

func TestIdleLimitOfBlockedWriteIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = time.Minute
		client, server, done := pipes(t, Pair{Idle: limit})
		client.Write([]byte("nobody takes this"))
		last := time.Now()
		if r := <-done; r.Err != ErrIdle || r.Up != 0 || overdue(last, limit) {
			t.Errorf("Result = %+v after %v, want ErrIdle after %v", r, time.Since(last), limit)
		}
		server.Close()
	})
}

func TestHalfIdleLimitIsExact(t *testing.T) {
	for name, test := range map[string]struct {
		pair Pair
		want time.Duration
	}{
		"default":       {Pair{}, 5 * time.Minute},
		"shorter idle":  {Pair{Idle: time.Minute}, time.Minute},
		"longer idle":   {Pair{Idle: time.Hour}, 5 * time.Minute},
		"set":           {Pair{HalfIdle: 7 * time.Second}, 7 * time.Second},
		"set and idle":  {Pair{Idle: time.Second, HalfIdle: time.Hour}, time.Hour},
		"longer is set": {Pair{Idle: time.Minute, HalfIdle: time.Hour}, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, _, done := pipes(t, test.pair)
				client.Close()
				begun := time.Now()
				if r := <-done; r.Err != ErrIdle || overdue(begun, test.want) {
					t.Errorf("Result = %+v after %v, want ErrIdle after %v", r, time.Since(begun), test.want)
				}
			})
		})
	}
}

func TestNoLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server, done := pipes(t, Pair{})
		time.Sleep(1000 * time.Hour)
		go client.Write([]byte("x"))
		if _, err := io.ReadFull(server, make([]byte, 1)); err != nil {
			t.Error(err)
		}
		server.Close()
		if r := <-done; r.Err != nil || r.Up != 1 {
			t.Errorf("Result = %+v, want 1 up and no error", r)
		}
	})
}

// A client that cannot be told of an end but by closing is closed; see Pair.
func TestClientWithoutCloseWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server, done := pipes(t, Pair{})
		go func() { server.Write([]byte("answer")); server.Close() }()
		if b, err := io.ReadAll(client); string(b) != "answer" || err != nil {
			t.Errorf("ReadAll = %q, %v", b, err)
		}
		if r := <-done; r.Err != nil || r.Down != 6 {
			t.Errorf("Result = %+v, want 6 down and no error", r)
		}
	})
}

// A source that pauses after a burst must not keep the large buffer.
func TestLargeBufferIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server, _ := pipes(t, Pair{})
		reader := &bufferSizes{Conn: client, seen: make(chan int, 100)}
		e := new(Engine)
		far, near := net.Pipe()
		e.Start(Pair{Client: near, Server: reader})
		t.Cleanup(func() { e.Close(); far.Close() })

		go server.Write(make([]byte, smallBuffer))
		io.ReadFull(far, make([]byte, smallBuffer))
		synctest.Wait()
		if got := <-reader.seen; got != smallBuffer {
			t.Errorf("first read with a buffer of %d", got)
		}
		if got := <-reader.seen; got != largeBuffer {
			t.Errorf("after a full read, read with a buffer of %d", got)
		}
		time.Sleep(lease + time.Nanosecond)
		synctest.Wait()
		if got := <-reader.seen; got != smallBuffer {
			t.Errorf("after a pause, read with a buffer of %d", got)
		}
	})
}

// A connection of a kind that others have written panics, or ends the goroutine that uses it.
func TestConnectionPanics(t *testing.T) {
	for name, how := range map[string]func(){"panic": func() { panic("of the test") }, "goexit": runtime.Goexit} {
		for _, where := range []string{"Read", "Write", "SetReadDeadline", "Close"} {
			t.Run(name+"/"+where, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					client, near := net.Pipe()
					server, far := net.Pipe()
					done := make(chan Result, 1)
					e := new(Engine)
					e.Start(Pair{
						Client: near, Server: &badConn{Conn: far, where: where, how: how},
						Done: func(r Result) { done <- r },
					})
					go client.Write([]byte("x"))
					go server.Write([]byte("x"))
					if where == "Close" {
						synctest.Wait()
						server.Close()
						client.Close()
					}
					r := <-done
					p := (*PanicError)(nil)
					if got := errors.As(r.Err, &p); got != (where != "Close") {
						t.Errorf("Result.Err = %v", r.Err)
					} else if got && (p.Value == nil) != (name == "goexit") {
						t.Errorf("Value = %v", p.Value)
					} else if got && !bytes.Contains(p.Stack, []byte("badConn")) {
						t.Errorf("stack without its place:\n%s", p.Stack)
					}
					e.Close()
					client.Close()
					server.Close()
					far.Close()
				})
			})
		}
	}
}

type badConn struct {
	net.Conn
	where string
	how   func()
}

func (b *badConn) at(where string) {
	if b.where == where {
		b.how()
	}
}

func (b *badConn) Read(p []byte) (int, error)  { b.at("Read"); return b.Conn.Read(p) }
func (b *badConn) Write(p []byte) (int, error) { b.at("Write"); return b.Conn.Write(p) }
func (b *badConn) SetReadDeadline(t time.Time) error {
	b.at("SetReadDeadline")
	return b.Conn.SetReadDeadline(t)
}
func (b *badConn) Close() error { b.at("Close"); return b.Conn.Close() }

// bufferSizes notes how large the buffers are that it reads into.
type bufferSizes struct {
	net.Conn
	seen chan int
}

func (b *bufferSizes) Read(p []byte) (int, error) {
	b.seen <- len(p)
	return b.Conn.Read(p)
}

// overdue says that a limit of l from begun was not met by now: too early, or later
// than the wheel's precision allows.
func overdue(begun time.Time, l time.Duration) bool {
	took := time.Since(begun)
	return took < l || took >= l+tick
}
