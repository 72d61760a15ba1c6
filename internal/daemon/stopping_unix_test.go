//go:build unix

package daemon

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// lineWaiter is a standard error that says when a line with some text came.
type lineWaiter struct {
	text string
	came chan struct{}
}

func (w *lineWaiter) Write(b []byte) (int, error) {
	if strings.Contains(string(b), w.text) {
		close(w.came)
	}
	return len(b), nil
}

// A hosier that is stopping, or has stopped, takes no other configuration: it would open
// listeners that nobody serves, and start tors that nobody ends.
func TestReloadWhileStopping(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("STATE_DIRECTORY", filepath.Join(dir, "state"))
	file := filepath.Join(dir, "hosier.toml")
	write := func(listen string) {
		t.Helper()
		if err := os.WriteFile(file, []byte("listen = ["+listen+"]\nvia = \"direct\"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`"127.0.0.1:0"`)
	source := Source{File: file}
	c, err := source.Load()
	if err != nil {
		t.Fatal(err)
	}
	stopping := &lineWaiter{"hosier: stopping", make(chan struct{})}
	d := New(c, stopping, Options{Source: source})
	ctx, stop := context.WithCancel(t.Context())
	if err := d.Start(ctx, c); err != nil {
		t.Fatal(err)
	}
	client, err := net.Dial("tcp", d.current.Load().listening[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	client.Write([]byte{5, 1, 0})
	if _, err := io.ReadFull(client, make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- d.Run(ctx, nil) }()
	stop()
	select {
	case <-stopping.came:
	case <-time.After(time.Minute):
		t.Fatal("it does not stop")
	}
	before := d.current.Load()
	write(`"127.0.0.1:0", "localhost:0"`)
	if err := d.reload(t.Context()); !errors.Is(err, errStopping) {
		t.Errorf("a reload while connections drain: %v", err)
	}
	client.Close()
	if err := errors.Join(<-ran, d.Close()); err != nil {
		t.Error(err)
	}
	if err := d.reload(t.Context()); !errors.Is(err, errStopping) {
		t.Errorf("a reload of what has stopped: %v", err)
	}
	if d.current.Load() != before {
		t.Error("another configuration is in force")
	}
}
