package leaks

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hosier/socks"
)

const patience = time.Minute

// newFinder returns a Watch that finds programs on a busy machine, too.
func newFinder() (*Watch, *logged) {
	w, log := newWatch()
	w.lookFor = patience
	return w, log
}

// accept returns a connection of a client that start has started, and its pid.
func accept(t *testing.T, l net.Listener) (net.Conn, int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "LEAKS_TEST_CLIENT="+l.Addr().String())
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Wait() })
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return c, cmd.Process.Pid
}

// requestOf is what a request for an address would be that came by c.
func requestOf(c net.Conn, l net.Listener) *socks.Request {
	r := ask("", "203.0.113.1:80")
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		r.Client, r.Listener = a.AddrPort(), l.Addr().String()
	}
	return r
}

// The program at the other end is found by pid and name, whatever the listener.
func TestProgramIsFound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, network, address, dial string }{
		{"IPv4", "tcp4", "127.0.0.1:0", ""},
		{"another of loopback", "tcp4", "127.0.0.9:0", ""},
		{"all of IPv4", "tcp4", "0.0.0.0:0", ""},
		{"IPv6", "tcp6", "[::1]:0", ""},
		{"both, by IPv4", "tcp", ":0", "127.0.0.1"},
		{"both, by IPv6", "tcp", ":0", "::1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen(c.network, c.address)
			if err != nil {
				t.Skipf("this host has no such address: %v", err)
			}
			defer l.Close()
			seen := l
			if c.dial != "" {
				seen = elsewhere{l, c.dial}
			}
			conn, pid := accept(t, seen)
			w, log := newFinder()
			client, server := conn.RemoteAddr().(*net.TCPAddr).AddrPort(), conn.LocalAddr().(*net.TCPAddr).AddrPort()
			if name, got := w.Program(t.Context(), client, server); name != filepath.Base(os.Args[0]) || got != pid {
				t.Errorf("it is said to be %s, %d, and is %d", name, got, pid)
			}
			if len(w.Report()) > 0 {
				t.Errorf("somebody is accused: %+v", w.Report())
			}
			r := requestOf(conn, l)
			v, err := w.Judge(Warn, r)
			if err != nil || !v.Look {
				t.Fatal(v, err)
			}
			w.Look(t.Context(), v, r, 0)
			all := w.Report()
			if len(all) != 1 || all[0].PID != pid || all[0].Program != filepath.Base(os.Args[0]) || all[0].UID != os.Getuid() {
				t.Errorf("report is %+v, want pid %d", all, pid)
			}
			if !strings.Contains(log.String(), "program=leaks.test") {
				t.Errorf("the log is:\n%s", log)
			}
		})
	}
}

// elsewhere is a listener of all addresses that clients come to by one of them.
type elsewhere struct {
	net.Listener
	host string
}

func (e elsewhere) Addr() net.Addr {
	_, port, _ := net.SplitHostPort(e.Listener.Addr().String())
	a, _ := net.ResolveTCPAddr("tcp", net.JoinHostPort(e.host, port))
	return a
}

