package telemetry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"hosier/proxy"
	"hosier/socks"
)

// What is a failure, and which of them count as connections that came to nothing.
func TestWhatFails(t *testing.T) {
	t.Parallel()
	reset := &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	request := &socks.Request{Version: socks.V5, Command: socks.Connect}
	for _, c := range []struct {
		name        string
		ses         proxy.Session
		failed, cut bool
	}{
		{"in-order", proxy.Session{Request: request}, false, false},
		{"refused", proxy.Session{Request: request, Status: socks.NotAllowed, Err: socks.NotAllowed}, true, false},
		{"failed", proxy.Session{Request: request, Status: socks.HostUnreachable, Err: io.EOF}, true, false},
		{"client-left-before-its-refusal", proxy.Session{Request: request, Status: socks.NotAllowed, Err: proxy.ErrClientLeft}, true, false},
		{"target-broke-off", proxy.Session{Request: request, Err: reset}, false, true},
		{"limit-of-time", proxy.Session{Request: request, Err: proxy.ErrTotal}, false, true},
		{"ended-from-here", proxy.Session{Request: request, Err: net.ErrClosed}, false, true},
		{"client-broke-off", proxy.Session{Request: request, Err: fmt.Errorf("%w: %w", proxy.ErrClientLeft, reset)}, false, false},
		{"page", proxy.Session{Err: proxy.ErrPage}, false, false},
		{"options", proxy.Session{Err: proxy.ErrOptions}, false, false},
		{"left-silently", proxy.Session{Err: io.EOF}, false, false},
		{"port-scan", proxy.Session{Err: reset}, false, false},
		{"left-in-its-handshake", proxy.Session{Err: io.ErrUnexpectedEOF}, true, false},
		{"not-SOCKS", proxy.Session{Err: socks.ErrNotSOCKS}, true, false},
		{"login", proxy.Session{Err: fmt.Errorf("%w: %w", socks.ErrAuth, errors.New("wrong"))}, true, false},
		{"TLS", proxy.Session{Err: tls.RecordHeaderError{}}, true, false},
		{"probe", proxy.Session{Err: proxy.ErrProbe}, true, false},
		{"timed-out", proxy.Session{Err: context.DeadlineExceeded}, true, false},
	} {
		if failed, cut := failed(&c.ses), cutShort(&c.ses); failed != c.failed || cut != c.cut {
			t.Errorf("%s: failed %v, cut short %v", c.name, failed, cut)
		}
		c.ses.End = time.Now()
		tel := New(Options{})
		tel.Closed(&c.ses)
		if n := len(tel.Failures()); (n == 1) != (c.failed || c.cut) || n > 1 {
			t.Errorf("%s: %d failures are kept", c.name, n)
		}
		if m := tel.History(); m[58].Failed+m[59].Failed == 1 != c.failed {
			t.Errorf("%s: %d are counted", c.name, m[59].Failed)
		}
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	tel := New(Options{Redactor: Redactor{Reveal: true}})
	if got := tel.Failures(); got == nil || len(got) != 0 {
		t.Errorf("at the begin: %v", got)
	}
	tel.Closed(session())
	start := session().Start
	want := []Entry{{
		ID: 7, Start: start, End: start.Add(2 * time.Second), Listener: "127.0.0.1:1080", Client: "192.0.2.1:4321", User: "ann",
		Dialect: "SOCKS5", Command: "CONNECT", Target: "foo.test:443", Rule: "hosier.toml:12", Egress: "tor", Member: "tor0",
		Status: "06 timed out", Reason: "CONNECT foo.test:443: context deadline exceeded", Up: 517, Down: 4096,
	}}
	if diff := cmp.Diff(want, tel.Failures()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	// As many as there is room for, the latest first.
	for id := range uint64(3*maxFailures + 50) {
		ses := session()
		ses.ID = id
		tel.Closed(ses)
		for i, e := range tel.Failures()[:min(id, maxFailures)] {
			if e.ID != id-uint64(i) {
				t.Fatalf("after %d, place %d has %d", id, i, e.ID)
			}
		}
	}
	if n := len(tel.Failures()); n != maxFailures {
		t.Errorf("%d are kept", n)
	}
}

// A reload that hides clients and targets hides those of before, too; and what was hidden
// when it came stays so.
func TestFailuresAreHidden(t *testing.T) {
	t.Parallel()
	tel := New(Options{})
	tel.Closed(session())
	tel.Configure(Redactor{Reveal: true}, false)
	tel.Closed(session())
	if got := tel.Failures(); len(got) != 2 || got[0].Target != "foo.test:443" || got[1].Target != Scrubbed || got[1].Client != Scrubbed {
		t.Errorf("got %+v", got)
	}
	tel.Configure(Redactor{}, false)
	if got := tel.Failures(); len(got) != 0 {
		t.Errorf("after they are to be hidden: %+v", got)
	}
	tel.failures.add(Entry{Target: "of a session that began to end before"}, true)
	if got := tel.Failures(); len(got) != 0 {
		t.Errorf("one that came late: %+v", got)
	}
	tel.Closed(session())
	if got := tel.Failures(); len(got) != 1 || got[0].Target != Scrubbed {
		t.Errorf("got %+v", got)
	}
}

// A user that was cut out of "user:password" would keep the password in memory.
func TestFailuresKeepNoMore(t *testing.T) {
	t.Parallel()
	login := "ann:hunter2"
	ses := session()
	ses.User, _, _ = strings.Cut(login, ":")
	tel := New(Options{})
	tel.Closed(ses)
	if e := tel.Failures()[0]; e.User != "ann" || unsafe.StringData(e.User) == unsafe.StringData(login) {
		t.Errorf("user %q is a part of what the client sent", e.User)
	}
}

func TestFailuresAtOnce(t *testing.T) {
	t.Parallel()
	tel := New(Options{})
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for range 500 {
				tel.Closed(session())
				tel.Configure(Redactor{Reveal: i == 0}, false)
				tel.Failures()
			}
		})
	}
	all.Wait()
	tel.Configure(Redactor{Reveal: true}, false)
	tel.Configure(Redactor{}, false)
	if got := tel.Failures(); len(got) != 0 {
		t.Errorf("%d are left", len(got))
	}
}

// An open connection has its stage, and no status before it has been told one.
func TestEntryOfOpen(t *testing.T) {
	t.Parallel()
	relays := session()
	relays.End, relays.Err, relays.Status = time.Time{}, nil, socks.Succeeded
	connects := *relays
	connects.Connect = 0
	for _, c := range []struct {
		ses           *proxy.Session
		stage, status string
	}{
		{&proxy.Session{ID: 1}, "handshake", ""},
		{&connects, "connect", ""},
		{relays, "relay", "00 succeeded"},
		{session(), "", "06 timed out"},
	} {
		if e := (Redactor{}).Entry(c.ses); e.Stage != c.stage || e.Status != c.status {
			t.Errorf("%s: stage %q, status %q", c.stage, e.Stage, e.Status)
		}
	}
}
