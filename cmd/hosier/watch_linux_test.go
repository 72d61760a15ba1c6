package main

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"hosier/internal/debiantest"
)

// watch sees what a program does on the network, with strace.
type watch struct {
	file    string
	wrapper []string // to be put in front of the program and its arguments
}

// newWatch watches the system calls that move bytes between sockets and connect them,
// and besides them those that are named.
func newWatch(tb testing.TB, calls ...string) *watch {
	tb.Helper()
	strace := debiantest.Program(tb, "strace", "strace")
	w := &watch{file: filepath.Join(tb.TempDir(), "trace")}
	// With -D the program that is watched, and not strace, is the child that a test starts.
	w.wrapper = []string{strace, "-D", "-f", "-qq", "-o", w.file, "-e", "trace=" + strings.Join(append(calls, "%network"), ",")}
	return w
}

// lines returns the system calls so far: the number of the thread, the call, its result.
func (w *watch) lines(tb testing.TB) []string {
	tb.Helper()
	text, err := os.ReadFile(w.file)
	if err != nil {
		tb.Fatal(err)
	}
	return strings.Split(string(text), "\n")
}

// traffic is whom a program spoke to.
type traffic struct {
	sockets []string // the kinds it made, such as "AF_INET SOCK_STREAM"
	peers   []string // the addresses it connected or sent to: "IP:PORT", "unix:PATH", "AF_..."
}

var (
	socketCall = regexp.MustCompile(`^\d+ +socket\((AF_\w+), (SOCK_\w+)`)
	sendCall   = regexp.MustCompile(`^\d+ +(connect|sendto|sendmsg|sendmmsg)\(`)
	family     = regexp.MustCompile(`sa_family=(AF_\w+)`)
	inet       = regexp.MustCompile(`sin6?_port=htons\((\d+)\).*?(?:inet_addr\(|inet_pton\(AF_INET6, )"([^"]+)"`)
	unixPath   = regexp.MustCompile(`sun_path=(@?"[^"]*")`)
)

// traffic returns what the program did up to now, each thing once and sorted.
func (w *watch) traffic(tb testing.TB) (t traffic) {
	tb.Helper()
	for _, line := range w.lines(tb) {
		if m := socketCall.FindStringSubmatch(line); m != nil {
			t.sockets = append(t.sockets, m[1]+" "+m[2])
		}
		if m := family.FindStringSubmatch(line); m != nil && sendCall.MatchString(line) {
			t.peers = append(t.peers, peerOf(m[1], line))
		}
	}
	slices.Sort(t.sockets)
	slices.Sort(t.peers)
	return traffic{slices.Compact(t.sockets), slices.Compact(t.peers)}
}

func peerOf(family, line string) string {
	if m := inet.FindStringSubmatch(line); m != nil {
		return net.JoinHostPort(m[2], m[1])
	}
	if m := unixPath.FindStringSubmatch(line); m != nil {
		return "unix:" + strings.Trim(m[1], `"`)
	}
	return family
}

// onlyTo fails the test if the program spoke to anybody over IP but to the one address,
// or did not even speak to that one, or asked systemd's resolver. So it asked no DNS server.
func (t traffic) onlyTo(tb testing.TB, address string) {
	tb.Helper()
	for _, p := range t.peers {
		if _, err := netip.ParseAddrPort(p); err == nil && p != address || strings.Contains(p, "systemd/resolve") {
			tb.Errorf("spoke to %s, and not to %s alone", p, address)
		}
	}
	if !slices.Contains(t.peers, address) {
		tb.Errorf("did not speak to %s but to %q", address, t.peers)
	}
}

// streamsTo is what must be true of hosier: it spoke to the one address and to nobody
// else in any way, and did not even make a socket of another kind than TCP and, to be
// asked for its status, Unix. A DNS question needs UDP or a connection to somebody else,
// and netlink tells what a resolver wants to know of this host.
func (t traffic) streamsTo(tb testing.TB, address string) {
	tb.Helper()
	if !slices.Equal(t.peers, []string{address}) {
		tb.Errorf("spoke to %q, and not to %s alone", t.peers, address)
	}
	for _, s := range t.sockets {
		if s != "AF_INET SOCK_STREAM" && s != "AF_INET6 SOCK_STREAM" && s != "AF_UNIX SOCK_STREAM" {
			tb.Errorf("made a socket %s", s)
		}
	}
}