// A program with a socket of IPv6 that speaks IPv4, as Java's, is found as well.
func TestMappedClient(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Skipf("this host has no IPv6: %v", err)
	}
	defer unix.Close(fd)
	port := l.Addr().(*net.TCPAddr).Port
	to := &unix.SockaddrInet6{Port: port, Addr: netip.MustParseAddr("::ffff:127.0.0.1").As16()}
	if err := unix.Connect(fd, to); err != nil {
		t.Skipf("this host maps no addresses: %v", err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var f finder
	p := f.find(t.Context(), c.RemoteAddr().(*net.TCPAddr).AddrPort(), c.LocalAddr().(*net.TCPAddr).AddrPort())
	if p.pid != os.Getpid() || p.uid != os.Getuid() {
		t.Errorf("found %+v", p)
	}
}

func TestSocketThatIsNot(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	here := l.Addr().(*net.TCPAddr).AddrPort()
	for name, c := range map[string][2]netip.AddrPort{
		"nobody":         {netip.MustParseAddrPort("127.0.0.1:1"), here},
		"a listener":     {here, netip.MustParseAddrPort("127.0.0.1:1")},
		"no address":     {netip.AddrPort{}, here},
		"two families":   {netip.MustParseAddrPort("[::1]:1"), here},
		"no proxy":       {here, netip.AddrPort{}},
		"another host's": {netip.MustParseAddrPort("203.0.113.1:1"), here},
	} {
		if s, err := findSocket(c[0], c[1]); !errors.Is(err, errNoSocket) && !errors.Is(err, unix.ENOENT) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
}

// A search that has no time left says what it knows: as whom the program runs.
func TestNoTime(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, _ := accept(t, l)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var f finder
	client, proxy := conn.RemoteAddr().(*net.TCPAddr).AddrPort(), conn.LocalAddr().(*net.TCPAddr).AddrPort()
	if p := f.find(ctx, client, proxy); p != (program{uid: os.Getuid()}) {
		t.Errorf("found %+v", p)
	}
	if p := f.find(t.Context(), client, proxy); p.pid == 0 {
		t.Errorf("found %+v", p)
	}
	if p := f.find(ctx, client, proxy); p.pid == 0 {
		t.Errorf("one that was found lately is not known again: %+v", p)
	}
}

// A program with very many descriptors is not looked through for longer than there is time.
func TestManyDescriptors(t *testing.T) { // alone, or the socket could get a low number that is free
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 1200 {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	c, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := findSocket(c.LocalAddr().(*net.TCPAddr).AddrPort(), c.RemoteAddr().(*net.TCPAddr).AddrPort())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	link := fmt.Sprintf("socket:[%d]", s.inode)
	if !holds(ctx, os.Getpid(), link) {
		t.Error("it is not found")
	}
	cancel()
	if holds(ctx, os.Getpid(), link) {
		t.Error("it is found, though there is no time")
	}
}

// Of a Unix socket the caller knows the pid.
func TestPID(t *testing.T) {
	t.Parallel()
	w, _ := newFinder()
	r := ask("", "203.0.113.1:80")
	v, _ := w.Judge(Warn, r)
	w.Look(t.Context(), v, r, os.Getpid())
	if all := w.Report(); len(all) != 1 || all[0].Program != filepath.Base(os.Args[0]) || all[0].UID != os.Getuid() {
		t.Errorf("report is %+v", all)
	}
	w, _ = newFinder()
	v, _ = w.Judge(Warn, r)
	w.Look(t.Context(), v, r, 1<<30) // one that has ended
	if all := w.Report(); len(all) != 1 || all[0].Program != "" || all[0].UID != -1 {
		t.Errorf("report is %+v", all)
	}
}

// A program that sends names is no longer accused, and when it sends addresses again, it is,
// without another line before its time.
func TestCleared(t *testing.T) {
	t.Parallel()
	w, log := newFinder()
	ask := func(m Mode, target string, pid int) Verdict {
		r := ask("127.0.0.1", target)
		v, _ := w.Judge(m, r)
		if v.Look {
			w.Look(t.Context(), v, r, pid)
		}
		return v
	}
	for round := range 3 {
		ask(Warn, "203.0.113.1:80", os.Getpid())
		ask(Warn, "203.0.113.1:80", os.Getpid())
		if all := w.Report(); len(all) != 1 || all[0].Unsafe != 2 {
			t.Fatalf("round %d: report is %+v", round, all)
		}
		ask(Warn, "www.example.com:80", 1<<30) // of another
		ask(Warn, "www.example.com:80", os.Getppid())
		ask(Allow, "www.example.com:80", os.Getpid()) // nobody looks
		if len(w.Report()) != 1 {
			t.Fatalf("round %d: another one clears it", round)
		}
		if round == 1 { // as torsocks does
			w.Answered(netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("203.0.113.2"))
			ask(Warn, "203.0.113.2:80", os.Getpid())
		} else {
			ask(Warn, "www.example.com:80", os.Getpid())
		}
		if all := w.Report(); len(all) != 0 {
			t.Fatalf("round %d: report is %+v", round, all)
		}
		if v := ask(Warn, "www.example.com:80", os.Getpid()); v.Look {
			t.Fatalf("round %d: names are looked at, and nobody is accused", round)
		}
	}
	if log.lines() != 1 {
		t.Errorf("the log is:\n%s", log)
	}
	ask(Warn, "203.0.113.1:80", os.Getpid())
	w.mu.Lock()
	w.drop(w.order.Front())
	w.mu.Unlock()
	if w.open.Load() != 0 {
		t.Errorf("%d are open of none", w.open.Load())
	}
}

// proxyFor answers requests of any program with a refusal, and has them judged before.
func proxyFor(t *testing.T, w *Watch) (address string, judged chan Verdict) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	judged = make(chan Verdict, 10)
	done := make(chan struct{})
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(patience))
			r, err := socks.Accept(bufio.NewReaderSize(c, socks.MaxMessage), c, nil)
			if r != nil && err == nil {
				r.Client, r.Listener = c.RemoteAddr().(*net.TCPAddr).AddrPort(), l.Addr().String()
				v, _ := w.Judge(Warn, r)
				if v.Look {
					w.Look(context.Background(), v, r, 0)
				}
				judged <- v
				c.Write(r.AppendReply(nil, socks.NotAllowed, socks.Addr{}))
			}
			c.Close()
		}
	}()
	return l.Addr().String(), judged
}

