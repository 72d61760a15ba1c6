package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hosier/internal/debiantest"
	"hosier/internal/tcptest"
	"hosier/socks"
)

// A fault is a system call of hosier's that fails each ninth time.
type fault struct {
	call, errno string
	costs       loss
}

// loss is what a fault may cost a client, at most.
type loss int

const (
	nothing  loss = iota
	theRest       // what comes after the reply, or the request is refused
	theReply      // even this
)

// TestFaultySystemCalls has system calls of a hosier fail while clients come and go. Where that
// cannot be borne it costs their connections; no byte is wrong, nothing hangs or is left open,
// and hosier goes on.
func TestFaultySystemCalls(t *testing.T) {
	t.Parallel()
	strace := debiantest.Program(t, "strace", "strace")
	echo := tcptest.Listen(t, tcptest.Echo)
	_, port, _ := net.SplitHostPort(echo)
	h := startUnder(t, []string{"env", "GOMAXPROCS=3"}) // so that there are two loops
	targets := []string{echo, "localhost:" + port}
	transfers(t, h.addr(), targets, nothing) // what is kept once needed
	before := h.descriptors(t)
	made := map[string]bool{}
	for _, f := range []fault{
		{"accept4", "EPROTO", theReply},
		{"accept4", "EPERM", theReply},
		{"accept4", "EMFILE", theReply},
		{"accept4", "ENOBUFS", theReply},
		{"epoll_ctl", "ENOSPC", theReply},
		{"epoll_ctl", "ENOMEM", theReply},
		{"socket", "EMFILE", theRest},
		{"connect", "EADDRNOTAVAIL", theRest},
		{"recvfrom", "ECONNRESET", theReply},
		{"recvfrom", "EINTR", nothing},
		{"sendto", "EPIPE", theReply},
		{"sendto", "EINTR", nothing},
		{"splice", "EINVAL", theRest},
		{"splice", "EIO", theReply},
		{"fcntl", "EMFILE", theRest},
		{"setsockopt", "ENOPROTOOPT", nothing},
		{"getsockname", "ENOBUFS", theRest},
		{"shutdown", "ENOTCONN", theReply},
	} {
		t.Run(f.call+" "+f.errno, func(t *testing.T) {
			undo := h.inject(t, strace, f)
			transfers(t, h.addr(), targets, f.costs)
			if undo() {
				made[f.call] = true
			}
			transfers(t, h.addr(), targets, nothing)
			await(t, "descriptors to be closed", func() bool { return h.descriptors(t) <= before+spares })
		})
		if h.hasExited() {
			t.Fatalf("hosier ended: %v\n%s", h.cmd.ProcessState, h.log.String())
		}
	}
	// Those with -race read and write by other calls; some are needed seldom.
	for _, call := range []string{"accept4", "epoll_ctl", "socket", "connect", "splice", "setsockopt", "shutdown"} {
		if !made[call] {
			t.Errorf("%s was not made, or never failed", call)
		}
	}
}

// TestWaitsInterrupted has each third wait of a hosier for events, and each third connect, end as
// by a signal, which must not pass for silence or for a connection under way. strace does so from the start to the end: what it lets go in the middle
// of such a wait fails with ENOSYS.
func TestWaitsInterrupted(t *testing.T) {
	strace := debiantest.Program(t, "strace", "strace")
	echo := tcptest.Listen(t, tcptest.Echo)
	trace := filepath.Join(t.TempDir(), "trace")
	h := startUnder(t, []string{
		"env", "GOMAXPROCS=3", strace, "-D", "-f", "-qq", "-o", trace,
		"-e", "trace=epoll_pwait,connect", "-e", "inject=epoll_pwait:error=EINTR:when=3+3", "-e", "inject=connect:error=EINTR:when=1+3",
	})
	transfers(t, h.addr(), []string{echo}, nothing)
	if !wasInjected(t, trace) {
		t.Error("nothing was interrupted")
	}
}

// wasInjected reports whether a call failed as it should have.
func wasInjected(t *testing.T, trace string) bool {
	t.Helper()
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Error(err)
	}
	return bytes.Contains(text, []byte("INJECTED"))
}

// spares are the pipes that may stay open for what comes next.
const spares = 8

// inject has a call fail each ninth time in each of hosier's threads, until what it returns
// is called, which reports whether any did.
func (p *process) inject(t *testing.T, strace string, f fault) (undo func() (made bool)) {
	t.Helper()
	trace := filepath.Join(t.TempDir(), "trace")
	cmd := exec.Command(strace, "-f", "-qq", "-o", trace, "-e", "trace="+f.call,
		"-e", fmt.Sprintf("inject=%s:error=%s:when=1+9", f.call, f.errno), "-p", fmt.Sprint(p.cmd.Process.Pid))
	var said output
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() { cmd.Process.Kill(); <-ended })
	await(t, "strace to attach", func() bool {
		select {
		case <-ended:
			t.Fatalf("strace: %s", said.String())
		default:
		}
		return p.isTraced(t)
	})
	return func() bool {
		cmd.Process.Signal(os.Interrupt)
		<-ended
		return wasInjected(t, trace)
	}
}

// isTraced reports whether all threads are.
func (p *process) isTraced(t *testing.T) bool {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", p.cmd.Process.Pid))
	if err != nil || len(files) == 0 {
		t.Fatalf("hosier has no threads: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(text), "TracerPid:\t0\n") {
			return false
		}
	}
	return true
}

func (p *process) descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// transfers lets clients come that send bytes to an echo and get them back.
func transfers(t *testing.T, proxy string, targets []string, may loss) {
	t.Helper()
	const clients, each = 4, 5
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			for j := range each {
				size := 100
				if j == 1 { // enough to be spliced
					size = 256 << 10
				}
				if err := transfer(proxy, targets[j%len(targets)], byte(i*each+j), size); err != nil {
					if e := (lostError{}); !errors.As(err, &e) || e.lost > may {
						t.Errorf("transfer %d.%d: %v", i, j, err)
					}
				}
			}
		})
	}
	all.Wait()
}

// lostError is an end that a fault may have.
type lostError struct {
	lost  loss
	cause error
}

func (e lostError) Error() string { return fmt.Sprintf("lost to %d: %v", e.lost, e.cause) }

// transfer returns a lostError if the connection came to an end, and another error if it
// stands still or bytes are wrong.
func transfer(proxy, target string, seed byte, size int) error {
	c, err := net.Dial("tcp", proxy)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	addr, err := socks.ParseAddr(target)
	if err != nil {
		return err
	}
	given := func(context.Context, string, string) (net.Conn, error) { return c, nil }
	if _, _, err := (&socks.Dialer{Proxy: proxy, Forward: given}).Do(context.Background(), &socks.Request{Command: socks.Connect, Addr: addr}); err != nil {
		if status := socks.Status(0); errors.As(err, &status) {
			return lostError{theRest, err}
		}
		return lost(err, theReply)
	}
	want := bytes.Repeat([]byte{seed, ^seed, 'x'}, size)
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(want)
		if err == nil {
			err = c.(*net.TCPConn).CloseWrite()
		}
		sent <- err
	}()
	got, err := io.ReadAll(c)
	if err != nil {
		c.Close()
	}
	if werr := <-sent; err == nil {
		err = werr
	}
	if !bytes.HasPrefix(want, got) {
		return fmt.Errorf("%d bytes came back, not all as they were sent", len(got))
	}
	if len(got) < len(want) && err == nil {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return lost(err, theRest)
	}
	return nil
}

// lost is a lostError, unless waiting has ended err.
func lost(err error, what loss) error {
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		return err
	}
	return lostError{what, err}
}
