package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"hosier/internal/sockstest"
)

// scriptCommands are what the scripts can do beside testscript's own commands. NAME is
// a word that the script chooses.
//
//	start NAME ARG...       run "hosier serve ARG...", by default on a port of 127.0.0.1;
//	                        set $NAME, $NAME2, ... to what it listens on
//	log NAME PATTERN        wait until its standard error matches; with !, it must not now
//	signal NAME TERM|INT|HUP
//	exited NAME CODE        wait for its end; -1 is an end by a signal
//	exits CODE PROGRAM ARG...
//
//	dns FILE                run a DNS server and set $DNS; a line of the file is a name and
//	                        its addresses, or "broken", or "silent"
//	asked [TYPE NAME]...    what it was asked since the last time, in any order
//	echo                    run a TCP server that echoes and set $ECHO
//	peer NAME FILE          run a proxy that says what the file says and set $NAME; a line
//	                        "< BYTES" is read, "> BYTES" written; then it waits for the end
//
//	connect NAME ADDR       be a client
//	send NAME BYTES         BYTES are hex digits, "=text", or an address of SOCKS5 ("5@HOST:PORT")
//	expect NAME BYTES       or SOCKS4 ("4@IP:PORT"); ".." is any byte
//	drip NAME COUNT         send up to so many bytes one by one; the other side must hang up before
//	eof NAME                the other side hangs up without another byte; hang up, too
//	finish NAME             end what is sent; half-close
//	hangup NAME
//	refused ADDR            nobody listens there, or soon nobody does
//
//	mode FILE PERMISSIONS
//	stale FILE              leave a Unix socket behind that nobody listens on
var scriptCommands = map[string]func(*testscript.TestScript, bool, []string){
	"start":   command(1, cmdStart),
	"log":     cmdLog,
	"signal":  command(2, cmdSignal),
	"exited":  command(2, cmdExited),
	"exits":   command(2, cmdExits),
	"dns":     command(1, cmdDNS),
	"asked":   command(0, cmdAsked),
	"echo":    command(0, cmdEcho),
	"peer":    command(2, cmdPeer),
	"connect": command(2, cmdConnect),
	"send":    command(2, cmdSend),
	"expect":  command(2, cmdExpect),
	"drip":    command(2, cmdDrip),
	"eof":     command(1, cmdEOF),
	"finish":  command(1, cmdFinish),
	"hangup":  command(1, cmdHangup),
	"refused": command(1, cmdRefused),
	"mode":    command(2, cmdMode),
	"stale":   command(1, cmdStale),
}

// scriptCondition has [ipv6], whether this machine has the address ::1, and [root].
func scriptCondition(cond string) (bool, error) {
	switch cond {
	case "ipv6":
		return hasIPv6(), nil
	case "root":
		return os.Geteuid() == 0, nil
	}
	return false, fmt.Errorf("unknown condition %q", cond)
}

func hasIPv6() bool {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		return false
	}
	l.Close()
	return true
}

// script is a TestScript with what it has started, in the guise of a testing.TB.
type script struct {
	testing.TB // nil: what is called of it is below
	ts         *testscript.TestScript
	*scriptWorld
}

type worldKey struct{}

type scriptWorld struct {
	processes map[string]*process
	conns     map[string]net.Conn
	dns       *sockstest.DNS
	told      int // how many questions "asked" has seen
}

func (s script) Helper()                   {}
func (s script) Name() string              { return s.ts.Name() }
func (s script) Context() context.Context  { return context.Background() }
func (s script) Cleanup(f func())          { s.ts.Defer(f) }
func (s script) Setenv(name, value string) { s.ts.Setenv(name, value) }
func (s script) Fatal(args ...any)         { s.ts.Fatalf("%s", fmt.Sprint(args...)) }
func (s script) Errorf(f string, a ...any) { s.ts.Fatalf(f, a...) }
func (s script) Fatalf(f string, a ...any) { s.ts.Fatalf(f, a...) }
func (s script) Logf(f string, a ...any)   { s.ts.Logf(f, a...) }

func newScript(ts *testscript.TestScript) script {
	return script{nil, ts, ts.Value(worldKey{}).(*scriptWorld)}
}

