package leaks

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hosier/socks"
)

// beClient connects to a proxy and waits until that has read a byte and hangs up.
func beClient(proxy string) int {
	network := "tcp"
	if strings.HasPrefix(proxy, "/") {
		network = "unix"
	}
	c, err := net.Dial(network, proxy)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer c.Close()
	c.Write([]byte{0})
	io.Copy(io.Discard, c)
	return 0
}

// ask is a request to CONNECT; literal if the target is an address.
func ask(client, target string) *socks.Request {
	a, err := socks.ParseAddr(target)
	if err != nil {
		panic(err)
	}
	r := &socks.Request{Version: socks.V5, Command: socks.Connect, Addr: a, Literal: a.IP.IsValid(), Listener: "192.0.2.250:1080"}
	if client != "" {
		r.Client = netip.AddrPortFrom(netip.MustParseAddr(client), 40000)
	}
	return r
}

// logged collects log lines.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logged) lines() int { return strings.Count(l.String(), "\n") }

func newWatch() (*Watch, *logged) {
	l := &logged{}
	return New(slog.New(slog.NewTextHandler(l, nil)), nil), l
}

func TestJudge(t *testing.T) {
	t.Parallel()
	command := func(c socks.Command, r *socks.Request) *socks.Request { r.Command = c; return r }
	written := func(r *socks.Request) *socks.Request { r.Literal = false; return r }
	four := func(r *socks.Request) *socks.Request { r.Version = socks.V4; return r }
	for _, c := range []struct {
		name   string
		r      *socks.Request
		unsafe bool
	}{
		{"address", ask("198.51.100.1", "203.0.113.1:80"), true},
		{"address by SOCKS4", four(ask("198.51.100.1", "203.0.113.1:80")), true},
		{"IPv6 address", ask("2001:db8::1", "[2606:4700::1]:443"), true},
		{"from this host", ask("127.0.0.1", "203.0.113.1:80"), true},
		{"by a Unix socket", ask("", "203.0.113.1:80"), true},
		{"name", ask("198.51.100.1", "www.example.com:80"), false},
		{"address in the form of a name", written(ask("198.51.100.1", "203.0.113.1:80")), false},
		{"RESOLVE", command(socks.Resolve, ask("198.51.100.1", "203.0.113.1:80")), false},
		{"RESOLVE_PTR", command(socks.ResolvePTR, ask("198.51.100.1", "203.0.113.1:80")), false},
		{"BIND", command(socks.Bind, ask("198.51.100.1", "203.0.113.1:80")), false},
		{"loopback", ask("198.51.100.1", "127.0.0.1:80"), false},
		{"RFC 1918", ask("198.51.100.1", "192.168.0.1:80"), false},
		{"RFC 4193", ask("198.51.100.1", "[fd00::1]:80"), false},
		{"RFC 6598", ask("198.51.100.1", "100.100.1.1:80"), false},
		{"not RFC 6598", ask("198.51.100.1", "100.128.1.1:80"), true},
		{"link-local", ask("198.51.100.1", "169.254.169.254:80"), false},
		{"all zeros", ask("198.51.100.1", "0.0.0.0:80"), false},
		{"private in IPv6 clothes", ask("198.51.100.1", "[::ffff:10.0.0.1]:80"), false},
	} {
		for _, mode := range []Mode{Warn, Allow, Refuse} {
			w, _ := newWatch()
			v, err := w.Judge(mode, c.r)
			if v.Unsafe != c.unsafe {
				t.Errorf("%s: unsafe is %v", c.name, v.Unsafe)
			}
			if want := c.unsafe && mode == Refuse; errors.Is(err, ErrUnsafe) != want || errors.Is(err, socks.NotAllowed) != want || (err != nil) != want {
				t.Errorf("%s, mode %d: %v", c.name, mode, err)
			}
			if err != nil && strings.Contains(err.Error(), "203.0.113") {
				t.Errorf("%s: the error tells the target: %v", c.name, err)
			}
			if want := c.unsafe && mode != Allow && isLocal(c.r); v.Look != want {
				t.Errorf("%s, mode %d: look is %v", c.name, mode, v.Look)
			}
			if n := w.Counts().Unsafe; (n == 1) != c.unsafe {
				t.Errorf("%s: %d counted", c.name, n)
			}
			if want := c.unsafe && mode != Allow && !isLocal(c.r); (len(w.Report()) == 1) != want {
				t.Errorf("%s, mode %d: report is %v", c.name, mode, w.Report())
			}
		}
	}
}

