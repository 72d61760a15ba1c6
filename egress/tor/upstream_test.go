package tor

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hosier/internal/sockstest"
	"hosier/socks"
)

// A tor that hangs up in the greeting does not know the request, and so the next one is
// asked; one that got the request is the last.
func TestNextAfterGreeting(t *testing.T) {
	for name, c := range map[string]struct {
		says string // before it hangs up
		next bool
	}{
		"hangs up at once":            {"", true},
		"is not SOCKS":                {"HTTP/1.0 400 no\r\n\r\n", true},
		"takes no password":           {"\x05\xff", true},
		"hangs up behind the request": {"\x05\x00", false},
	} {
		t.Run(name, func(t *testing.T) {
			bad := listen(t, func(conn net.Conn) {
				conn.Read(make([]byte, 512))
				io.WriteString(conn, c.says)
				if strings.HasSuffix(c.says, "\x00") {
					conn.Read(make([]byte, 512))
				}
			})
			answers := &sockstest.Egress{DialFunc: func(context.Context, *socks.Request) (net.Conn, socks.Addr, error) {
				return nil, socks.Addr{}, socks.ConnectionRefused
			}}
			good, logins := fakeTor(t, answers)
			p := &Pool{Members: []Member{{SOCKS: bad}, {SOCKS: good}}}
			p.init()
			for i := 0; ; i++ {
				r := connectRequest(string(rune('a' + i)))
				if ranked(p.all, p.Isolation.token(p.key, r))[0].SOCKS != bad {
					continue // it would ask the good one first
				}
				_, _, err := p.Dial(t.Context(), r)
				want, by := errors.Is(err, socks.ConnectionRefused), good
				if !c.next {
					want, by = isProxyError(err), bad
				}
				if !want || r.Member != by || (len(logins()) == 1) != c.next {
					t.Errorf("%v by %s, the good one was asked %d times", err, r.Member, len(logins()))
				}
				return
			}
		})
	}
}

// One that does not answer the greeting in time is taken out at once, also where the time
// was the request's. One that had hardly any is not.
func TestJudgeSilentGreeting(t *testing.T) {
	greeting := func(err error, asked bool) error { return &socks.ProxyError{Proxy: "a:1", Err: err, Asked: asked} }
	for name, c := range map[string]struct {
		met  met
		want State
	}{
		"its own time":           {met{connected: true, took: 10 * time.Second, err: greeting(os.ErrDeadlineExceeded, false)}, Out},
		"the request's":          {met{connected: true, over: true, took: 4 * time.Second, err: greeting(context.DeadlineExceeded, false)}, Out},
		"the request's, shorter": {met{connected: true, over: true, took: time.Second, err: greeting(context.DeadlineExceeded, false)}, Ready},
		"the client leaves":      {met{connected: true, over: true, took: 4 * time.Second, err: context.Canceled}, Ready},
		"hangs up":               {met{connected: true, took: 4 * time.Second, err: greeting(io.ErrUnexpectedEOF, false)}, Ready},
		"greeted":                {met{connected: true, over: true, took: 4 * time.Second, err: context.DeadlineExceeded}, Ready},
	} {
		p := newPool("a:1")
		p.judge(p.all[0], connectRequest("u"), c.met)
		if got := p.status(p.all[0]).State; got != c.want {
			t.Errorf("%s: it is %s, want %s", name, got, c.want)
		}
	}
}

// A member may be at another address than its own.
func TestOthers(t *testing.T) {
	answers := &sockstest.Egress{DialFunc: func(context.Context, *socks.Request) (net.Conn, socks.Addr, error) {
		return nil, socks.Addr{}, socks.ConnectionRefused
	}}
	there, _ := fakeTor(t, answers)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()
	for name, m := range map[string]Member{
		"at its own":      {SOCKS: there, Others: []string{nobody}},
		"at the second":   {SOCKS: nobody, Others: []string{there}},
		"at the third":    {SOCKS: nobody, Others: []string{"unix:/nonexistent/socks", there}},
		"nowhere at all":  {SOCKS: nobody, Others: []string{"unix:/nonexistent/socks"}},
		"and has no more": {SOCKS: nobody},
	} {
		_, _, err := (&Pool{Members: []Member{m}}).Dial(t.Context(), connectRequest("u"))
		if found := strings.HasPrefix(name, "at "); errors.Is(err, socks.ConnectionRefused) != found || isProxyError(err) == found {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Requests that wait for a tor are worth one line, after a while.
func TestWaitingIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logged
		p := &Pool{
			Members: []Member{{SOCKS: "a:1", Daemon: &Daemon{Name: "tor0"}}},
			Log:     slog.New(slog.NewTextHandler(&log, nil)),
		}
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Second)
		defer cancel()
		for range 20 {
			go p.Dial(ctx, connectRequest("u"))
		}
		lines := func() int { return strings.Count(log.String(), "no tor is ready yet") }
		time.Sleep(10 * time.Second)
		if n := lines(); n != 0 {
			t.Errorf("after 10 s there are %d lines", n)
		}
		time.Sleep(10 * time.Second)
		if n := lines(); n != 1 {
			t.Errorf("after 20 s there are %d lines:\n%s", n, log.String())
		}
		<-ctx.Done()
		synctest.Wait()
	})
}
