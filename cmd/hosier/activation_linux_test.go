package main

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"hosier/internal/tcptest"
)

// manager does for a hosier what systemd does by packaging/hosier.socket and
// packaging/hosier.service: it holds the port, and hears how the service is.
type manager struct {
	port   *os.File
	addr   string
	notify string // the path of its socket
	states output // what it was told, a line each, without times
}

func newManager(t *testing.T) *manager {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // the file keeps the port open
	m := &manager{addr: l.Addr().String(), notify: filepath.Join(stateDirFor(t), "notify")}
	if m.port, err = l.(*net.TCPListener).File(); err != nil {
		t.Fatal(err)
	}
	pc, err := net.ListenPacket("unixgram", m.notify)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.hear(pc)
	}()
	t.Cleanup(func() {
		m.port.Close()
		pc.Close()
		<-done
	})
	return m
}

func (m *manager) hear(pc net.PacketConn) {
	b := make([]byte, 4096)
	for {
		n, _, err := pc.ReadFrom(b)
		if err != nil {
			return
		}
		text, stamp, timed := strings.Cut(string(b[:n]), "\nMONOTONIC_USEC=")
		if timed && strings.Trim(stamp, "0123456789") == "" && stamp != "" {
			text += " at a time"
		}
		io.WriteString(&m.states, text+"\n")
	}
}

// start starts a hosier that gets the port by the name of the socket unit.
func (m *manager) start(t *testing.T, args ...string) *process {
	t.Helper()
	words := append([]string{"-c", `LISTEN_PID=$$ exec hosier serve "$@"`, "sh"}, args...)
	p := &process{cmd: exec.Command("sh", words...), exited: make(chan struct{})}
	p.cmd.ExtraFiles = []*os.File{m.port} // descriptor 3
	p.cmd.Env = append(withoutProxies(os.Environ()), "STATE_DIRECTORY="+stateDirFor(t),
		"NOTIFY_SOCKET="+m.notify, "LISTEN_FDS=1", "LISTEN_FDNAMES=socks")
	p.cmd.Stderr = &p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.exited)
		p.cmd.Wait()
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.exited
	})
	return p
}

// awaitStates waits until it was told these states since the last time, and no others.
func (m *manager) awaitStates(t *testing.T, told *int, want ...string) {
	t.Helper()
	var got []string
	await(t, "the service to say "+strings.Join(want, ", "), func() bool {
		got = slices.Collect(strings.Lines(m.states.String()))[*told:]
		return len(got) >= len(want)
	})
	for i := range got {
		got[i] = strings.TrimSpace(got[i])
	}
	if *told += len(got); !slices.Equal(got, want) {
		t.Fatalf("the service said %q, want %q", got, want)
	}
}

func writeConfig(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A service manager hears of each step, also of a reload that changes nothing.
func TestNotify(t *testing.T) {
	m, told := newManager(t), 0
	file := filepath.Join(t.TempDir(), "hosier.toml")
	good := "listen = \"systemd:socks\"\nvia = \"direct\"\n"
	writeConfig(t, file, good)
	p := m.start(t, "--config", file)
	m.awaitStates(t, &told, "READY=1")

	p.signal(t, syscall.SIGHUP)
	p.awaitLog(t, "configuration reloaded")
	m.awaitStates(t, &told, "RELOADING=1 at a time", "READY=1")

	writeConfig(t, file, "listen = \"systemd:socks\"\nvia = \"nowhere\"\n")
	p.signal(t, syscall.SIGHUP)
	p.awaitLog(t, "was not reloaded")
	m.awaitStates(t, &told, "RELOADING=1 at a time", "READY=1")

	writeConfig(t, file, good)
	p.signal(t, syscall.SIGHUP)
	m.awaitStates(t, &told, "RELOADING=1 at a time", "READY=1")

	p.signal(t, syscall.SIGTERM)
	if code := p.awaitExit(t); code != 0 {
		t.Errorf("exit code %d, want 0: %s", code, p.log.String())
	}
	m.awaitStates(t, &told, "STOPPING=1")
}

// A listener that would have the place of a socket of systemd's is refused with what to write.
func TestActivatedInTheWay(t *testing.T) {
	m, told := newManager(t), 0
	file := filepath.Join(t.TempDir(), "hosier.toml")
	writeConfig(t, file, "listen = \"systemd:socks\"\nvia = \"direct\"\n")
	p := m.start(t, "--config", file)
	m.awaitStates(t, &told, "READY=1")
	writeConfig(t, file, "listen = \""+m.addr+"\"\nvia = \"direct\"\n")
	p.signal(t, syscall.SIGHUP)
	p.awaitLog(t, "listen "+m.addr+": .*write systemd:socks")
	echo := tcptest.Listen(t, tcptest.Echo)
	c, err := converse(m.addr, echo)
	if err != nil || c == nil {
		t.Fatal(c, err)
	}
	c.Close()
}

// While hosier restarts, systemd keeps the port: who comes meanwhile waits for the next
// hosier, and nobody is refused or lost.
func TestRestartUnderLoad(t *testing.T) {
	const atOnce, restarts = 16, 5
	echo := tcptest.Listen(t, tcptest.Echo)
	m, told := newManager(t), 0
	args := []string{"--listen", "systemd:socks", "--via", "direct"}
	p := m.start(t, args...)
	m.awaitStates(t, &told, "READY=1")

	var stop atomic.Bool
	var served atomic.Int64
	var clients sync.WaitGroup
	for range atOnce {
		clients.Go(func() {
			for !stop.Load() {
				c, err := converse(m.addr, echo)
				if err != nil {
					t.Errorf("a connection: %v", err)
					return
				}
				c.Close()
				served.Add(1)
			}
		})
	}
	defer clients.Wait()
	defer stop.Store(true)
	for range restarts {
		before := served.Load()
		await(t, "more connections", func() bool { return served.Load() > before+10*atOnce || t.Failed() })
		p.signal(t, syscall.SIGTERM)
		if code := p.awaitExit(t); code != 0 {
			t.Fatalf("exit code %d, want 0: %s", code, p.log.String())
		}
		m.awaitStates(t, &told, "STOPPING=1")
		p = m.start(t, args...)
		m.awaitStates(t, &told, "READY=1")
	}
	before := served.Load()
	await(t, "connections after the last restart", func() bool { return served.Load() > before+10*atOnce || t.Failed() })
	t.Logf("%d connections over %d restarts", served.Load(), restarts)
}
