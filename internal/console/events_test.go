package console

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener without a network, so that time is that of the test.
type pipes struct {
	conns chan net.Conn
	ended chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.ended:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.ended) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// streaming is a console behind a server with the deadlines of the admin listener.
type streaming struct {
	console *Console
	fake    *fake
	srv     http.Server
	pipes   pipes
	in      atomic.Bool // signed in
}

// newStreaming serves a console inside a bubble of synctest, until the test ends.
func newStreaming(t *testing.T) *streaming {
	s := &streaming{fake: newFake(8), pipes: pipes{conns: make(chan net.Conn), ended: make(chan struct{})}}
	s.in.Store(true)
	s.console = New(Options{Source: s.fake.source(), CSRF: func(*http.Request) string { return "" }, SignedIn: func(*http.Request) bool { return s.in.Load() }})
	mux := http.NewServeMux()
	s.console.Register(mux.Handle)
	s.srv = http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute, IdleTimeout: time.Minute}
	done := make(chan struct{})
	go func() { defer close(done); s.srv.Serve(&s.pipes) }()
	t.Cleanup(func() { s.srv.Close(); <-done })
	return s
}

// ask sends a request and returns the connection, which the test's end closes.
func (s *streaming) ask(t *testing.T, method, target string) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	s.pipes.conns <- server
	client.SetDeadline(time.Now().Add(2 * time.Hour)) // of the bubble: or a stream that says nothing would be read for ever
	t.Cleanup(func() { client.Close() })
	if _, err := fmt.Fprintf(client, "%s %s HTTP/1.1\r\nHost: x\r\n\r\n", method, target); err != nil {
		t.Fatal(err)
	}
	return client
}

// open asks for a stream and returns the answer, with what reads its lines.
func (s *streaming) open(t *testing.T, target string) (*http.Response, *bufio.Scanner) {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(s.ask(t, "GET", target)), nil)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	return resp, lines
}

// message reads lines up to an empty one.
func message(lines *bufio.Scanner) (all []string) {
	for lines.Scan() && lines.Text() != "" {
		all = append(all, lines.Text())
	}
	return all
}

func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreaming(t)
		resp, lines := s.open(t, "/api/v1/events?about=connections&about=rules&about=rules&limit=2&sort=-age")
		if got := resp.Header.Get("Content-Type"); got != "text/event-stream" || resp.StatusCode != http.StatusOK {
			t.Fatalf("%d %s", resp.StatusCode, got)
		}
		if got := message(lines); len(got) != 1 || got[0] != "retry: 3000" {
			t.Fatalf("first came %q", got)
		}
		h := newConsole(s.fake)
		next := func(topic, query string) {
			t.Helper()
			want := strings.TrimSpace(get(t, h, "GET", api+topic+query).Body.String())
			if got := message(lines); len(got) != 2 || got[0] != "event: "+topic || got[1] != "data: "+want {
				t.Fatalf("got %.300q\nwant %.300q", got, want)
			}
		}
		next("connections", "?limit=2&sort=-age")
		next("rules", "?limit=2")

		// What has not changed does not come again, and a line says so much.
		start := time.Now()
		s.fake.mu.Lock()
		for i := range s.fake.connections {
			s.fake.connections[i].Start, s.fake.connections[i].Up, s.fake.connections[i].Down = time.Now(), 0, 0
		}
		s.fake.mu.Unlock()
		next("connections", "?limit=2&sort=-age")
		for range 3 {
			if got := message(lines); len(got) != 1 || got[0] != ": nothing new" {
				t.Fatalf("got %.200q", got)
			}
		}
		if took := time.Since(start); took < 3*streamSilence || took > 4*streamSilence {
			t.Errorf("three silences took %v", took)
		}
		s.fake.mu.Lock()
		s.fake.rules = s.fake.rules[1:]
		s.fake.mu.Unlock()
		next("rules", "?limit=2")
	})
}

// A stream outlives the deadlines of its server by far, and ends with its session.
func TestEventsEndWithSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreaming(t)
		_, lines := s.open(t, "/api/v1/events?about=status")
		start := time.Now()
		for time.Since(start) < time.Hour {
			if len(message(lines)) == 0 {
				t.Fatalf("it ended after %v: %v", time.Since(start), lines.Err())
			}
		}
		s.in.Store(false)
		signedOut := time.Now()
		for lines.Scan() && time.Since(signedOut) <= streamPeriod {
		}
		if took := time.Since(signedOut); lines.Err() != nil || took > streamPeriod {
			t.Errorf("%v after its session it has not ended: %v", took, lines.Err())
		}
		synctest.Wait()
		if len(s.console.streams) != 0 {
			t.Errorf("%d streams are open", len(s.console.streams))
		}
	})
}

// Neither a client that goes nor one that does not read keeps anything; nor does a server
// that is closed. Goroutines that stayed would fail the bubble.
func TestEventsLeaveNothing(t *testing.T) {
	for _, tt := range []struct {
		name   string
		end    func(s *streaming, client net.Conn)
		within time.Duration
	}{
		{"gone", func(_ *streaming, client net.Conn) { client.Close() }, 0},
		{"server-closed", func(s *streaming, _ net.Conn) { s.srv.Close() }, 0},
		{"reads-nothing", func(*streaming, net.Conn) {}, streamTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStreaming(t)
				client := s.ask(t, "GET", "/api/v1/events?about=connections")
				synctest.Wait()
				if len(s.console.streams) != 1 {
					t.Fatalf("%d streams are open", len(s.console.streams))
				}
				if tt.name != "reads-nothing" {
					if _, err := bufio.NewReader(client).ReadString('\n'); err != nil {
						t.Fatal(err)
					}
				}
				tt.end(s, client)
				time.Sleep(tt.within)
				synctest.Wait()
				if len(s.console.streams) != 0 {
					t.Errorf("%d streams are open", len(s.console.streams))
				}
			})
		})
	}
}

func TestEventsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreaming(t)
		var first net.Conn
		for i := range maxStreams {
			c := s.ask(t, "GET", "/api/v1/events?about=config")
			lines := bufio.NewScanner(c)
			for lines.Scan() && !strings.HasPrefix(lines.Text(), "data:") {
			}
			if i == 0 {
				first = c
			}
		}
		resp, lines := s.open(t, "/api/v1/events?about=config")
		lines.Scan()
		if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || !strings.Contains(lines.Text(), `{"error":"32 streams`) {
			t.Errorf("one too many: %d %v %s", resp.StatusCode, resp.Header, lines.Text())
		}
		first.Close()
		synctest.Wait()
		if resp, _ := s.open(t, "/api/v1/events?about=config"); resp.StatusCode != http.StatusOK {
			t.Errorf("when one has gone: %d", resp.StatusCode)
		}
	})
}

func TestEventsHead(t *testing.T) {
	w := get(t, newConsole(newFake(1)), "HEAD", "/api/v1/events?about=status")
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/event-stream" || w.Body.Len() > 0 {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
}

// A server that cannot lift its deadlines says so, and does not cut streams off later.
func TestEventsNeedDeadlines(t *testing.T) {
	w := get(t, newConsole(newFake(1)), "GET", "/api/v1/events?about=status")
	if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), "cannot stream") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
