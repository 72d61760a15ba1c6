package probe_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"hosier/internal/tornet"
	"hosier/probe"
)

// program returns the path of a program of a Debian package. Where it is missing the
// test is skipped, but fails in CI.
func program(t *testing.T, name, pkg string) string {
	t.Helper()
	for _, dir := range []string{"", "/usr/sbin/"} {
		if path, err := exec.LookPath(dir + name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed: apt-get install %s", name, pkg)
	}
	t.Skipf("%s is not installed: apt-get install %s", name, pkg)
	return ""
}

// startPeer runs a proxy of somebody else on a free port until the test ends. Another
// program may take the port first, so it is tried a few times.
func startPeer(t *testing.T, command func(port uint16) *exec.Cmd) (addr string) {
	t.Helper()
	for range 5 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := portOf(l.Addr())
		l.Close()
		addr = fmt.Sprintf("127.0.0.1:%d", port)
		if runPeer(t, command(port), addr) {
			return addr
		}
	}
	t.Fatal("the peer does not listen")
	return ""
}

// runPeer starts the program and reports whether it came to listen.
func runPeer(t *testing.T, cmd *exec.Cmd, addr string) bool {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		cmd.Wait()
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-gone
	})
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return true
		}
		select {
		case <-gone:
			return false
		case <-time.After(10 * time.Millisecond):
		}
	}
	return false
}

func microsocks(t *testing.T) string {
	path := program(t, "microsocks", "microsocks")
	return startPeer(t, func(port uint16) *exec.Cmd {
		return exec.Command(path, "-i", "127.0.0.1", "-p", fmt.Sprint(port))
	})
}

const danteConfig = `logoutput: %s/log
internal: 127.0.0.1 port = %d
external: lo
clientmethod: none
socksmethod: none
client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
`

func dante(t *testing.T) string {
	path := program(t, "danted", "dante-server")
	return startPeer(t, func(port uint16) *exec.Cmd {
		dir := t.TempDir()
		config := filepath.Join(dir, "danted.conf")
		if err := os.WriteFile(config, fmt.Appendf(nil, danteConfig, dir, port), 0o600); err != nil {
			t.Fatal(err)
		}
		return exec.Command(path, "-f", config, "-p", filepath.Join(dir, "pid"))
	})
}

// localhost is the one name that every resolver of this host knows.
func localhost() []probe.Name {
	return []probe.Name{{Host: "localhost", IP: netip.AddrFrom4([4]byte{127, 0, 0, 1})}}
}

// tor is the client of a private network, by its SOCKSPort and its HTTPTunnelPort, and
// the name that leads to probe's targets there.
func tor(t *testing.T) (socksPort, httpPort string, names []probe.Name) {
	n := tornet.ForTest(t, tornet.Options{Clients: 1})
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	n.SetHost("probe.tornet.test", loopback)
	return n.Clients[0].SOCKS, n.Clients[0].HTTPTunnel, []probe.Name{{Host: "probe.tornet.test", IP: loopback}}
}

// wantFacts holds a report against what is known of a program.
func wantFacts(t *testing.T, r *probe.Report, facts map[string]probe.Outcome) {
	t.Helper()
	for id, want := range facts {
		if x := r.Find(id); x == nil {
			t.Errorf("%s was not run", id)
		} else if x.Outcome != want {
			t.Errorf("%s: %v, not %v: %s", id, x.Outcome, want, x.Reason)
		}
	}
	t.Logf("%+v in %v", r.Total(), r.Duration)
}

// littlePatience is enough to see that somebody waits, since those who hang
// up do so far later, or never.
const littlePatience = 4 * time.Second

func TestMicrosocks(t *testing.T) {
	t.Parallel()
	r := run(t, probe.Config{Proxy: microsocks(t), Names: localhost(), Patience: littlePatience})
	wantFacts(t, r, map[string]probe.Outcome{
		"connect/ipv4":            probe.Passed, // by name it may come to ::1, as this host's resolver has it
		"greeting/nothing-known":  probe.Passed,
		"reply/refused-code":      probe.Passed,
		"resolve/answered":        probe.Refused,
		"resolve/refused-code":    probe.Passed,
		"udp/answered":            probe.Refused,
		"socks4/answered":         probe.Refused,
		"early/socks5":            probe.Failed, // it loses what comes behind the request
		"early/all-in-one":        probe.Failed,
		"split/bytes-socks5":      probe.Failed, // and wants a message in one read
		"halfclose/client-socks5": probe.Failed,
		"slow/silent":             probe.Failed,
		"garbage/name-nul":        probe.Failed,
		"page/get":                probe.Failed,
	})
}

func TestDante(t *testing.T) {
	t.Parallel()
	r := run(t, probe.Config{Proxy: dante(t), Names: localhost(), Patience: littlePatience})
	wantFacts(t, r, map[string]probe.Outcome{
		"connect/ipv4":            probe.Passed,
		"connect/name":            probe.Passed,
		"socks4/data":             probe.Passed,
		"early/all-in-one":        probe.Passed,
		"split/bytes-socks5":      probe.Passed,
		"halfclose/client-socks5": probe.Passed,
		"reply/refused-code":      probe.Passed,
		"udp/ipv4":                probe.Passed,
		"resolve/answered":        probe.Failed, // it closes on F0 and F1
		"ptr/answered":            probe.Failed,
		"slow/silent":             probe.Failed,
		"page/get":                probe.Failed,
	})
}

func TestTor(t *testing.T) {
	t.Parallel()
	socksPort, httpPort, names := tor(t)
	byHTTP := make(chan *probe.Report, 1)
	go func() {
		r, err := probe.Run(t.Context(), probe.Config{
			Proxy: httpPort, Names: names, Patience: littlePatience, Timeout: 3 * time.Second,
			Only: []string{"http", "isolation"},
		})
		if err != nil {
			t.Error(err)
		}
		byHTTP <- r
	}()
	r := run(t, probe.Config{Proxy: socksPort, Names: names, Patience: littlePatience})
	wantFacts(t, r, map[string]probe.Outcome{
		"connect/name":               probe.Passed,
		"greeting/prefers-password":  probe.Passed,
		"auth/unasked":               probe.Passed,
		"early/socks5":               probe.Passed,
		"early/all-in-one":           probe.Passed,
		"resolve/name":               probe.Passed,
		"resolve/missing-code":       probe.Passed,
		"page/get":                   probe.Passed,
		"bind/answered":              probe.Refused,
		"http/answered":              probe.Refused, // it is on another port
		"resolve/missing-form":       probe.Failed,  // address type 00
		"greeting/no-methods-ff":     probe.Failed,  // silence
		"early/all-with-password":    probe.Failed,  // the first of two answers is lost
		"reply/unknown-command-code": probe.Failed,  // 01
		"reply/unknown-type-code":    probe.Failed,  // 01
		"reply/other-version":        probe.Failed,
		"isolation/tor-9":            probe.Failed, // a SOCKS reply in place of RFC 1929's
		"garbage/name-nul":           probe.Failed, // cut at the NUL
		"halfclose/request-socks5":   probe.Failed,
	})
	if r = <-byHTTP; r == nil {
		return
	}
	wantFacts(t, r, map[string]probe.Outcome{
		"http/data":            probe.Passed,
		"http/name":            probe.Passed,
		"http/failed-reason":   probe.Passed,
		"http/options":         probe.Passed,
		"http/rpc-target":      probe.Passed,
		"isolation/new-header": probe.Passed,
	})
}
