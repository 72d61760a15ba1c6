package relay

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The benchmarks measure forwarders in processes of their own, so that what the load
// costs is not counted. Such a process is this test program, told by its environment
// to be one.
const (
	forwarderKind   = "RELAY_TEST_FORWARDER"
	forwarderTarget = "RELAY_TEST_TARGET"
)

// congestion names the congestion control of benchmarks' sockets; the system's if
// empty. BBR makes the kernel send by timers, whose cost falls on whoever happens to
// run: on loopback it hides what a forwarder costs.
const congestion = "RELAY_BENCH_CONGESTION"

func TestMain(m *testing.M) {
	if kind := os.Getenv(forwarderKind); kind != "" {
		beForwarder(kind, os.Getenv(forwarderTarget))
		return
	}
	// Go's own poller keeps two descriptors from its first use on. Tests that count
	// descriptors, in whatever order they run, come after that.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	l.Close()
	flag.Parse()
	// Tests that run in parallel here wait for limits, they do not compute.
	if err := flag.Set("test.parallel", "64"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// forwarders are the ways to relay that benchmarks compare, yardstick first.
var forwarders = map[string]func() func(client, server net.Conn){
	"iocopy": func() func(client, server net.Conn) { return ioCopy },
	"goroutines": func() func(client, server net.Conn) {
		return engineForwarder(&Engine{portable: true})
	},
	"loops": func() func(client, server net.Conn) {
		e := &Engine{Loops: runtime.GOMAXPROCS(0)}
		runtime.GOMAXPROCS(e.Loops + 2)
		return engineForwarder(e)
	},
	"one-loop": func() func(client, server net.Conn) {
		runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), 3))
		return engineForwarder(&Engine{Loops: 1})
	},
	"plain-wait": func() func(client, server net.Conn) {
		runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), 3))
		return engineForwarder(&Engine{Loops: 1, PlainWait: true})
	},
	"default": func() func(client, server net.Conn) { return engineForwarder(new(Engine)) },
}

func engineForwarder(e *Engine) func(client, server net.Conn) {
	return func(client, server net.Conn) {
		e.Start(Pair{Client: client, Server: server, Idle: time.Hour})
	}
}

// ioCopy is the forwarder everybody writes.
func ioCopy(client, server net.Conn) {
	way := func(to, from net.Conn, done func()) {
		io.Copy(to, from)
		to.(Conn).CloseWrite()
		done()
	}
	first := make(chan struct{})
	go way(server, client, func() { close(first) })
	go way(client, server, func() { <-first; client.Close(); server.Close() })
}

// usage is what a forwarder's process used.
type usage struct {
	CPU   time.Duration // since its start
	RSS   int64         // bytes, after a collection
	Files int
}

// beForwarder forwards to target. It prints its address, and its usage for each line
// it reads, until there are no more.
func beForwarder(kind, target string) {
	l, err := listen()
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	go forwardAll(l, kind, target)
	for asked := bufio.NewScanner(os.Stdin); asked.Scan(); {
		answer, err := json.Marshal(used(asked.Text() == "settled"))
		if err != nil {
			panic(err)
		}
		fmt.Println(string(answer))
	}
}

// forwardAll is what a process of a kind does with its listener.
func forwardAll(l net.Listener, kind, target string) {
	if help := helpers[kind]; help != nil {
		help(l, target)
		return
	}
	forward := forwarders[kind]()
	for {
		client, err := l.Accept()
		if err != nil {
			panic(err)
		}
		go func() {
			server, err := dial(target)
			if err != nil {
				panic(err)
			}
			forward(client, server)
		}()
	}
}

func listen() (net.Listener, error) {
	config := net.ListenConfig{Control: control}
	return config.Listen(context.Background(), "tcp", "127.0.0.1:0")
}

func dial(address string) (net.Conn, error) {
	dialer := net.Dialer{Control: control}
	return dialer.Dial("tcp", address)
}

// control sets the congestion control of a new socket.
func control(_, _ string, c syscall.RawConn) (err error) {
	name := os.Getenv(congestion)
	if name == "" {
		return nil
	}
	failed := c.Control(func(fd uintptr) {
		err = syscall.SetsockoptString(int(fd), syscall.IPPROTO_TCP, syscall.TCP_CONGESTION, name)
	})
	return errors.Join(failed, err)
}

// used returns what this process used. If settled, memory is returned first.
func used(settled bool) (u usage) {
	if settled {
		debug.FreeOSMemory()
	}
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	u.CPU = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	status, _ := os.ReadFile("/proc/self/status") // absent on some systems
	if _, after, ok := strings.Cut(string(status), "VmRSS:"); ok {
		fmt.Sscan(after, &u.RSS)
		u.RSS <<= 10
	}
	if dir, err := os.ReadDir("/proc/self/fd"); err == nil {
		u.Files = len(dir)
	}
	return u
}

// forwarder is a running forwarder process.
type forwarder struct {
	b       testing.TB
	address string
	in      io.Writer
	out     *bufio.Reader
}

// startForwarder runs a forwarder to target until the benchmark ends.
func startForwarder(b testing.TB, kind, target string) *forwarder {
	b.Helper()
	return runForwarder(b, exec.Command(os.Args[0]), kind, target)
}

// startOrdinary runs a forwarder as a user without privileges, if this one has them:
// as the user with the number uid, since the kernel counts pipes by user.
func startOrdinary(b testing.TB, uid uint32, kind, target string) *forwarder {
	b.Helper()
	cmd := exec.Command("/proc/self/exe") // which that user could not reach by its name
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	return runForwarder(b, cmd, kind, target)
}

func runForwarder(b testing.TB, cmd *exec.Cmd, kind, target string) *forwarder {
	b.Helper()
	cmd.Env = append(os.Environ(), forwarderKind+"="+kind, forwarderTarget+"="+target)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			b.Error(err)
		}
	})
	f := &forwarder{b: b, in: in, out: bufio.NewReader(out)}
	f.address = strings.TrimSpace(f.line())
	return f
}

func (f *forwarder) line() string {
	f.b.Helper()
	s, err := f.out.ReadString('\n')
	if err != nil {
		f.b.Fatal(err)
	}
	return s
}

// used asks the process what it used.
func (f *forwarder) used(how string) (u usage) {
	f.b.Helper()
	if _, err := fmt.Fprintln(f.in, how); err != nil {
		f.b.Fatal(err)
	}
	if err := json.Unmarshal([]byte(f.line()), &u); err != nil {
		f.b.Fatal(err)
	}
	return u
}
