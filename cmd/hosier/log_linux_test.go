package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"hosier/internal/tcptest"
)

// startInto runs hosier with a line a connection and its standard error in a small pipe,
// and returns the other end of that once hosier listens.
func startInto(t *testing.T) (h *process, stderr *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	t.Cleanup(func() { r.Close() })
	if _, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, 4096); err != nil {
		t.Fatal(err)
	}
	h = &process{cmd: exec.Command("hosier", "serve", "-v", "--listen", "127.0.0.1:0"), exited: make(chan struct{})}
	h.cmd.Env = append(withoutProxies(os.Environ()), "XDG_STATE_HOME="+stateDirFor(t))
	h.cmd.Stderr = w
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(h.exited)
		h.cmd.Wait()
	}()
	t.Cleanup(func() {
		h.cmd.Process.Kill()
		<-h.exited
	})
	lines := bufio.NewReaderSize(r, 16) // to leave the rest in the pipe
	for len(h.addrs) == 0 {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if found := listeningLine.FindStringSubmatch(line); found != nil {
			h.addrs = []string{found[1]}
		}
	}
	return h, r
}

// converseOnce has a connection served from its begin to its end.
func converseOnce(t *testing.T, h *process, echo string) {
	t.Helper()
	c, err := converse(h.addr(), echo)
	if err != nil || c == nil {
		t.Fatalf("a connection is not served: %v, %v", c, err)
	}
	defer c.Close()
	if got := talk(t, c, "ping", 4); got != "ping" {
		t.Fatalf("got %q", got)
	}
}

// While nobody reads the log, clients are served and relays move on. Once somebody does
// there is a line for each connection, or one that counts those that are missing.
func TestLogNotRead(t *testing.T) {
	const connections = 2000 // more lines than the queue takes
	echo := tcptest.Listen(t, tcptest.Echo)
	h, stderr := startInto(t)
	standing := dialOrFail(t, h.addr())
	if got := talk(t, standing, "\x05\x01\x00"+target(t, echo), 12); !strings.HasPrefix(got, served+"\x05\x00") {
		t.Fatalf("got %q", got)
	}
	for range connections {
		converseOnce(t, h, echo)
	}
	if got := talk(t, standing, "ping", 4); got != "ping" {
		t.Errorf("a relay that stood before: %q", got)
	}
	standing.Close()
	read := make(chan int)
	go func() {
		told := 0
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			missing := 0
			if _, n, ok := strings.Cut(lines.Text(), " lines="); ok {
				fmt.Sscan(n, &missing)
			} else if strings.Contains(lines.Text(), "msg=connection ") {
				missing = 1
			}
			told += missing
		}
		read <- told
	}()
	h.signal(t, syscall.SIGTERM)
	if code := h.awaitExit(t); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if told := <-read; told < connections {
		t.Errorf("%d of %d connections are accounted for", told, connections)
	}
}

// The end of hosier does not wait for a log that nobody reads.
func TestLogNotReadAtTheEnd(t *testing.T) {
	echo := tcptest.Listen(t, tcptest.Echo)
	h, _ := startInto(t)
	for range 50 {
		converseOnce(t, h, echo)
	}
	h.signal(t, syscall.SIGTERM)
	if code := h.awaitExit(t); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

// A log whose reader is gone costs lines and nothing else.
func TestLogClosed(t *testing.T) {
	echo := tcptest.Listen(t, tcptest.Echo)
	h, stderr := startInto(t)
	stderr.Close()
	for range 20 {
		converseOnce(t, h, echo)
	}
	h.signal(t, syscall.SIGTERM)
	if code := h.awaitExit(t); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}
