package listen

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A connection is not accepted before it has said something.
func TestDeferAccept(t *testing.T) {
	l, err := Open(t.Context(), "127.0.0.1:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := DeferAccept(l, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	silent, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	l.(*net.TCPListener).SetDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := l.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a silent connection: %v", err)
	}
	silent.Write([]byte{5})
	l.(*net.TCPListener).SetDeadline(time.Now().Add(10 * time.Second))
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	u, err := Open(t.Context(), "unix:"+filepath.Join(t.TempDir(), "s"), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if err := DeferAccept(u, time.Second); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a Unix socket: %v", err)
	}
}
