package daemon

import (
	"net"
	"os"
	"testing"
)

// An upstream is a listener of this hosier by its address, however it is written, and not by its
// port alone.
func TestLeadsBack(t *testing.T) {
	t.Parallel()
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		upstream, listener string
		want               bool
	}{
		{"127.0.0.1:1080", "127.0.0.1:1080", true},
		{"127.0.0.1:1081", "127.0.0.1:1080", false},
		{"127.0.0.2:1080", "127.0.0.1:1080", false},
		{"[::ffff:127.0.0.1]:1080", "127.0.0.1:1080", true},
		{"[::FFFF:7f00:1]:1080", "127.0.0.1:1080", true},
		{"[::1]:1080", "127.0.0.1:1080", false},
		{"localhost:1080", "127.0.0.1:1080", true},
		{"LOCALHOST:1080", "127.0.0.1:1080", true},
		{"localhost.:1080", "127.0.0.1:1080", true},
		{"a.localhost:1080", "[::1]:1080", true},
		{"localhost:1080", "192.0.2.1:1080", false},
		{"127.0.0.1:1080", "0.0.0.0:1080", true},
		{"127.9.9.9:1080", "[::]:1080", true},
		{"[::1]:1080", "[::]:1080", true},
		{"[::1]:1080", "0.0.0.0:1080", false},
		{"LocalHost:1080", "0.0.0.0:1080", true},
		{hostname + ":1080", "[::]:1080", true},
		{hostname + ".:1080", "0.0.0.0:1080", true},
		{"198.51.100.77:1080", "[::]:1080", false},
		{"proxy.test:1080", "[::]:1080", false}, // not known before it is looked up
		{"unix:/run/tor/socks", "[::]:1080", false},
		{"", "[::]:1080", false}, // of a tor that will be started
	} {
		a, err := net.ResolveTCPAddr("tcp", c.listener)
		if err != nil {
			t.Fatal(err)
		}
		if got := leadsBack(c.upstream, a); got != c.want {
			t.Errorf("%s leads to the listener %s: %v, want %v", c.upstream, c.listener, got, c.want)
		}
	}
	if leadsBack("localhost:1080", &net.UnixAddr{Net: "unix", Name: "/run/hosier.sock"}) {
		t.Error("an upstream over TCP leads to a Unix socket")
	}
}
