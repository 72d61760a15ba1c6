//go:build linux || darwin

package listen

import (
	"net"
	"os/user"
	"path/filepath"
	"testing"

	"hosier/proxy"
)

func TestPeerUser(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	l, err := Open(t.Context(), "unix:"+filepath.Join(t.TempDir(), "s"), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	ses := &proxy.Session{}
	if err := (&Front{PeerUsers: true}).Identify(t.Context(), ses, server); err != nil || ses.User != me.Username {
		t.Errorf("user %q, %v, want %q", ses.User, err, me.Username)
	}
	if got := userName(4_000_000_000); got != "uid:4000000000" {
		t.Errorf("a user without a name is %q", got)
	}
}
