package tornet

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// shared is the network of the tests that run in parallel.
var shared = Shared{Options: Options{Clients: 2, ClientLines: []string{"MaxCircuitDirtiness 60", "# no option"}}}

func TestMain(m *testing.M) {
	if dir := os.Getenv(ownerEnv); dir != "" {
		own(dir)
	}
	code := m.Run()
	if err := shared.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func TestClientRestart(t *testing.T) {
	t.Parallel()
	n := shared.Get(t)
	c, other := n.Clients[0], n.Clients[1]
	pid := c.PID()
	if err := c.Start(t.Context()); err == nil || !strings.Contains(err.Error(), strconv.Itoa(pid)) {
		t.Errorf("starting a client that runs: %v, want its pid", err)
	}
	for range 2 {
		if err := c.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	if alive(pid) || c.PID() != 0 {
		t.Errorf("killed, but process %d is alive: %v; PID returns %d", pid, alive(pid), c.PID())
	}
	if conn, err := net.Dial("tcp", c.SOCKS); err == nil {
		conn.Close()
		t.Errorf("%s answers after Kill", c.SOCKS)
	}
	if got := body(t, other.SOCKS, n.page("www", "/")); got != Greeting {
		t.Errorf("through the other client: %q", got)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c.PID() == pid || !alive(c.PID()) {
		t.Errorf("started again with pid %d, before %d", c.PID(), pid)
	}
	for _, socks := range []string{c.SOCKS, c.SOCKSExtended} {
		if got := body(t, socks, n.page("web", "/")); got != Greeting {
			t.Errorf("through %s after the restart: %q", socks, got)
		}
	}
}

func TestHTTPTunnel(t *testing.T) {
	t.Parallel()
	n := shared.Get(t)
	conn, err := net.Dial("tcp", n.Clients[1].HTTPTunnel)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(hang))
	fmt.Fprintf(conn, "CONNECT www.%s:%d HTTP/1.0\r\n\r\n", Domain, n.Web.Port())
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, " 200 ") {
		t.Errorf("got %q, %v", line, err)
	}
}

func TestControl(t *testing.T) {
	t.Parallel()
	c := shared.Get(t).Clients[1]
	cookie, err := os.ReadFile(c.Cookie)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", c.Control)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(hang))
	fmt.Fprintf(conn, "AUTHENTICATE %x\r\nGETCONF MaxCircuitDirtiness\r\n", cookie)
	r := bufio.NewScanner(conn)
	for _, want := range []string{"250 OK", "250 MaxCircuitDirtiness=60"} {
		if r.Scan(); r.Text() != want {
			t.Errorf("got %q, want %q", r.Text(), want)
		}
	}
}

func TestNewName(t *testing.T) {
	t.Parallel()
	n := shared.Get(t)
	n.SetHost("new."+Domain, netip.MustParseAddr("127.0.0.2"))
	if got := body(t, n.Clients[1].SOCKS, n.page("new", "/")); got != Greeting {
		t.Errorf("got %q", got)
	}
}

// guest returns a tor that is no part of the network but may join it, with lines added to
// its torrc. It is not started.
func (n *Network) guest(t *testing.T, lines string) *daemon {
	t.Helper()
	ports, err := freePorts(n.host, 1)
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{name: "guest", program: n.program, dir: t.TempDir(), host: n.host, ports: ports}
	text := n.ClientTorrc() + d.torrc() + "SocksPort " + d.address(0) + "\n" + lines
	if err := os.WriteFile(filepath.Join(d.dir, "torrc"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return d
}

// A tor that nobody gave keys or a consensus must find its own way in.
func TestJoin(t *testing.T) {
	t.Parallel()
	n := shared.Get(t)
	d := n.guest(t, "")
	if err := d.start(); err != nil {
		t.Fatal(err)
	}
	defer d.kill()
	begin := time.Now()
	ctx, cancel := withLimit(t.Context())
	defer cancel()
	if err := d.await(ctx, bootstrapped); err != nil {
		t.Fatal(err)
	}
	t.Logf("bootstrapped after %v", time.Since(begin).Round(time.Millisecond))
	if got := body(t, d.address(0), n.page("www", "/")); got != Greeting {
		t.Errorf("got %q", got)
	}
}