// command makes a script command that cannot be negated of a function that wants at
// least so many arguments.
func command(least int, do func(script, []string)) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) < least {
			ts.Fatalf("a command with !, or with less than %d arguments", least)
		}
		do(newScript(ts), args)
	}
}

func (s script) process(name string) *process {
	p := s.processes[name]
	if p == nil {
		s.Fatalf("there is no process %s", name)
	}
	return p
}

func cmdStart(s script, args []string) {
	p := start(s, args[1:]...)
	s.processes[args[0]] = p
	for i, addr := range p.addrs {
		name := args[0]
		if i > 0 {
			name += strconv.Itoa(i + 1)
		}
		s.Setenv(name, addr)
	}
}

func cmdLog(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: log NAME PATTERN")
	}
	p := newScript(ts).process(args[0])
	if !neg {
		p.awaitLog(newScript(ts), args[1])
	} else if regexp.MustCompile(`(?m)` + args[1]).MatchString(p.log.String()) {
		ts.Fatalf("the log matches %s:\n%s", args[1], p.log.String())
	}
}

func cmdSignal(s script, args []string) {
	signals := map[string]os.Signal{"TERM": syscall.SIGTERM, "INT": os.Interrupt, "HUP": syscall.SIGHUP}
	s.process(args[0]).signal(s, signals[args[1]])
}

func cmdExited(s script, args []string) {
	p := s.process(args[0])
	if code := strconv.Itoa(p.awaitExit(s)); code != args[1] {
		s.Fatalf("exit code %s, want %s:\n%s", code, args[1], p.log.String())
	}
}

func cmdExits(s script, args []string) {
	got := runProgram(s, "", args[1:]...)
	io.WriteString(s.ts.Stdout(), got.stdout)
	io.WriteString(s.ts.Stderr(), got.stderr)
	if strconv.Itoa(got.code) != args[0] {
		s.Fatalf("exit code %d, want %s", got.code, args[0])
	}
}

func cmdDNS(s script, args []string) {
	s.dns = sockstest.NewDNS(s)
	for line := range strings.Lines(s.ts.ReadFile(args[0])) {
		switch word := strings.Fields(line); {
		case len(word) < 2:
		case word[1] == "broken":
			s.dns.Break(word[0])
		case word[1] == "silent":
			s.dns.Silence(word[0])
		default:
			s.dns.Set(word[0], word[1:]...)
		}
	}
	s.Setenv("DNS", s.dns.Addr)
}

func cmdAsked(s script, args []string) {
	all := s.dns.Queries()
	for end := time.Now().Add(patience); len(all) < s.told+len(args)/2 && time.Now().Before(end); all = s.dns.Queries() {
		time.Sleep(time.Millisecond) // a question whose answer is not needed may come late
	}
	var got, want []string
	for _, q := range all[s.told:] {
		got = append(got, strings.TrimPrefix(q.Type.String(), "Type")+" "+q.Name)
	}
	s.told = len(all)
	for pair := range slices.Chunk(args, 2) {
		want = append(want, strings.Join(pair, " "))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		s.Fatalf("the DNS server was asked %q, want %q", got, want)
	}
}

func cmdMode(s script, args []string) {
	info, err := os.Stat(s.ts.MkAbs(args[0]))
	s.ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[1] {
		s.Fatalf("permissions %s, want %s", got, args[1])
	}
}

func cmdStale(s script, args []string) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: s.ts.MkAbs(args[0]), Net: "unix"})
	s.ts.Check(err)
	l.SetUnlinkOnClose(false)
	s.ts.Check(l.Close())
}

// cmdRefused waits: a hosier says that it stops before it has closed its listeners.
func cmdRefused(s script, args []string) {
	for end := time.Now().Add(patience); ; {
		c, err := net.DialTimeout("tcp", args[0], patience)
		if err != nil {
			return
		}
		if c.Close(); time.Now().After(end) {
			s.Fatalf("somebody listens on %s", args[0])
		}
	}
}

func (s script) conn(name string) net.Conn {
	c := s.conns[name]
	if c == nil {
		s.Fatalf("there is no connection %s", name)
	}
	c.SetDeadline(time.Now().Add(patience))
	return c
}
