package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hosier/proxy"
	"hosier/socks"
)

func TestRate(t *testing.T) {
	reactors(t, func(t *testing.T, portable bool) {
		p := startProxy(t, nil)
		l := runOne(t, little(portable, Rate), p.Server)[Rate]
		if l.Relays != 40 || l.Bytes != 40 || l.Failed != 0 || l.Median["conn_s"] <= 0 {
			t.Errorf("%v, want 40 relays", l)
		}
		sessions := p.ended(t)
		if len(sessions) != 40 {
			t.Errorf("the server had %d sessions, want 40", len(sessions))
		}
		for _, s := range sessions {
			if s.Status != socks.Succeeded || s.Up != 1 || s.Down != 1 {
				t.Errorf("session %v: up %d, down %d, want a byte each way", s.Status, s.Up, s.Down)
			}
		}
	})
}

func TestBulk(t *testing.T) {
	reactors(t, func(t *testing.T, portable bool) {
		for _, m := range []Mode{Down, Up} {
			o := little(portable, m)
			slower(t, o.Time, func(limit time.Duration) string {
				p := startProxy(t, nil)
				o.Time = limit
				l := runOne(t, o, p.Server)[m]
				var up, down int64
				for _, s := range p.ended(t) {
					up, down = up+s.Up, down+s.Down
				}
				moved := map[Mode]int64{Down: down, Up: up}[m]
				// What was on its way when the time was over is not counted here, but there.
				if l.Relays == 2 && l.Bytes > 0 && l.Bytes <= moved && l.Failed == 0 && l.Median[string(m)+"_gib_s"] > 0 {
					return ""
				}
				return fmt.Sprintf("%s: %v; the server moved %d up, %d down", m, l, up, down)
			})
		}
	})
}

func TestRTT(t *testing.T) {
	reactors(t, func(t *testing.T, portable bool) {
		p := startProxy(t, nil)
		l := runOne(t, little(portable, RTT), p.Server)[RTT]
		sessions := p.ended(t)
		if len(sessions) != 1 || l.Bytes == 0 || l.Bytes%64 != 0 || sessions[0].Up != l.Bytes || sessions[0].Down != l.Bytes {
			t.Errorf("%v; sessions %+v, want one with as many bytes each way", l, sessions)
		}
		if l.Median["p50_us"] <= 0 || l.Median["direct_p50_us"] <= 0 || l.Failed != 0 {
			t.Errorf("%v", l)
		}
	})
}

func TestIdle(t *testing.T) {
	reactors(t, func(t *testing.T, portable bool) {
		p := startProxy(t, nil)
		l := runOne(t, little(portable, Idle), p.Server)[Idle]
		if l.Relays != 30 || l.Median["relays"] != 30 || l.Median["alive"] != 1 || l.Failed != 0 || l.Bytes == 0 {
			t.Errorf("%v, want 30 relays, all alive", l)
		}
		var up int64
		sessions := p.ended(t)
		for _, s := range sessions {
			up += s.Up
		}
		// Eight bytes at first, the messages, and one more message over each relay.
		if want := 30*8 + l.Bytes + 30*64; len(sessions) != 30 || up != want {
			t.Errorf("%d sessions with %d bytes, want 30 with %d", len(sessions), up, want)
		}
	})
}

func TestHold(t *testing.T) {
	p := startProxy(t, nil)
	o := little(false, Rate)
	o.Hold = 7
	if l := runOne(t, o, p.Server)[Rate]; l.Relays != 40 || l.Failed != 0 {
		t.Errorf("%v, want 40 relays", l)
	}
	silent := 0
	for _, s := range p.ended(t) {
		if s.Up == 8 && s.Down == 8 {
			silent++
		}
	}
	if silent != 7 {
		t.Errorf("%d silent relays, want 7", silent)
	}
}

