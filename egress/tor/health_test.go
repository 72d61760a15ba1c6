package tor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"hosier/socks"
)

// newPool has members that nobody will ask.
func newPool(names ...string) *Pool {
	p := &Pool{Key: Key{1}}
	for _, name := range names {
		p.Members = append(p.Members, Member{SOCKS: name})
	}
	p.init()
	return p
}

func tokens(n int) (all []string) {
	for i := range n {
		all = append(all, Isolation{}.token(Key{1}, connectRequest(fmt.Sprint(i))))
	}
	return all
}

// A lost member moves its own keys and no others; any replica deals them out alike.
func TestRendezvous(t *testing.T) {
	p := newPool("a:1", "b:1", "c:1", "d:1")
	replica := newPool("d:1", "b:1", "c:1", "a:1")
	count := map[string]int{}
	moved := map[string]int{}
	for _, token := range tokens(2000) {
		home := ranked(p.all, token)[0].SOCKS
		count[home]++
		if other := ranked(replica.all, token)[0].SOCKS; other != home {
			t.Fatalf("a replica leads the key to %s, not to %s", other, home)
		}
		m, _ := pickWithout(p, token, "b:1")
		if home != "b:1" && m.SOCKS != home {
			t.Fatalf("the loss of b:1 moves a key of %s to %s", home, m.SOCKS)
		}
		if home == "b:1" {
			moved[m.SOCKS]++
		}
	}
	for _, m := range p.all {
		if n := count[m.SOCKS]; n < 400 || n > 600 {
			t.Errorf("%s has %d of 2000 keys", m.SOCKS, n)
		}
		if n := moved[m.SOCKS]; m.SOCKS != "b:1" && (n < 100 || n > 240) {
			t.Errorf("%s gets %d of the %d keys of b:1", m.SOCKS, n, count["b:1"])
		}
	}
}

// pickWithout picks while a member is out.
func pickWithout(p *Pool, token, name string) (*member, bool) {
	for _, m := range p.all {
		if m.SOCKS == name {
			m.health.takeOut("test")
			defer m.health.bringIn()
		}
	}
	return pick(ranked(p.all, token), nil)
}

func TestJudge(t *testing.T) {
	hungUp := met{connected: true, err: &socks.ProxyError{Proxy: "a:1", Err: io.ErrUnexpectedEOF}}
	refused := met{err: &socks.ProxyError{Proxy: "a:1", Err: errors.New("refused")}}
	ok := met{connected: true}
	code := func(s socks.Status, took time.Duration) met {
		return met{connected: true, took: took, err: fmt.Errorf("CONNECT: %w", s)}
	}
	late := met{connected: true, over: true, took: time.Minute, err: context.DeadlineExceeded}
	over := met{over: true, err: context.DeadlineExceeded}
	times := func(n int, m met) (all []met) {
		for range n {
			all = append(all, m)
		}
		return all
	}
	for name, c := range map[string]struct {
		met  []met
		want State
	}{
		"not even connected":          {times(1, refused), Out},
		"hangs up":                    {times(brokenLimit, hungUp), Out},
		"hangs up less often":         {times(brokenLimit-1, hungUp), Ready},
		"hangs up between successes":  {append(append(times(2, hungUp), ok), times(2, hungUp)...), Ready},
		"never in time":               {times(missedLimit, late), Out},
		"never in time, tor says":     {times(missedLimit, code(socks.TTLExpired, 0)), Out},
		"slow general failures":       {times(missedLimit, code(socks.GeneralFailure, time.Minute)), Out},
		"not yet so many":             {times(missedLimit-1, late), Ready},
		"quick general failures":      {times(missedLimit, code(socks.GeneralFailure, time.Second)), Ready},
		"refused targets":             {times(missedLimit, code(socks.ConnectionRefused, 0)), Ready},
		"unknown names":               {times(missedLimit, code(socks.HostUnreachable, 0)), Ready},
		"absent onions":               {times(missedLimit, code(socks.OnionNotFound, time.Minute)), Ready},
		"late but then an answer":     {append(append(times(7, late), code(socks.HostUnreachable, 0)), times(7, late)...), Ready},
		"clients that do not wait":    {times(20, met{connected: true, over: true, took: time.Second, err: context.Canceled}), Ready},
		"time was over before":        {times(20, over), Ready},
		"comes back with one success": {append(times(1, refused), ok), Ready},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPool("a:1")
			for i, m := range c.met {
				r := connectRequest("u")
				r.Addr.Name = fmt.Sprintf("host%d.example", i)
				p.judge(p.all[0], r, m)
			}
			if got := p.status(p.all[0]); got.State != c.want {
				t.Errorf("it is %s (%s), want %s", got.State, got.Error, c.want)
			}
		})
	}
}

// One target that does not answer says nothing about tor, however often it is asked for.
func TestJudgeOneTarget(t *testing.T) {
	p := newPool("a:1")
	for range 100 {
		p.judge(p.all[0], connectRequest("u"), met{connected: true, over: true, took: time.Minute, err: context.DeadlineExceeded})
	}
	if got := p.status(p.all[0]).State; got != Ready {
		t.Errorf("it is %s", got)
	}
}