func TestIsLocal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		client, listener string
		want             bool
	}{
		{"", "unix:/run/hosier.sock", true},
		{"127.0.0.1", "127.0.0.1:1080", true},
		{"127.9.9.9", "0.0.0.0:1080", true},
		{"::1", "[::]:1080", true},
		{"::ffff:127.0.0.1", "[::]:1080", true},
		{"192.168.1.1", "192.168.1.1:1080", true},
		{"192.168.1.2", "192.168.1.1:1080", false},
		{"192.168.1.2", "0.0.0.0:1080", false},
		{"2001:db8::1", "[::]:1080", false},
	} {
		r := ask(c.client, "www.example.com:80")
		r.Listener = c.listener
		if isLocal(r) != c.want {
			t.Errorf("%s at %s: %v", c.client, c.listener, !c.want)
		}
	}
}

// A program under torsocks asks RESOLVE, and connects to the address that it was told.
func TestAnswered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, _ := newWatch()
		unsafe := func(client, target string) bool {
			v, err := w.Judge(Refuse, ask(client, target))
			if (err != nil) != v.Unsafe {
				t.Error(err)
			}
			return v.Unsafe
		}
		w.Answered(netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("203.0.113.1"))
		w.Answered(netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("::ffff:203.0.113.6"))
		w.Answered(netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("203.0.113.7"))
		for _, c := range []struct {
			client, target string
			unsafe         bool
		}{
			{"198.51.100.1", "203.0.113.1:80", false},
			{"198.51.100.1", "203.0.113.1:443", false},
			{"::ffff:198.51.100.1", "203.0.113.1:80", false},
			{"198.51.100.1", "203.0.113.2:80", true},
			{"198.51.100.2", "203.0.113.1:80", true}, // he was told, not you
			{"2001:db8::2", "203.0.113.6:80", false}, // of one /64
			{"2001:db8:0:1::1", "203.0.113.6:80", true},
			{"::1", "203.0.113.7:80", false}, // of one host
			{"", "203.0.113.7:80", false},
		} {
			if got := unsafe(c.client, c.target); got != c.unsafe {
				t.Errorf("%s asks for %s: unsafe is %v", c.client, c.target, got)
			}
		}
		time.Sleep(rememberAnswer - time.Nanosecond)
		if unsafe("198.51.100.1", "203.0.113.1:80") {
			t.Error("the answer is forgotten too early")
		}
		time.Sleep(time.Nanosecond)
		if !unsafe("198.51.100.1", "203.0.113.1:80") {
			t.Error("the answer is never forgotten")
		}
	})
}

func TestAnswersAreBounded(t *testing.T) {
	t.Parallel()
	w, now := &Watch{}, time.Now()
	for i := range 2 * maxAsking {
		w.answers.add(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), netip.AddrFrom4([4]byte{1, 1, 1, 1}), now)
	}
	busy := netip.MustParseAddr("198.51.100.1")
	for i := range 2 * maxAnswers {
		w.answers.add(busy, netip.AddrFrom4([4]byte{1, 1, byte(i >> 8), byte(i)}), now)
	}
	of, _ := w.answers.clients.get(busy, now)
	if n, m := len(w.answers.clients.at), len(of.at); n != maxAsking || m != maxAnswers || of.order.Len() != m || w.answers.clients.order.Len() != n {
		t.Errorf("%d clients and %d answers are kept", n, m)
	}
	last := 2*maxAnswers - 1
	if !w.answers.has(busy, netip.AddrFrom4([4]byte{1, 1, byte(last >> 8), byte(last)}), now) || w.answers.has(busy, netip.AddrFrom4([4]byte{1, 1, 0, 0}), now) {
		t.Error("it is not the latest answers that are kept")
	}
	w.answers.add(busy, netip.AddrFrom4([4]byte{1, 1, 1, 1}), now.Add(rememberAnswer))
	of, _ = w.answers.clients.get(busy, now.Add(rememberAnswer))
	if len(of.at) != 1 || len(w.answers.clients.at) != 1 {
		t.Errorf("%d old answers and %d old clients are kept", len(of.at)-1, len(w.answers.clients.at)-1)
	}
}

// A client of another host is told of once in a while, with the fix, and as the redactor
// wants it.
func TestTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, log := newWatch()
		for range 100 {
			w.Judge(Warn, ask("198.51.100.1", "203.0.113.1:80"))
		}
		if log.lines() != 1 || !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "socks5h://") {
			t.Errorf("the log is:\n%s", log)
		}
		if strings.Contains(log.String(), "203.0.113") || strings.Contains(log.String(), "198.51.100") {
			t.Errorf("the log tells target or client:\n%s", log)
		}
		time.Sleep(tellAgain)
		w.Judge(Warn, ask("198.51.100.1", "203.0.113.1:80"))
		if log.lines() != 2 || !strings.Contains(log.String(), "requests=101") {
			t.Errorf("an hour later the log is:\n%s", log)
		}
		for i := range 200 {
			w.Judge(Warn, ask(fmt.Sprintf("198.51.100.%d", i), "203.0.113.1:80"))
		}
		if n := log.lines(); n > 12 {
			t.Errorf("%d lines for 200 clients", n)
		}

		w.client = func(a netip.AddrPort) string { return "client " + a.String() }
		time.Sleep(time.Minute)
		w.Judge(Warn, ask("198.51.100.250", "203.0.113.1:80"))
		if !strings.Contains(log.String(), `client="client 198.51.100.250:40000"`) {
			t.Errorf("the log is:\n%s", log)
		}
	})
}

