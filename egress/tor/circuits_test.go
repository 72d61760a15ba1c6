package tor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hosier/internal/tornet"
)

var someID = "$" + strings.Repeat("0A", 20)

func TestParseCircuit(t *testing.T) {
	built := "BUILD_FLAGS=IS_INTERNAL,NEED_CAPACITY PURPOSE=HS_CLIENT_REND HS_STATE=HSCR_JOINED REND_QUERY=secret " +
		`TIME_CREATED=2026-01-02T03:04:05.678901 SOCKS_USERNAME="secret \" PURPOSE=X" SOCKS_PASSWORD="secret"`
	for _, c := range []struct {
		name, line string
		want       Circuit
		wrong      string
	}{
		{"whole", "12 BUILT " + someID + "~one," + someID + "=two," + someID + " " + built, Circuit{
			ID: "12", State: "BUILT", Path: []string{"one", "two", someID}, BuildFlags: []string{"IS_INTERNAL", "NEED_CAPACITY"}, Purpose: "HS_CLIENT_REND",
		}, ""},
		{"no-path", "1 LAUNCHED BUILD_FLAGS=NEED_CAPACITY PURPOSE=GENERAL", Circuit{ID: "1", State: "LAUNCHED", BuildFlags: []string{"NEED_CAPACITY"}, Purpose: "GENERAL"}, ""},
		{"state-alone", "1 GUARD_WAIT", Circuit{ID: "1", State: "GUARD_WAIT"}, ""},
		{"old-names", "a9 EXTENDED one,two PURPOSE=GENERAL", Circuit{ID: "a9", State: "EXTENDED", Path: []string{"one", "two"}, Purpose: "GENERAL"}, ""},
		{"nameless", "1 BUILT " + strings.ToLower(someID) + "~Unnamed", Circuit{ID: "1", State: "BUILT", Path: []string{someID}}, ""},
		{"unknown-words", "1 NEWSTATE NEWKEY=x NEWWORD PURPOSE=NEW", Circuit{ID: "1", State: "NEWSTATE", Purpose: "NEW"}, ""},
		{"empty", "", Circuit{}, "has no ID and state"},
		{"ID-alone", "1", Circuit{}, "has no ID and state"},
		{"long-ID", "12345678901234567 BUILT", Circuit{}, "has no ID and state"},
		{"no-ID", " BUILT", Circuit{}, "has no ID and state"},
		{"no-state", "1 ", Circuit{}, "has no state"},
		{"hostile-state", "1 <script>", Circuit{}, "has no state"},
		{"short-fingerprint", "1 BUILT $0A0A~one", Circuit{}, "has no path of relays"},
		{"no-hex", "1 BUILT $" + strings.Repeat("xy", 20), Circuit{}, "has no path of relays"},
		{"hostile-nickname", "1 BUILT " + someID + "~<script>", Circuit{}, "has no path of relays"},
		{"no-nickname", "1 BUILT " + someID + "~", Circuit{}, "has no path of relays"},
		{"empty-hop", "1 BUILT one,,two", Circuit{}, "has no path of relays"},
		{"endless", "1 BUILT " + strings.Repeat("one,", 100) + "one", Circuit{}, "has no path of relays"},
		{"hostile-purpose", `1 BUILT PURPOSE="a b"`, Circuit{}, "has no purpose"},
		{"hostile-flags", `1 BUILT BUILD_FLAGS=A,<b>`, Circuit{}, "has no build flags"},
		{"many-flags", "1 BUILT BUILD_FLAGS=A" + strings.Repeat(",A", 100), Circuit{}, "has no build flags"},
	} {
		got, wrong := parseCircuit(c.line)
		if diff := cmp.Diff(c.want, got); diff != "" || wrong != c.wrong {
			t.Errorf("%s: %q, want %q; -want +got\n%s", c.name, wrong, c.wrong, diff)
		}
	}
}