func TestDialects(t *testing.T) {
	login := socks.Auth{Method: socks.UserPass, User: "me", Password: "secret"}
	for name, d := range map[string]Dialect{
		"SOCKS4":          {Version: socks.V4, Auth: socks.Auth{User: "me"}},
		"SOCKS4A":         {Version: socks.V4, Name: "localhost"},
		"SOCKS5/name":     {Version: socks.V5, Name: "localhost"},
		"SOCKS5/password": {Version: socks.V5, Auth: login},
	} {
		t.Run(name, func(t *testing.T) {
			p := startProxy(t, func(_ *proxy.Session, a socks.Auth) (string, error) {
				if d.Auth.Method == socks.UserPass && a != login {
					return "", socks.ErrAuth
				}
				return a.User, nil
			})
			p.Dialect = d
			if l := runOne(t, little(false, Rate), p.Server)[Rate]; l.Relays != 40 || l.Failed != 0 {
				t.Errorf("%v, want 40 relays", l)
			}
			for _, s := range p.ended(t) {
				if s.Request.Version != d.Version || s.Request.Addr.Name != d.Name || s.User != d.Auth.User {
					t.Fatalf("request %+v", s.Request)
				}
			}
		})
	}
}

// forwarder is the yardstick in this process.
func forwarder(t *testing.T) func([]netip.AddrPort) (netip.AddrPort, int, func(), error) {
	return func(targets []netip.AddrPort) (netip.AddrPort, int, func(), error) {
		l, addr := listen(t)
		done := make(chan error, 1)
		go func() { done <- Forward(l, targets) }()
		return addr, 0, func() {
			l.Close()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}, nil
	}
}

func TestTurns(t *testing.T) {
	slower(t, 20*time.Millisecond, func(limit time.Duration) string {
		a, b := startProxy(t, nil), startProxy(t, nil)
		a.Name, b.Name = "a", "b"
		o := little(false, Idle, Rate, Down, Up, RTT)
		o.Rounds, o.Yardstick = 2, forwarder(t)
		o.Time, o.Count = limit, 10
		var told []string
		o.Progress = func(text string) { told = append(told, text) }
		r, err := Run(t.Context(), o, []Server{a.Server, b.Server})
		if err != nil {
			t.Fatal(err)
		}
		turns := strings.Join(told, "\n")
		if want := "rate, round 1 of 2: forwarder\nrate, round 1 of 2: a\nrate, round 1 of 2: b\nrate, round 2 of 2: forwarder"; !strings.Contains(turns, want) {
			t.Errorf("turns:\n%s\nwant among them:\n%s", turns, want)
		}
		if r.Failed() {
			return fmt.Sprintf("failed: %+v", r.Modes)
		}
		for _, table := range r.Modes {
			want := 2
			if table.Mode == Idle {
				want = 1
			}
			for i, name := range []string{YardstickName, "a", "b"} {
				l := table.Lines[i]
				if l.Server != name || len(l.Rounds) != want || l.Failed != 0 || l.Relays == 0 || len(l.Ratio) == 0 || len(l.Against) == 0 {
					return fmt.Sprintf("%s, line %d: %s, %d rounds, %v", table.Mode, i, l.Server, len(l.Rounds), l)
				}
			}
		}
		return ""
	})
}

func TestServerFails(t *testing.T) {
	refusing, refused := listen(t)
	refusing.Close()
	for name, c := range map[string]struct {
		server Server
		want   string
	}{
		"refuses connections": {Server{Name: "none", Addr: refused, Dialect: Dialect{Version: socks.V5}}, "refused"},
		"hangs":               {scripted(t, func(c net.Conn) { io.Copy(io.Discard, c) }), "handshake: no answer within"},
		"hangs up":            {scripted(t, func(c net.Conn) { answer(c, 3) }), "handshake: the server hung up"},
		"resets": {scripted(t, func(c net.Conn) {
			answer(c, 3, 5, 0)
			c.(*net.TCPConn).SetLinger(0)
		}), "handshake: "},
		"takes no method": {scripted(t, func(c net.Conn) { answer(c, 3, 5, 0xFF) }), "handshake: greeting: the server does not take"},
		"refuses the request": {scripted(t, func(c net.Conn) {
			if answer(c, 3, 5, 0) {
				answer(c, 10, 5, 2, 0, 1, 0, 0, 0, 0, 0, 0)
			}
		}), "handshake: request: "},
		"relays nothing": {scripted(t, func(c net.Conn) {
			if answer(c, 3, 5, 0) && answer(c, 10, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0) {
				io.Copy(io.Discard, c)
			}
		}), "relay: no answer within"},
		"says too much": {scripted(t, func(c net.Conn) {
			if answer(c, 3, 5, 0) && answer(c, 10, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0) {
				c.Write(make([]byte, 100))
				io.Copy(io.Discard, c)
			}
		}), "relay: more came back than was sent"},
	} {
		t.Run(name, func(t *testing.T) {
			reactors(t, func(t *testing.T, portable bool) {
				for _, m := range []Mode{Rate, Idle} {
					o := little(portable, m)
					o.Count, o.Relays, o.Time = 8, 8, patience
					slower(t, 300*time.Millisecond, func(limit time.Duration) string {
						o.Timeout = limit
						l := runOne(t, o, c.server)[m]
						if l.Relays == 0 && l.Failed == 8 && len(l.Errors) > 0 && strings.Contains(l.Errors[0].Text, c.want) {
							return ""
						}
						return fmt.Sprintf("%s: %v, want 8 failures with %q", m, l, c.want)
					})
				}
			})
		})
	}
}

