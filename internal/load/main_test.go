package load

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hosier/egress"
	"hosier/proxy"
	"hosier/socks"
)

// patience is for machines that are busy with something else. No test measures time.
const patience = 20 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// reactors runs a test on each kind of reactor.
func reactors(t *testing.T, test func(t *testing.T, portable bool)) {
	for name, portable := range map[string]bool{"system": false, "goroutines": true} {
		t.Run(name, func(t *testing.T) { test(t, portable) })
	}
}

// little returns options for a load that counts bound, rather than time.
func little(portable bool, modes ...Mode) Options {
	o := Defaults()
	o.Modes, o.Rounds, o.Timeout, o.portable = modes, 1, patience, portable
	o.Conns, o.Count, o.Streams, o.Relays = 4, 40, 2, 30
	o.Time = 50 * time.Millisecond
	for _, m := range modes {
		if m == Rate {
			o.Time = patience // Count ends it
		}
	}
	return o
}

// slower has try do the same with ten times as much time, and again, until it finds nothing to
// complain of: a busy machine may come to nothing in what is plenty otherwise.
func slower(t *testing.T, first time.Duration, try func(limit time.Duration) (complaint string)) {
	t.Helper()
	for limit := first; ; limit *= 10 {
		complaint := try(limit)
		if complaint == "" {
			return
		}
		if limit > patience {
			t.Error(complaint)
			return
		}
	}
}

// counted is a hosier in this process, and the sessions it had.
type counted struct {
	Server
	mu       sync.Mutex
	sessions []proxy.Session
	srv      *proxy.Server
}

func startProxy(t *testing.T, verify func(*proxy.Session, socks.Auth) (string, error)) *counted {
	t.Helper()
	p := &counted{}
	p.srv = &proxy.Server{
		Policy: proxy.Policy{
			Route: func(context.Context, *proxy.Session) (proxy.Route, error) {
				return proxy.Route{Egress: &egress.Direct{}}, nil
			},
			Verify: verify,
		},
		Log: slog.New(slog.DiscardHandler),
		Closed: func(s *proxy.Session) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.sessions = append(p.sessions, *s)
		},
	}
	l, addr := listen(t)
	done := make(chan error, 1)
	go func() { done <- p.srv.Serve(l) }()
	t.Cleanup(func() {
		p.srv.Close()
		<-done
	})
	p.Server = Server{Name: "hosier", Addr: addr, Dialect: Dialect{Version: socks.V5}, PIDs: []int{os.Getpid()}}
	return p
}

// ended waits for the sessions to end, and returns them.
func (p *counted) ended(t *testing.T) []proxy.Session {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := p.srv.Shutdown(ctx); err != nil {
		t.Fatalf("sessions are left: %v", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sessions
}

func listen(t *testing.T) (net.Listener, netip.AddrPort) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, netip.MustParseAddrPort(l.Addr().String())
}

// scripted is a server that does with each connection what the test says.
func scripted(t *testing.T, serve func(net.Conn)) Server {
	t.Helper()
	l, addr := listen(t)
	var busy sync.WaitGroup
	busy.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			busy.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		busy.Wait()
	})
	return Server{Name: "scripted", Addr: addr, Dialect: Dialect{Version: socks.V5}}
}

// answer reads a message of so many bytes, and writes the answer.
func answer(c net.Conn, read int, reply ...byte) bool {
	if _, err := io.ReadFull(c, make([]byte, read)); err != nil {
		return false
	}
	_, err := c.Write(reply)
	return err == nil
}

// runOne runs the modes on one server and returns its lines, by mode.
func runOne(t *testing.T, o Options, s Server) map[Mode]Line {
	t.Helper()
	before := openSockets(t)
	report, err := Run(t.Context(), o, []Server{s})
	if err != nil {
		t.Fatal(err)
	}
	lines := map[Mode]Line{}
	for _, table := range report.Modes {
		if len(table.Lines) != 1 {
			t.Fatalf("%s has %d lines, want 1", table.Mode, len(table.Lines))
		}
		lines[table.Mode] = table.Lines[0]
	}
	for end := time.Now().Add(patience); openSockets(t) > before; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d sockets are open, %d were before", openSockets(t), before)
		}
	}
	return lines
}

func (l Line) String() string {
	return fmt.Sprintf("relays %d, bytes %d, failed %d, median %v, failures %v", l.Relays, l.Bytes, l.Failed, l.Median, l.Errors)
}