// What the fix for curl says is so.
func TestCurl(t *testing.T) {
	t.Parallel()
	curl, err := exec.LookPath("curl")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("curl is not installed (apt-get install curl): %v", err)
	}
	w, log := newFinder()
	proxy, judged := proxyFor(t, w)
	run := func(args ...string) Verdict {
		t.Helper()
		args = append([]string{"-q", "-s", "--noproxy", "", "--resolve", "www.example.com:80:203.0.113.1"}, args...)
		cmd := exec.Command(curl, append(args, "http://www.example.com/")...)
		cmd.Run() // it is refused
		select {
		case v := <-judged:
			return v
		case <-time.After(patience):
			t.Fatal("curl has not come")
		}
		return Verdict{}
	}
	for _, way := range [][2][]string{
		{{"--socks5", proxy}, {"--socks5-hostname", proxy}},
		{{"--socks4", proxy}, {"--socks4a", proxy}},
		{{"-x", "socks5://" + proxy}, {"-x", "socks5h://" + proxy}},
	} {
		if v := run(way[0]...); !v.Unsafe {
			t.Errorf("curl %v sends a name", way[0])
		}
		if all := w.Report(); len(all) != 1 || all[0].Program != "curl" || !strings.Contains(all[0].Fix, strings.Split(way[1][0], " ")[0]) {
			t.Errorf("after curl %v: %+v", way[0], all)
		}
		if v := run(way[1]...); v.Unsafe {
			t.Errorf("curl %v sends an address", way[1])
		}
		if all := w.Report(); len(all) != 0 {
			t.Errorf("after curl %v: %+v", way[1], all)
		}
	}
	if log.lines() != 1 || !strings.Contains(log.String(), "program=curl") {
		t.Errorf("the log is:\n%s", log)
	}
}

// FuzzAnswer holds the parser against whatever might come.
func FuzzAnswer(f *testing.F) {
	client, proxy := netip.MustParseAddrPort("127.0.0.1:40000"), netip.MustParseAddrPort("127.0.0.1:1080")
	id := appendQuestion(nil, client, proxy)[headerLen+8:]
	good := make([]byte, answerLen)
	binary.NativeEndian.PutUint16(good[4:], unix.SOCK_DIAG_BY_FAMILY)
	copy(good[headerLen+4:], id)
	binary.NativeEndian.PutUint32(good[answerLen-8:], 1000)
	binary.NativeEndian.PutUint32(good[answerLen-4:], 4711)
	if s, err := parseAnswer(good, id); err != nil || s != (socket{4711, 1000}) {
		f.Fatal(s, err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseAnswer(b, id)
		if err == nil && (len(b) < answerLen || s.inode == 0) {
			t.Errorf("%x gives %+v", b, s)
		}
	})
}

func BenchmarkFind(b *testing.B) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	client, proxy := c.LocalAddr().(*net.TCPAddr).AddrPort(), c.RemoteAddr().(*net.TCPAddr).AddrPort()
	for name, f := range map[string]finder{"lately": {lately: []int{os.Getpid()}}, "never": {}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				one := f
				if one.find(b.Context(), client, proxy).pid == 0 {
					b.Fatal("not found")
				}
			}
		})
	}
}

func TestListeners(t *testing.T) {
	for _, tt := range []struct{ name, listen, ask string }{
		{"ipv4", "127.0.0.1:0", "127.0.0.1"},
		{"ipv4-other-address", "127.0.0.2:0", ""},
		{"ipv4-any", "0.0.0.0:0", "127.0.0.1"},
		{"dual-any", "[::]:0", "127.0.0.1"},
		{"ipv6", "[::1]:0", "::1"},
		{"ipv6-any", "[::]:0", "::1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := net.Listen("tcp", tt.listen)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			port := l.Addr().(*net.TCPAddr).AddrPort().Port()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if tt.ask == "" {
				if got := Listeners(ctx, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)); len(got) > 0 {
					t.Errorf("%v listen at another address", got)
				}
				return
			}
			addr := netip.AddrPortFrom(netip.MustParseAddr(tt.ask), port)
			if got := Listeners(ctx, addr); len(got) != 1 || got[0] != os.Getpid() {
				t.Errorf("got %v, want %d", got, os.Getpid())
			}
			l.Close()
			if got := Listeners(ctx, addr); len(got) > 0 {
				t.Errorf("%v listen where nobody does", got)
			}
		})
	}
}