func TestBulkAndRTTFail(t *testing.T) {
	hangs := scripted(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	o := little(false, Down, Up, RTT)
	o.Timeout = 200 * time.Millisecond
	for m, l := range runOne(t, o, hangs) {
		if l.Relays > 2 || l.Bytes != 0 || l.Failed == 0 {
			t.Errorf("%s: %v", m, l)
		}
	}
}

// A server that fails at everything is asked no more than so often.
func TestGiveUp(t *testing.T) {
	var asked atomic.Int64
	s := scripted(t, func(net.Conn) { asked.Add(1) })
	o := little(false, Rate)
	o.Count = maxCount
	l := runOne(t, o, s)[Rate]
	if n := asked.Load(); l.Relays != 0 || n > giveUp+int64(o.Conns) {
		t.Errorf("%d connections, want some %d: %v", n, giveUp, l)
	}
}

// A relay that dies while it is silent is a failure, and the others go on.
func TestDeadAmongTheSilent(t *testing.T) {
	var number atomic.Int64
	s := scripted(t, func(c net.Conn) {
		dies := number.Add(1) == 3
		if !answer(c, 3, 5, 0) || !answer(c, 10, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0) {
			return
		}
		if dies {
			io.CopyN(c, c, 8)
			return
		}
		io.Copy(c, c)
	})
	l := runOne(t, little(false, Idle), s)[Idle]
	if l.Relays != 30 || l.Failed != 1 || l.Median["alive"] >= 1 {
		t.Errorf("%v, want 30 relays of which one died", l)
	}
}

// A server that does not end its connection to the origin with the client's is found out.
func TestLeftOpen(t *testing.T) {
	slower(t, 300*time.Millisecond, func(limit time.Duration) string {
		release := make(chan struct{})
		var target atomic.Value
		s := scripted(t, func(c net.Conn) {
			out, err := net.Dial("tcp", target.Load().(string))
			if err != nil {
				return
			}
			go func() {
				io.Copy(c, out)
			}()
			io.Copy(out, c)
			<-release
			out.Close()
		})
		s.Dialect = Dialect{}
		o := little(false, Idle)
		o.Timeout, o.Relays = limit, 5
		o.Yardstick = func(at []netip.AddrPort) (netip.AddrPort, int, func(), error) {
			target.Store(at[0].String())
			return forwarder(t)(at)
		}
		r, err := Run(t.Context(), o, []Server{s})
		close(release)
		if err != nil {
			t.Fatal(err)
		}
		l := r.Modes[0].Lines[1]
		if l.Relays == 5 && l.Failed == 5 && strings.Contains(l.Errors[0].Text, "still open at the origin") {
			return ""
		}
		return fmt.Sprintf("%v, want 5 relays left open", l)
	})
}

func TestCancel(t *testing.T) {
	reactors(t, func(t *testing.T, portable bool) {
		for _, m := range Modes() {
			p := startProxy(t, nil)
			ctx, cancel := context.WithCancel(t.Context())
			o := little(portable, m)
			o.Time = maxTime
			o.Count = maxCount
			o.Progress = func(string) { time.AfterFunc(20*time.Millisecond, cancel) }
			if _, err := Run(ctx, o, []Server{p.Server}); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", m, err)
			}
			p.ended(t)
			cancel()
		}
	})
}

