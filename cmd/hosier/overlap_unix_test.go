//go:build unix

package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"hosier/internal/tcptest"
)

// A reload can move a listener to an address that overlaps with its own, in one step and
// back. Connections go on.
func TestReloadOverlap(t *testing.T) {
	echo := tcptest.Listen(t, tcptest.Echo)
	dir := stateDirFor(t)
	if err := os.Symlink(dir, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, from, to string }{
		{"loopback to any", "127.0.0.1:PORT", "0.0.0.0:PORT"},
		{"any to loopback", ":PORT", "127.0.0.1:PORT"},
		{"loopback to any of IPv6", "127.0.0.1:PORT", "[::]:PORT"},
		{"any to any", "0.0.0.0:PORT", "[::]:PORT"},
		{"another spelling", "localhost:PORT", "127.0.0.1:PORT"},
		{"both of loopback to any", "127.0.0.1:PORT\", \"127.0.0.2:PORT", ":PORT"},
		{"Unix", "unix:DIR/s", "unix:DIR//s"},
		{"Unix by a link", "unix:DIR/s", "unix:DIR/link/s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.Contains(c.from+c.to, "[::]") && !hasIPv6() {
				t.Skip("no IPv6 here")
			}
			names := strings.NewReplacer("PORT", freePort(t), "DIR", dir)
			from, to := names.Replace(c.from), names.Replace(c.to)
			file := filepath.Join(dir, "hosier.toml")
			write := func(listen string) {
				writeFile(t, file, fmt.Sprintf("listen = [\"%s\"]\nallow-client = \"127.0.0.0/8\"\n[[rule]]\nto = \"127.0.0.0/8\"\nvia = \"direct\"\n", listen))
			}
			write(from)
			h := startWords(t, 1+strings.Count(from, ","), "hosier", "serve", "--config", file, "--state-dir", t.TempDir())
			for i, listen := range []string{from, to, from, to} {
				if i > 0 {
					write(listen)
					before := h.log.String()
					h.signal(t, syscall.SIGHUP)
					await(t, "the reload", func() bool { return strings.Contains(h.log.String()[len(before):], "reloaded") })
					if said := h.log.String()[len(before):]; strings.Contains(said, "not reloaded") {
						t.Fatal(said)
					}
				}
				address := listen
				if !strings.HasPrefix(listen, "unix:") {
					address = "127.0.0.1" + listen[strings.LastIndexByte(listen, ':'):]
				}
				conn, err := converse(address, echo)
				if err != nil || conn == nil {
					t.Fatalf("listening on %s: %v, %v\n%s", listen, conn, err, h.log.String())
				}
				defer func() {
					if got := talk(t, conn, "ping", 4); got != "ping" {
						t.Errorf("a connection from before: %q", got)
					}
					conn.Close()
				}()
			}
		})
	}
}

// Where the rest of a reload fails, the listener that was closed for it is open again. The
// message names what has an address.
func TestReloadOverlapFails(t *testing.T) {
	echo := tcptest.Listen(t, tcptest.Echo)
	port, taken, file := freePort(t), tcptest.Listen(t, func(c net.Conn) { c.Close() }), filepath.Join(t.TempDir(), "hosier.toml")
	write := func(listen ...string) {
		writeFile(t, file, fmt.Sprintf("listen = [%s]\nallow-client = \"127.0.0.0/8\"\n[[rule]]\nto = \"127.0.0.0/8\"\nvia = \"direct\"\n", strings.Join(listen, ", ")))
	}
	one, any, other := fmt.Sprintf("%q", "127.0.0.1:"+port), fmt.Sprintf("%q", ":"+port), fmt.Sprintf("%q", taken)
	write(one)
	h := startWords(t, 1, "hosier", "serve", "--config", file, "--state-dir", t.TempDir())
	_, takenPort, err := net.SplitHostPort(taken)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		listen []string
		says   string
	}{
		{[]string{any, other}, fmt.Sprintf(`listen %s: .*in use.*\(pid %d\)`, taken, os.Getpid())},
		{[]string{any, fmt.Sprintf("%q", "[::1]:"+takenPort), fmt.Sprintf("%q", "127.0.0.2:"+port)}, "listen .*in use"},
		{[]string{one, any}, `listen :` + port + `: .*in use: hosier's own listener 127\.0\.0\.1:` + port + ` has it, by .*hosier\.toml:1`},
	} {
		write(c.listen...)
		before := strings.Count(h.log.String(), "not reloaded")
		h.signal(t, syscall.SIGHUP)
		await(t, "the reload", func() bool { return strings.Count(h.log.String(), "not reloaded") == before+1 })
		if runtime.GOOS == "linux" {
			h.awaitLog(t, c.says)
		}
		conn, err := converse("127.0.0.1:"+port, echo)
		if err != nil || conn == nil {
			t.Fatalf("%v: no longer served: %v, %v\n%s", c.listen, conn, err, h.log.String())
		}
		conn.Close()
	}
	write(any)
	h.signal(t, syscall.SIGHUP)
	h.awaitLog(t, "configuration reloaded")
}

// freePort returns a port that nobody has at the moment.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