// One that is out is tried with single requests of its own keys, after pauses that grow.
func TestRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool("a:1", "b:1")
		token := ""
		for _, token = range tokens(100) {
			if ranked(p.all, token)[0] == p.all[0] {
				break
			}
		}
		asked := func() string {
			m, wait := pick(ranked(p.all, token), nil)
			if m == nil || wait {
				t.Fatalf("picked %v, wait %t", m, wait)
			}
			return m.SOCKS
		}
		fail := func() { p.judge(p.all[0], connectRequest("u"), met{err: errors.New("refused")}) }
		fail()
		for _, pause := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
			time.Sleep(pause*time.Second - 1)
			if got := asked(); got != "b:1" {
				t.Fatalf("before %ds are over %s is asked", pause, got)
			}
			time.Sleep(2 * time.Nanosecond)
			if got := asked(); got != "a:1" {
				t.Fatalf("after %ds %s is asked", pause, got)
			}
			if got := asked(); got != "b:1" {
				t.Fatal("two requests try it at once")
			}
			fail()
		}
		time.Sleep(mostPause + 1)
		if asked(); asked() != "b:1" {
			t.Fatal("two requests try it at once")
		}
		p.abandon(p.all[0]) // the one that tried went away
		if got := asked(); got != "a:1" {
			t.Fatalf("then %s is asked", got)
		}
		p.judge(p.all[0], connectRequest("u"), met{connected: true})
		for range 3 {
			if got := asked(); got != "a:1" {
				t.Fatalf("when it is back %s is asked", got)
			}
		}
		fail()
		time.Sleep(leastPause + 1)
		if got := asked(); got != "a:1" {
			t.Errorf("after a success the pause is still long: %s is asked", got)
		}
	})
}

// When all are out the first is asked all the same: a tor that idles may need a request.
func TestAllOut(t *testing.T) {
	p := newPool("a:1", "b:1")
	for _, m := range p.all {
		p.judge(m, connectRequest("u"), met{err: errors.New("refused")})
	}
	for _, token := range tokens(20) {
		order := ranked(p.all, token)
		if m, wait := pick(order, nil); m != order[0] || wait {
			t.Errorf("picked %v, wait %t", m, wait)
		}
		if m, wait := pick(order, map[*member]bool{order[0]: true, order[1]: true}); m != nil || wait {
			t.Errorf("when both were tried: %v, wait %t", m, wait)
		}
	}
}

// What the control port tells takes a member out and in.
func TestControlTells(t *testing.T) {
	p := newPool("a:1")
	var told []Status
	p.Changed = func(s Status) { told = append(told, s) }
	for _, line := range []struct {
		text      string
		state     State
		bootstrap int
		circuits  string
	}{
		{`STATUS_CLIENT NOTICE BOOTSTRAP PROGRESS=50 TAG=loading SUMMARY="Loading \"relays\""`, Starting, 50, "unknown"},
		{`STATUS_CLIENT NOTICE CIRCUIT_NOT_ESTABLISHED REASON=CLOCK_JUMPED`, Starting, 50, "unknown"},
		{`STATUS_CLIENT NOTICE CIRCUIT_ESTABLISHED`, Starting, 50, "yes"},
		{`STATUS_CLIENT NOTICE BOOTSTRAP PROGRESS=100 TAG=done SUMMARY="Done"`, Ready, 100, "yes"},
		{`STATUS_CLIENT NOTICE CIRCUIT_NOT_ESTABLISHED REASON=CLOCK_JUMPED`, Out, 100, "no"},
		{`STATUS_CLIENT NOTICE CIRCUIT_ESTABLISHED`, Ready, 100, "yes"},
		{`STATUS_CLIENT WARN BOOTSTRAP PROGRESS=5 TAG=conn WARNING="No route to host" REASON=NOROUTE`, Starting, 5, "yes"},
		{`STATUS_CLIENT WARN BOOTSTRAP PROGRESS=-3`, Starting, 0, "yes"},
		{`STATUS_CLIENT WARN BOOTSTRAP PROGRESS=x`, Starting, 0, "yes"},
		{`OTHER NOTICE BOOTSTRAP PROGRESS=7`, Starting, 0, "yes"},
		{`STATUS_CLIENT`, Starting, 0, "yes"},
		{``, Starting, 0, "yes"},
	} {
		p.event(p.all[0], line.text)
		if s := p.status(p.all[0]); s.State != line.state || s.Bootstrap != line.bootstrap || s.Circuits != line.circuits {
			t.Errorf("after %q: %s %d%% %s, want %s %d%% %s", line.text, s.State, s.Bootstrap, s.Circuits, line.state, line.bootstrap, line.circuits)
		}
	}
	if len(told) < 6 || told[0].Phase != `Loading "relays"` {
		t.Errorf("Changed was told %+v", told)
	}
	if s := p.status(p.all[0]); s.Error != "bootstrap: No route to host" {
		t.Errorf("the last error is %q", s.Error)
	}
}