func TestRestart(t *testing.T) {
	p := startProxy(t, nil)
	starts := 0
	s := p.Server
	s.Restart = func() ([]int, error) { starts++; return s.PIDs, nil }
	runOne(t, little(false, Idle, RTT), s)
	if starts != 1 {
		t.Errorf("started anew %d times, want once, for idle", starts)
	}
	s.Restart = func() ([]int, error) { return nil, errors.New("gone") }
	if _, err := Run(t.Context(), little(false, Idle), []Server{s}); err == nil || !strings.Contains(err.Error(), "gone") {
		t.Errorf("error %v", err)
	}
}

// Many relays go by more than one address of loopback.
func TestAddressesOfLoopback(t *testing.T) {
	r, err := newReactor(false)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	o, err := newOrigin(r, netip.MustParseAddr("127.0.0.1"), 2*perAddress+1)
	if err != nil {
		t.Fatal(err)
	}
	if len(o.addrs) != 3 {
		t.Errorf("the origin has %d ports, want 3", len(o.addrs))
	}
	froms := make(chan string, 1)
	s := scripted(t, func(c net.Conn) { froms <- fmt.Sprint(c.RemoteAddr().(*net.TCPAddr).IP) })
	w, err := newWay(&s, o)
	if err != nil {
		t.Fatal(err)
	}
	u := &bulk{group: group{t: &turn{fails: failures{}}}}
	for number, want := range map[int]string{0: "127.0.0.1", perAddress: "127.0.0.2", 2 * perAddress: "127.0.0.3"} {
		r.do(func() { w.start(r, u, number, time.Now()) })
		if got := <-froms; got != want {
			t.Errorf("relay %d comes from %s, want %s", number, got, want)
		}
	}
}

func TestForwardHalfClose(t *testing.T) {
	target := scripted(t, func(c net.Conn) {
		b, _ := io.ReadAll(c)
		c.Write(append(b, " back"...))
	})
	at, _, stop, _ := forwarder(t)([]netip.AddrPort{target.Addr})
	defer stop()
	c, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write([]byte("there"))
	c.(*net.TCPConn).CloseWrite()
	if b, err := io.ReadAll(c); string(b) != "there back" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

func TestPrint(t *testing.T) {
	r := Report{System: "Linux", CPUs: 2, Modes: []Table{{
		Mode: Rate, What: "work", Rounds: 1,
		Lines: []Line{
			{Server: "forwarder", Relays: 1, Median: Values{"conn_s": 1000, "p50_us": 1.5}},
			{Server: "hosier", Failed: 7, Median: Values{"conn_s": 900}, Ratio: Values{"conn_s": 0.9}, Errors: []Failure{{"it broke", 7}}},
		},
	}}}
	var out strings.Builder
	if err := r.Print(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Linux, 2 processors", "rate: work; rounds: 1", "900 (0.90)", "1.500", "–", "hosier: 7 × it broke"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if !r.Failed() {
		t.Error("a server without a relay has not failed")
	}
}

// A relay that was ended while it was being connected stays so: it says nothing, is closed, and
// its user hears no more of it.
func TestEndedWhileConnecting(t *testing.T) {
	reactors(t, func(t *testing.T, portable bool) {
		said := make(chan []byte, 1)
		at := netip.MustParseAddrPort(scripted(t, func(c net.Conn) {
			b, _ := io.ReadAll(c)
			said <- b
		}).Addr.String())
		r, err := newReactor(portable)
		if err != nil {
			t.Fatal(err)
		}
		defer r.close()
		r.do(func() {
			w := &way{addr: at, scripts: [][]step{{{send: []byte("hello")}}}}
			w.start(r, deadUser{t}, 0, time.Now()).end()
		})
		select {
		case b := <-said:
			if len(b) > 0 {
				t.Errorf("it said %q", b)
			}
		case <-time.After(patience):
			t.Error("it is not closed")
		}
	})
}

// deadUser is one that should hear nothing.
type deadUser struct{ *testing.T }

func (u deadUser) ready(*relay)           { u.Error("ready") }
func (u deadUser) payload(*relay, []byte) { u.Error("payload") }
func (u deadUser) writable(*relay)        { u.Error("writable") }
func (u deadUser) failed(*relay, error)   { u.Error("failed") }
