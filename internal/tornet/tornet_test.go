package tornet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// through returns a transport that reaches everything by name through a SOCKS5
// server, and keeps no connection.
func through(t *testing.T, socks string) *http.Transport {
	t.Helper()
	return &http.Transport{
		Proxy:             http.ProxyURL(&url.URL{Scheme: "socks5", Host: socks}),
		DisableKeepAlives: true,
	}
}

// body returns a page fetched through a SOCKS5 server.
func body(t *testing.T, socks, page string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	var b strings.Builder
	if err := fetch(ctx, through(t, socks), page, &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// page returns the address of one of the web server's pages at a name.
func (n *Network) page(label, path string) string {
	return fmt.Sprintf("http://%s.%s:%d%s", label, Domain, n.Web.Port(), path)
}

// hang is the time after which a test no longer waits: many times what a slow and busy
// machine takes.
const hang = 2 * time.Minute

// eventually waits until ok, and fails the test if that hangs.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(hang)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for !ok() {
		select {
		case <-again.C:
		case <-deadline:
			t.Fatalf("not within %v: %s", hang, what)
		}
	}
}

// alive reports whether a process runs: one that is dead but not waited for
// does not.
func alive(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err == nil && !bytes.Contains(status, []byte("State:\tZ"))
}

func (n *Network) pids() []int {
	var pids []int
	for _, d := range append(n.servers(), n.clients()...) {
		pids = append(pids, d.pid())
	}
	return pids
}

func TestNetwork(t *testing.T) {
	before := goroutines()
	n, err := Start(t.Context(), Options{Clients: 1, Onion: true})
	require(t, err)
	defer n.Close()
	c := n.Clients[0]

	t.Run("page", func(t *testing.T) {
		if got := body(t, c.SOCKS, n.page("www", "/")); got != Greeting {
			t.Errorf("got %q", got)
		}
		got := n.Queries()
		if other := func(q Query) bool { return q.Name != "www."+Domain }; len(got) == 0 || slices.ContainsFunc(got, other) {
			t.Errorf("the DNS server was asked %v", got)
		}
	})
	t.Run("onion", func(t *testing.T) {
		before := len(n.Queries())
		if got := body(t, c.SOCKS, "http://"+n.Onion+"/"); got != Greeting {
			t.Errorf("got %q", got)
		}
		if got := n.Queries()[before:]; len(got) > 0 {
			t.Errorf("the DNS server was asked %v", got)
		}
	})
	t.Run("many-bytes", func(t *testing.T) {
		const size = 1 << 20
		want, err := io.ReadAll(Bytes(size))
		if err != nil || len(want) != size {
			t.Fatalf("%d bytes, %v", len(want), err)
		}
		if got := body(t, c.SOCKSExtended, n.page("www", fmt.Sprint("/bytes/", size))); sha256.Sum256([]byte(got)) != sha256.Sum256(want) {
			t.Error("not the bytes that were sent")
		}
	})

	testClosed(t, n)
	eventually(t, "no goroutine of the network left", func() bool { return goroutines() <= before })
}

// testClosed closes a network and looks for what may be left of it.
func testClosed(t *testing.T, n *Network) {
	t.Helper()
	pids := n.pids()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(pids, alive); i >= 0 {
		t.Errorf("process %d outlives Close", pids[i])
	}
	if _, err := os.Stat(n.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s outlives Close: %v", n.dir, err)
	}
}

// goroutines counts those that a network starts, here or in packages it uses.
func goroutines() int {
	b := make([]byte, 1<<20)
	b = b[:runtime.Stack(b, true)]
	count := 0
	for g := range bytes.SplitSeq(b, []byte("\n\n")) {
		if bytes.Contains(g, []byte("internal/tornet.(*")) || bytes.Contains(g, []byte("net/http.(*")) || bytes.Contains(g, []byte("os/exec.(*")) {
			count++
		}
	}
	return count
}