func TestAllowIsSilent(t *testing.T) {
	t.Parallel()
	w, log := newWatch()
	w.Judge(Allow, ask("198.51.100.1", "203.0.113.1:80"))
	if log.lines() != 0 || len(w.Report()) != 0 {
		t.Errorf("log %q, report %v", log, w.Report())
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, _ := newWatch()
		start := time.Now()
		w.Judge(Warn, ask("198.51.100.1", "203.0.113.1:80"))
		time.Sleep(time.Second)
		w.Judge(Refuse, ask("2001:db8::1", "203.0.113.1:80"))
		w.Judge(Warn, ask("2001:db8::2", "203.0.113.2:80"))
		w.Judge(Warn, ask("198.51.100.1", "192.168.0.1:80"))
		w.Judge(Warn, ask("198.51.100.1", "www.example.com:80")) // of a host that may have many programs
		got := w.Report()
		want := []Entry{
			{"2001:db8::", "", 0, -1, 2, start.Add(time.Second), start.Add(time.Second), otherFix},
			{"198.51.100.1", "", 0, -1, 1, start, start, otherFix},
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%v\nwant %v", got, want)
		}
		if got, want := w.Counts(), (Counts{Unsafe: 3, Refused: 1, Private: 1}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		time.Sleep(forgetEntry - time.Second)
		if got := w.Report(); len(got) != 1 {
			t.Errorf("a day later: %v", got)
		}
		time.Sleep(time.Second)
		if got := w.Report(); len(got) != 0 || len(w.entries) != 0 {
			t.Errorf("when all is forgotten: %v", got)
		}
	})
}

func TestEntriesAreBounded(t *testing.T) {
	t.Parallel()
	w, _ := newWatch()
	for i := range 2 * maxEntries {
		w.Judge(Warn, ask(netip.AddrFrom4([4]byte{11, 0, byte(i >> 8), byte(i)}).String(), "203.0.113.1:80"))
		w.Judge(Warn, ask("198.51.100.1", "203.0.113.1:80"))
	}
	if len(w.entries) != maxEntries || w.order.Len() != maxEntries {
		t.Errorf("%d entries, %d in order", len(w.entries), w.order.Len())
	}
	if e := w.Report()[0]; e.Unsafe != 2*maxEntries {
		t.Errorf("the busiest has %d requests", e.Unsafe)
	}
}

// Programs are not looked for more often than so, whatever comes.
func TestLooksAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, _ := newWatch()
		looks := 0
		for range 1000 {
			if v, _ := w.Judge(Warn, ask("127.0.0.1", "203.0.113.1:80")); v.Look {
				looks++
			}
		}
		if looks != looksAtOnce {
			t.Errorf("%d looks at once", looks)
		}
		for range 100 {
			if v, _ := w.Judge(Warn, ask("127.0.0.1", "www.example.com:80")); v.Look {
				t.Fatal("a name is looked at, and nobody is accused")
			}
		}
		if n := w.Counts().Unsafe; n != 1000 {
			t.Errorf("%d are counted", n)
		}
	})
}

// Where no program is known, nobody can tell that it does better.
func TestUnknownIsNotCleared(t *testing.T) {
	t.Parallel()
	w, _ := newWatch()
	r, name := ask("127.0.0.1", "203.0.113.1:80"), ask("127.0.0.1", "www.example.com:80")
	r.Listener, name.Listener = "", "" // no socket can be found
	w.Judge(Warn, ask("198.51.100.1", "203.0.113.1:80"))
	v, _ := w.Judge(Warn, r)
	w.Look(t.Context(), v, r, 0)
	if v, _ := w.Judge(Warn, name); v.Look {
		t.Error("a name is looked at, and no program is accused")
	}
	w.Look(t.Context(), Verdict{}, name, 0)
	if all := w.Report(); len(all) != 2 {
		t.Errorf("report is %+v", all)
	}
}