func TestParseCircuits(t *testing.T) {
	long := strings.Repeat("7 BUILT\n", maxCircuits+5)
	for _, c := range []struct {
		name, text string
		open, more int
		wrong      *LineError
	}{
		{"none", "", 0, 0, nil},
		{"none-as-data", "\n", 0, 0, nil},
		{"one", "1 BUILT", 1, 0, nil},
		{"some", "\n1 BUILT\n2 BUILT PURPOSE=GENERAL\r\n3 LAUNCHED", 3, 0, nil},
		{"many", "\n" + long, maxCircuits, 5, nil},
		{"one-is-wrong", "\n1 BUILT\n2 BUILT $secret\n3 BUILT\n4", 2, 0, &LineError{circuitStatus, 2, "has no path of relays"}},
		{"an-empty-line", "\n1 BUILT\n\n3 BUILT", 2, 0, &LineError{circuitStatus, 2, "has no ID and state"}},
		{"wrong-at-the-end-of-many", "\n" + long + "x", maxCircuits, 5, &LineError{circuitStatus, maxCircuits + 6, "has no ID and state"}},
	} {
		var l Circuits
		l.parse(c.text)
		if l.Open == nil || len(l.Open) != c.open || l.More != c.more {
			t.Errorf("%s: %d and %d more, want %d and %d", c.name, len(l.Open), l.More, c.open, c.more)
		}
		wrong := (*LineError)(nil)
		if errors.As(l.Err, &wrong); !cmp.Equal(wrong, c.wrong) {
			t.Errorf("%s: %v, want %v", c.name, l.Err, c.wrong)
		}
		if l.Err != nil && strings.Contains(l.Err.Error(), "secret") {
			t.Errorf("%s: the line is repeated: %v", c.name, l.Err)
		}
	}
}

// controlPort is one of a tor that is well, and answers a GETINFO of one key as it is told.
func controlPort(tb testing.TB, answer func(key string) string) (address string, connections *atomic.Int32) {
	tb.Helper()
	connections = new(atomic.Int32)
	return listen(tb, func(c net.Conn) {
		connections.Add(1)
		for lines := bufio.NewScanner(c); lines.Scan(); {
			text := "250 OK\r\n"
			switch verb, rest, _ := strings.Cut(lines.Text(), " "); {
			case verb == "PROTOCOLINFO":
				text = "250-PROTOCOLINFO 1\r\n250-AUTH METHODS=NULL\r\n250 OK\r\n"
			case verb == "GETINFO" && strings.HasPrefix(rest, "version "):
				text = "250-version=0.4.9.11\r\n250-status/bootstrap-phase=NOTICE BOOTSTRAP PROGRESS=100 SUMMARY=\"Done\"\r\n" +
					"250-status/circuit-established=1\r\n250 OK\r\n"
			case verb == "GETINFO":
				text = answer(rest)
			}
			if _, err := fmt.Fprint(c, text); err != nil {
				return
			}
		}
	}), connections
}

func TestCircuitsOfPool(t *testing.T) {
	control, _ := controlPort(t, func(key string) string {
		return "250+" + key + "=\r\n1 BUILT " + someID + "~one PURPOSE=GENERAL\r\n2 BUILT $secret\r\n.\r\n250 OK\r\n"
	})
	refuses, _ := controlPort(t, func(string) string { return "552 Unrecognized key\r\n" })
	p := &Pool{Members: []Member{{SOCKS: "a:1", Control: control}, {SOCKS: "b:1"}, {SOCKS: "c:1", Control: refuses}}}
	before := p.Circuits(t.Context())
	run(t, p)
	await(t, "control ports", func() bool { return p.Known()[0].Circuits == "yes" && p.Known()[2].Circuits == "yes" })
	got := p.Circuits(t.Context())
	for i, want := range []struct {
		name, before, err string
		open              []Circuit
	}{
		{"a:1", "control port: it does not answer", "control port: line 2 of circuit-status has no path of relays", []Circuit{{ID: "1", State: "BUILT", Path: []string{"one"}, Purpose: "GENERAL"}}},
		{"b:1", "<nil>", "<nil>", nil},
		{"c:1", "control port: it does not answer", "GETINFO: tor says 552 Unrecognized key", nil},
	} {
		if before[i].Name != want.name || before[i].Open != nil || fmt.Sprint(before[i].Err) != want.before {
			t.Errorf("before it runs: %+v", before[i])
		}
		if diff := cmp.Diff(want.open, got[i].Open); diff != "" || got[i].Name != want.name || fmt.Sprint(got[i].Err) != want.err {
			t.Errorf("%s: %v; -want +got\n%s", got[i].Name, got[i].Err, diff)
		}
	}
}

