package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"hosier/egress/tor"
	"hosier/internal/daemon"
	"hosier/internal/tornet"
	"hosier/socks"
)

// spawner is a network, and the arguments that make hosier start tors in it.
type spawner struct {
	net   *tornet.Network
	state string
	args  []string
}

func newSpawner(t *testing.T, daemons int) spawner {
	t.Helper()
	s := spawner{net: tornet.ForTest(t, tornet.Options{}), state: t.TempDir()}
	torrc := filepath.Join(t.TempDir(), "torrc")
	if err := os.WriteFile(torrc, []byte(s.net.ClientTorrc()), 0o600); err != nil {
		t.Fatal(err)
	}
	s.args = []string{"--via", fmt.Sprintf("tor+spawn://?daemons=%d", daemons), "--state-dir", s.state, "--torrc", torrc}
	return s
}

// page begins to fetch a page of the network's web server by its name. The connection
// ends with the body.
func (s spawner) page(t *testing.T, proxy, path string) *http.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	d := socks.Dialer{Proxy: proxy}
	c, err := d.DialContext(ctx, "tcp", fmt.Sprintf("www.%s:%d", tornet.Domain, s.net.Web.Port()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: tornet\r\nConnection: close\r\n\r\n", path)
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Body = struct {
		io.Reader
		io.Closer
	}{r.Body, c}
	return r
}

// greeted fetches the page "/" and fails the test if that is not what it should be.
func (s spawner) greeted(t *testing.T, proxy string) {
	t.Helper()
	r := s.page(t, proxy, "/")
	defer r.Body.Close()
	if body, err := io.ReadAll(r.Body); err != nil || string(body) != tornet.Greeting {
		t.Errorf("got %q, %v", body, err)
	}
}

// tors asks hosier how its tors are.
func tors(t *testing.T, state string) []tor.Status {
	t.Helper()
	got := runProgram(t, "", "hosier", "status", "--json", "--state-dir", state)
	var report daemon.Report
	if err := json.Unmarshal([]byte(got.stdout), &report); err != nil || got.code != exitOK {
		t.Fatalf("hosier status: %v, exit code %d: %s%s", err, got.code, got.stdout, got.stderr)
	}
	return report.Tor
}

// awaitReady waits until all tors are ready.
func (s spawner) awaitReady(t *testing.T) (all []tor.Status) {
	t.Helper()
	await(t, "all tors to be ready", func() bool {
		all = tors(t, s.state)
		return !slices.ContainsFunc(all, func(s tor.Status) bool { return s.State != tor.Ready })
	})
	return all
}

// running reports whether a process is there and not a zombie.
func running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, after, _ := strings.Cut(string(stat), ") ")
	return err == nil && !strings.HasPrefix(after, "Z")
}

