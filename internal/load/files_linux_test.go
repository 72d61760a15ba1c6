package load

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// openSockets counts the sockets of this process.
func openSockets(t *testing.T) int { return openFiles(t, "socket:") }

// openFiles counts what this process has open whose description begins so.
func openFiles(t *testing.T, prefix string) (n int) {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(to, prefix) {
			n++
		}
	}
	return n
}

// A reactor leaves nothing open behind: no socket, epoll, timer or wake-up.
func TestReactorIsReleased(t *testing.T) {
	listen(t) // so that Go has what it opens once
	// A connection of an earlier test is closed when its last reader has noticed.
	for deadline := time.Now().Add(patience); openSockets(t) > 1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d sockets are open beside the listener", openSockets(t)-1)
		}
	}
	// Not the pipes: Go keeps those of earlier io.Copys, and the collector closes them some time.
	before := openSockets(t) + openFiles(t, "anon_inode:")
	for range 10 {
		r, err := newReactor(false)
		if err != nil {
			t.Fatal(err)
		}
		o, err := newOrigin(r, netip.MustParseAddr("127.0.0.1"), 10)
		if err != nil {
			t.Fatal(err)
		}
		w := &way{addr: o.addrs[0], scripts: [][]step{nil}}
		g := &bulk{group: group{ways: []*way{w, w}}}
		g.t = &turn{clients: r, fails: failures{}}
		r.do(func() { g.begin(g, time.Now()) })
		r.close()
		r.do(func() { t.Error("called on a closed reactor") })
	}
	if now := openSockets(t) + openFiles(t, "anon_inode:"); now != before {
		t.Errorf("%d sockets and event files are open, %d were before", now, before)
	}
}