// Who looks at a tor that takes its time, and gives up, does not take it out of service.
func TestLookGivenUp(t *testing.T) {
	asked, answer := make(chan string, 8), make(chan struct{})
	control, connections := controlPort(t, func(key string) string {
		asked <- key
		<-answer
		return "250-" + key + "=1 BUILT\r\n250 OK\r\n"
	})
	t.Cleanup(func() { close(answer) })
	p := &Pool{Members: []Member{{SOCKS: "a:1", Control: control}}}
	run(t, p)
	await(t, "the control port", func() bool { return p.Known()[0].Circuits == "yes" })
	why := errors.New("given up")
	for key, look := range map[string]func(context.Context) error{
		"stream-status": func(ctx context.Context) error { p.Status(ctx); return why },
		circuitStatus:   func(ctx context.Context) error { return p.Circuits(ctx)[0].Err },
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		result := make(chan error, 2)
		go func() { result <- look(ctx) }()
		if got := within(t, asked); got != key {
			t.Fatalf("asked for %s, not %s", got, key)
		}
		cancel(why)
		if err := within(t, result); !errors.Is(err, why) {
			t.Errorf("%s: %v", key, err)
		}
		// Another one waits for the answer to the first, and asks by itself.
		go func() { result <- look(t.Context()) }()
		answer <- struct{}{}
		within(t, asked)
		answer <- struct{}{}
		if err := within(t, result); err != nil && err != why {
			t.Errorf("%s, again: %v", key, err)
		}
	}
	if s := p.Known()[0]; s.State != Ready || s.Circuits != "yes" || s.Error != "" || connections.Load() != 1 {
		t.Errorf("after %d connections: %+v", connections.Load(), s)
	}
}

// within receives, or fails the test.
func within[T any](tb testing.TB, c <-chan T) (v T) {
	tb.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		tb.Fatalf("nothing came within %v", patience)
	}
	return v
}

// The circuits of a real tor: one that carries a stream goes over three relays with names.
func TestCircuitsOfTor(t *testing.T) {
	n := network.Get(t)
	p := &Pool{Members: []Member{attached(n.Clients[0])}}
	run(t, p)
	awaitWatched(t, p)
	id := circuits(t, n, func() net.Conn { return dial(t, user(serve(t, p), "eve"), web(n, "www")) })[0]
	got := p.Circuits(t.Context())[0]
	if got.Err != nil || got.More != 0 || got.Name != n.Clients[0].SOCKSExtended {
		t.Fatalf("got %+v", got)
	}
	found := false
	for _, c := range got.Open {
		if c.ID != id {
			continue
		}
		found = true
		if c.State != "BUILT" || c.Purpose == "" || len(c.Path) != 3 {
			t.Errorf("got %+v", c)
		}
		for _, hop := range c.Path {
			if !isWord(hop, 19) {
				t.Errorf("a relay is called %q", hop)
			}
		}
	}
	if !found {
		t.Errorf("circuit %s of the stream is not among %+v", id, got.Open)
	}
	c := dial(t, user(serve(t, p), "eve"), n.Onion+":80")
	if text := fmt.Sprint(p.Circuits(t.Context())); strings.Contains(text, strings.TrimSuffix(n.Onion, ".onion")) {
		t.Errorf("the circuits tell of onion services: %s", text)
	}
	if page, err := get(c, "/"); err != nil || page != tornet.Greeting {
		t.Errorf("got %q, %v", page, err)
	}
}