func TestStartErrors(t *testing.T) {
	before := goroutines()
	t.Run("not-installed", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		_, err := Start(t.Context(), Options{})
		if !errors.Is(err, ErrNotInstalled) || !strings.Contains(err.Error(), "apt-get install tor") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("directory-not-empty", func(t *testing.T) {
		dir := t.TempDir()
		kept := filepath.Join(dir, "kept")
		if err := os.WriteFile(kept, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Start(t.Context(), Options{Dir: dir})
		if err == nil || !strings.Contains(err.Error(), "not empty") {
			t.Errorf("got %v", err)
		}
		if _, err := os.Stat(kept); err != nil {
			t.Error(err)
		}
	})
	t.Run("bad-torrc-line", func(t *testing.T) {
		_, err := Start(t.Context(), Options{Clients: 1, ClientLines: []string{"NoSuchOption 1"}})
		if err == nil || !strings.Contains(err.Error(), "client1") || !strings.Contains(err.Error(), "NoSuchOption") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("never-ready", func(t *testing.T) {
		dir := t.TempDir()
		ctx, impatient := context.WithCancelCause(t.Context())
		defer impatient(nil)
		returned := make(chan struct{})
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			// The client runs, or this would never be in its log; Start waits for nothing else.
			if waitLog(returned, filepath.Join(dir, "client1", "log"), networkOff) {
				impatient(errors.New("the test's patience"))
			}
		}()
		_, err := Start(ctx, Options{Dir: dir, Clients: 1, ClientLines: []string{"DisableNetwork 1"}})
		close(returned)
		<-watched
		wantIn(t, err, "client1 (pid ", "the test's patience", "its log ends:\n")
	})
	eventually(t, "no goroutine left of networks that did not start", func() bool { return goroutines() <= before })
}

// The last that a tor logs of which DisableNetwork is set: it will never be ready.
const networkOff = "Delaying directory fetches: DisableNetwork is set"

// waitLog waits until text is in a file, and reports whether it is there. It gives up when
// stop is closed.
func waitLog(stop <-chan struct{}, file, text string) bool {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		if log, err := os.ReadFile(file); err == nil && bytes.Contains(log, []byte(text)) {
			return true
		}
		select {
		case <-again.C:
		case <-stop:
			return false
		}
	}
}

// wantIn fails the test unless err has all the texts.
func wantIn(t *testing.T, err error, texts ...string) {
	t.Helper()
	for _, want := range texts {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}

// What a daemon printed last stands in the error when the wait for it ends. The file that a
// tor logs to may be ahead of what it printed, so this waits for the printed line.
func TestAwaitQuotes(t *testing.T) {
	t.Parallel()
	n := shared.Get(t)
	d := n.guest(t, "DisableNetwork 1\n")
	if err := d.start(); err != nil {
		t.Fatal(err)
	}
	defer d.kill()
	limited, cancel := withLimit(t.Context())
	defer cancel()
	if err := d.await(limited, networkOff); err != nil {
		t.Fatal(err)
	}
	ctx, impatient := context.WithCancelCause(t.Context())
	impatient(errors.New("the test's patience"))
	err := d.await(ctx, bootstrapped)
	wantIn(t, err, fmt.Sprintf("guest (pid %d)", d.pid()), bootstrapped, "the test's patience", "its log ends:\n", networkOff)
}

func TestPortTaken(t *testing.T) {
	tries := 0
	taker := func(takes int) portChooser {
		tries = 0
		return func(host string, n int) ([]uint16, error) {
			ports, err := freePorts(host, n)
			if tries++; err == nil && tries <= takes {
				// The last port of the last authority: its others open first.
				l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", host, ports[authorities*authorityPorts-1]))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { l.Close() })
			}
			return ports, err
		}
	}
	t.Run("once", func(t *testing.T) {
		n, err := start(t.Context(), Options{}, taker(1))
		require(t, err)
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		if tries != 2 {
			t.Errorf("%d tries", tries)
		}
	})
	t.Run("always", func(t *testing.T) {
		_, err := start(t.Context(), Options{}, taker(startTries))
		if !errors.Is(err, errPortTaken) || !strings.Contains(err.Error(), "auth3: ") {
			t.Errorf("got %v", err)
		}
		if tries != startTries {
			t.Errorf("%d tries", tries)
		}
	})
}

func TestClose(t *testing.T) {
	dir := t.TempDir()
	n, err := Start(t.Context(), Options{Dir: dir, Clients: 1})
	require(t, err)
	if err := n.Clients[0].Kill(); err != nil {
		t.Error(err)
	}
	if err := n.relays[4].daemon.kill(); err != nil {
		t.Error(err)
	}
	err = n.Close()
	if err == nil || !strings.Contains(err.Error(), "exit2 ") || strings.Contains(err.Error(), "client1") {
		t.Errorf("got %v, want a complaint about exit2 alone", err)
	}
	if again := n.Close(); again != err {
		t.Errorf("the second Close returns %v", again)
	}
	if log, err := os.ReadFile(filepath.Join(dir, "client1", "log")); err != nil || !bytes.Contains(log, []byte(bootstrapped)) {
		t.Errorf("log %q, %v", log, err)
	}
}