// Sources only asks for a name accuses nobody, and is answered for connections of loopback alone,
// not too often, and soon.
func TestProgramIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, log := newWatch()
		w.turn <- struct{}{} // who looks waits, and so can be told from who does not
		looks := func(client, server string) bool {
			start := time.Now()
			if name, pid := w.Program(t.Context(), netip.MustParseAddrPort(client), netip.MustParseAddrPort(server)); name != "" || pid != 0 {
				t.Errorf("found %s, %d", name, pid)
			}
			took := time.Since(start)
			if took != 0 && took != lookFor {
				t.Errorf("it took %v", took)
			}
			return took > 0
		}
		for _, c := range []struct {
			client, server string
			want           bool
		}{
			{"127.0.0.1:5000", "127.0.0.1:1080", true},
			{"[::1]:5000", "[::1]:1080", true},
			{"[::ffff:127.0.0.1]:5000", "127.0.0.9:1080", true},
			{"192.0.2.1:5000", "127.0.0.1:1080", false},
			{"127.0.0.1:5000", "192.0.2.1:1080", false},
			{"192.0.2.1:5000", "192.0.2.1:1080", false},
			{"[2001:db8::1]:5000", "[::1]:1080", false},
		} {
			if got := looks(c.client, c.server); got != c.want {
				t.Errorf("%s to %s: looked %v", c.client, c.server, got)
			}
		}
		w.Program(t.Context(), netip.AddrPort{}, netip.AddrPort{})
		time.Sleep(time.Minute)
		count := 0
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				start := time.Now()
				w.Program(t.Context(), netip.MustParseAddrPort("127.0.0.1:5000"), netip.MustParseAddrPort("127.0.0.1:1080"))
				if time.Since(start) > 0 {
					w.mu.Lock()
					count++
					w.mu.Unlock()
				}
			})
		}
		all.Wait()
		if count != namesASecond {
			t.Errorf("%d looks at once", count)
		}
		if len(w.Report()) > 0 || w.Counts() != (Counts{}) || log.lines() > 0 {
			t.Errorf("somebody is accused: %+v, %+v, %s", w.Report(), w.Counts(), log)
		}
	})
}

// Whoever waits for another one's look does not wait for long.
func TestLookDoesNotWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, log := newWatch()
		w.turn <- struct{}{}
		start := time.Now()
		r := ask("127.0.0.1", "203.0.113.1:80")
		v, _ := w.Judge(Warn, r)
		w.Look(t.Context(), v, r, os.Getpid())
		if took := time.Since(start); took != lookFor {
			t.Errorf("it took %v", took)
		}
		if all := w.Report(); len(all) != 1 || all[0].Program != "" || all[0].Client != "" || all[0].Unsafe != 1 {
			t.Errorf("report is %v", all)
		}
		if !strings.Contains(log.String(), `program="one of this host"`) {
			t.Errorf("the log is:\n%s", log)
		}
	})
}

func TestProgramName(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ line, comm, want string }{
		{"curl\x00--socks5\x00secret", "curl", "curl"},
		{"/usr/bin/curl\x00http://secret/", "curl", "curl"},
		{"/opt/My App/app\x00x", "app", "app"},
		{"/usr/lib/chromium/chromium --type=utility --x=/a/b", "Chrome_ChildIOT", "chromium"},
		{"npm view /secret", "npm view", "npm"},
		{"python3\x00/usr/bin/pip\x00download\x00secret", "pip", "pip"},
		{"/usr/bin/python3.11\x00-m\x00pip\x00download", "python3", "pip"},
		{"python3\x00-c\x00import secret", "python3", "python3"},
		{"python3\x00/home/alice/secret.py", "python3", "python3"},
		{"node\x00/usr/share/nodejs/npm/bin/npm-cli.js\x00view", "node", "npm"},
		{"python3", "python3", "python3"},
		{"", "kworker", "kworker"},
		{"a\x1b[2Jb\nc\xff", "a", "a?[2Jb?c?"},
		{strings.Repeat("ä", 100), "a", strings.Repeat("ä", 32)},
	} {
		if got := programName(strings.Split(c.line, "\x00"), c.comm); got != c.want {
			t.Errorf("%q: %q, want %q", c.line, got, c.want)
		}
	}
}

func TestFix(t *testing.T) {
	t.Parallel()
	for program, want := range map[string]string{
		"curl":             "--socks5-hostname",
		"git-remote-https": "http.proxy socks5h://",
		"python3.11":       "rdns",
		"pip":              "pip config",
		"npm":              "npm config",
		"node":             "socks5h://",
		"java":             "-Dhttps.proxyHost",
		"ncat":             "--proxy-dns remote",
		"nc.openbsd":       "-X 5",
		"firefox-esr":      "Proxy DNS when using SOCKS v5",
		"chromium":         "socks5://",
		"redsocks":         "DNS",
		"curlew":           "remote DNS",
		"":                 "remote DNS",
	} {
		if got := fixFor(program); !strings.Contains(got, want) {
			t.Errorf("%q: %s, want %q in it", program, got, want)
		}
	}
}