// TestSpawnedTor is hosier with tors of its own, from one command to no trace of them.
func TestSpawnedTor(t *testing.T) {
	t.Parallel()
	s := newSpawner(t, 2)
	h := start(t, s.args...)
	s.greeted(t, h.addr()) // it listens at once; this request waits until a tor is ready
	h.awaitLog(t, `msg="tor bootstraps" tor=tor[01] percent=\d+ phase="?\w`)
	all := s.awaitReady(t)
	h.awaitLog(t, `msg="tor is ready" tor=tor0`)
	table := runProgram(t, "", "hosier", "status", "--state-dir", s.state)
	for _, want := range []string{"TOR ", "LAST ERROR\n", "\ntor0 ", "\ntor1 ", " ready ", " 100% ", " yes "} {
		if !strings.Contains(table.stdout, want) {
			t.Errorf("the table has no %q:\n%s", want, table.stdout)
		}
	}
	if info, err := os.Stat(filepath.Join(s.state, "isolation.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v", info, err)
	}
	again := runProgram(t, "", append([]string{"hosier", "serve", "--listen", "127.0.0.1:0"}, s.args...)...)
	if again.code != exitFailed || !strings.Contains(again.stderr, "another program listens there; give each hosier a --state-dir of its own") {
		t.Errorf("a second one in the same state directory: exit code %d, %s", again.code, again.stderr)
	}
	h.signal(t, syscall.SIGKILL)
	h.awaitExit(t)
	for _, one := range all {
		await(t, one.Name+" to end after hosier was killed", func() bool { return !running(one.PID) })
	}
	gone := runProgram(t, "", "hosier", "status", "--state-dir", s.state)
	if gone.code != exitFailed || !strings.Contains(gone.stderr, "no hosier with a configuration file") {
		t.Errorf("status of none: exit code %d, %s", gone.code, gone.stderr)
	}

	// What it left behind is no hindrance, and what runs through a tor may end in peace.
	h = start(t, s.args...)
	r := s.page(t, h.addr(), fmt.Sprintf("/bytes/%d", 4<<20))
	all = s.awaitReady(t)
	h.signal(t, syscall.SIGTERM)
	h.awaitLog(t, "stopping")
	if n, err := io.Copy(io.Discard, r.Body); err != nil || n != 4<<20 {
		t.Errorf("a download during the drain: %d bytes, %v", n, err)
	}
	r.Body.Close()
	if code := h.awaitExit(t); code != exitOK {
		t.Errorf("exit code %d:\n%s", code, h.log.String())
	}
	for _, one := range all {
		if running(one.PID) {
			t.Errorf("%s outlives hosier", one.Name)
		}
	}
}

// TestAttachedTor is hosier with tors that others run, watched: it speaks to them alone.
func TestAttachedTor(t *testing.T) {
	t.Parallel()
	n := tornet.ForTest(t, tornet.Options{Clients: 2})
	one, two := n.Clients[0], n.Clients[1]
	s := spawner{net: n, state: t.TempDir()}
	w := newWatch(t)
	via := fmt.Sprintf("tor://%s,%s?control=%s,%s", one.SOCKS, two.SOCKS, one.Control, two.Control)
	h := startUnder(t, w.wrapper, "--via", via, "--state-dir", s.state, "--isolate", "destination,port", "--no-isolate", "client")
	for _, one := range s.awaitReady(t) {
		await(t, "the control ports", func() bool { return tors(t, s.state)[0].Version != "" && tors(t, s.state)[1].Version != "" })
		if one.PID != 0 || one.Starts != 0 {
			t.Errorf("%+v", one)
		}
	}
	for range 10 {
		s.greeted(t, h.addr())
	}
	h.signal(t, os.Interrupt)
	if code := h.awaitExit(t); code != exitOK {
		t.Errorf("exit code %d:\n%s", code, h.log.String())
	}
	got := w.traffic(t)
	may := []string{one.SOCKS, two.SOCKS, one.Control, two.Control}
	for _, p := range got.peers {
		if !slices.Contains(may, p) {
			t.Errorf("it spoke to %s", p)
		}
	}
	for _, p := range []string{one.Control, two.Control} {
		if !slices.Contains(got.peers, p) {
			t.Errorf("it did not speak to %s", p)
		}
	}
	for _, kind := range got.sockets {
		if !strings.HasSuffix(kind, " SOCK_STREAM") {
			t.Errorf("it made a socket %s", kind)
		}
	}
}

// A tor that is gone is a code for the client, though what it asks for is on this host.
func TestTorGone(t *testing.T) {
	n := tornet.ForTest(t, tornet.Options{Clients: 1})
	h := start(t, "--via", "tor://"+n.Clients[0].SOCKS, "-v")
	if err := n.Clients[0].Kill(); err != nil {
		t.Fatal(err)
	}
	d := socks.Dialer{Proxy: h.addr()}
	if c, err := d.Dial("tcp", n.Web.String()); err == nil {
		c.Close()
		t.Error("it went out another way")
	}
	h.awaitLog(t, `msg="tor is out" .*connection refused`)
	h.awaitLog(t, `msg=connection .*status="01 general failure"`)
	if asked := n.Queries(); len(asked) != 0 {
		t.Errorf("the DNS server was asked %v", asked)
	}
}
