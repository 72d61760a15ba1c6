package users

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/argon2"
)

// quick is a line of the file whose hash costs next to nothing.
func quick(name, password string) string {
	salt := []byte("salt of " + name)
	key := argon2.IDKey([]byte(password), salt, 1, 8, 1, 16)
	return fmt.Sprintf("%s:$argon2id$v=19$m=8,t=1,p=1$%s$%s\n", name, b64(salt), b64(key))
}

func newTestVerifier(t *testing.T, lines ...string) *Verifier {
	t.Helper()
	return NewVerifier(mustParse(t, strings.Join(lines, "")), 0)
}

func mustParse(t *testing.T, text string) *List {
	t.Helper()
	l, err := parse(strings.NewReader(text), "users")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

var (
	home  = netip.MustParseAddr("192.0.2.1")
	other = netip.MustParseAddr("192.0.2.2")
)

// login is Verify with the error as a word.
func login(v *Verifier, client netip.Addr, user, password string) string {
	err, hold := v.Verify(context.Background(), client, user, password), (*BackoffError)(nil)
	switch {
	case err == nil:
		return "right"
	case errors.As(err, &hold):
		return "held off " + time.Until(hold.Until).Round(time.Millisecond).String()
	case errors.Is(err, ErrBusy):
		return "busy"
	case errors.Is(err, ErrWrong):
		return "wrong"
	}
	return err.Error()
}

func TestVerify(t *testing.T) {
	t.Parallel()
	v := newTestVerifier(t, quick("alice", "secret"), quick("bob", "s\x00\xff"), quick("al", "icesecret"))
	for i, c := range []struct{ user, password, want string }{
		{"alice", "secret", "right"},
		{"bob", "s\x00\xff", "right"},
		{"al", "icesecret", "right"},
		{"alice", "secret ", "wrong"},
		{"alice", "Secret", "wrong"},
		{"alice", "", "wrong"},
		{"alice", strings.Repeat("x", 256), "wrong"},
		{"alices", "ecret", "wrong"}, // the same bytes as alice's
		{"bob", "s", "wrong"},
		{"ALICE", "secret", "wrong"},
		{"", "", "wrong"},
		{"nobody", "secret", "wrong"},
	} {
		client := netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}) // each is free to be wrong once
		if got := login(v, client, c.user, c.password); got != c.want {
			t.Errorf("%q %q: %s, want %s", c.user, c.password, got, c.want)
		}
	}
}

// An unknown user must cost what a known one does.
func TestUnknownUserIsHashed(t *testing.T) {
	t.Parallel()
	slow := "carol:$argon2id$v=19$m=16,t=2,p=1$c2FsdHNhbHQ$MDEyMzQ1Njc4OTAxMjM0NQ\n"
	v := newTestVerifier(t, quick("alice", "secret"), quick("bobby", "secret"), slow)
	login(v, home, "nobody", "guess")
	if n := v.Counts().Hashed; n != 1 {
		t.Errorf("%d hashes for an unknown user, want 1", n)
	}
	l := v.list
	if l.dummy.cost != l.users["alice"].cost {
		t.Errorf("cost of an unknown user is %+v, want that of most users, %+v", l.dummy.cost, l.users["alice"].cost)
	}
	l.dummy = l.users["alice"]
	if l.matches("nobody", "secret") {
		t.Error("an unknown user can log in with the password of the dummy")
	}
}

// The time of an unknown user is that of a known one, for either kind of hash. A busy machine
// may lengthen any one time, but not shorten the work, so one fair comparison is enough.
func TestUnknownUserTakesAsLong(t *testing.T) {
	t.Parallel()
	for _, line := range []string{params("m=16384,t=2,p=1"), strings.Replace(goodBcrypt, "$05", "$08", 1)} {
		l := mustParse(t, "alice:"+line)
		took := func(user string) time.Duration {
			start := time.Now()
			l.matches(user, "guess")
			return time.Since(start)
		}
		known, unknown := time.Hour, time.Duration(0)
		for tries := 0; unknown < known/4 && tries < 50; tries++ {
			known, unknown = took("alice"), took("nobody")
		}
		if unknown < known/4 {
			t.Errorf("%.10s: a wrong password takes %v, an unknown user %v", line, known, unknown)
		}
	}
}

func TestRemembered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newTestVerifier(t, quick("alice", "secret"))
		for range 10 {
			if got := login(v, home, "alice", "secret"); got != "right" {
				t.Fatal(got)
			}
		}
		if got := login(v, other, "alice", "secret"); got != "right" {
			t.Fatal(got)
		}
		if got, want := v.Counts(), (Counts{Accepted: 1, Cached: 10, Hashed: 1}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		time.Sleep(rememberRight - 1)
		login(v, home, "alice", "secret")
		if n := v.Counts().Hashed; n != 1 {
			t.Errorf("%d hashes before the login is forgotten, want 1", n)
		}
		time.Sleep(time.Nanosecond)
		login(v, home, "alice", "secret")
		if n := v.Counts().Hashed; n != 2 {
			t.Errorf("%d hashes after it is forgotten, want 2", n)
		}
	})
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newTestVerifier(t, quick("alice", "secret"), quick("bob", "secret"))
		if got := login(v, home, "alice", "secret"); got != "right" {
			t.Fatal(got)
		}
		if got := login(v, home, "alice", "guess 1"); got != "wrong" {
			t.Fatalf("the first wrong login: %s", got)
		}
		for i, hold := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
			hold *= time.Second
			if got := login(v, home, "alice", fmt.Sprint("another guess ", i)); got != "wrong" {
				t.Fatalf("wrong login %d: %s", i+2, got)
			}
			hashed := v.Counts().Hashed
			if got, want := login(v, home, "alice", fmt.Sprint("held guess ", i)), "held off "+hold.String(); got != want {
				t.Errorf("after wrong login %d: %s, want %s", i+2, got, want)
			}
			if v.Counts().Hashed != hashed {
				t.Error("an attempt that is held off is hashed")
			}
			if got := login(v, home, "alice", "secret"); got != "right" {
				t.Errorf("a remembered login of a client that is held off: %s", got)
			}
			if got := login(v, home, "alice", "guess 1"); got != "wrong" {
				t.Errorf("a wrong login that is remembered: %s", got)
			}
			if got := login(v, netip.MustParseAddr("::ffff:192.0.2.1"), "alice", fmt.Sprint("held guess ", i)); got != "held off "+hold.String() {
				t.Errorf("the same client by another form of its address: %s", got)
			}
			if got := login(v, other, fmt.Sprint("name ", i), "guess"); got != "wrong" {
				t.Errorf("another client: %s", got)
			}
			if got := login(v, home, fmt.Sprint("name ", i), "guess"); got != "wrong" {
				t.Errorf("another name: %s", got)
			}
			time.Sleep(hold - time.Millisecond)
			if got := login(v, home, "alice", fmt.Sprint("held guess ", i)); got != "held off 1ms" {
				t.Errorf("just before the hold ends: %s", got)
			}
			time.Sleep(time.Millisecond)
		}
		time.Sleep(forgetHold)
		for i, want := range []string{"wrong", "wrong", "held off 1s"} {
			if got := login(v, home, "alice", fmt.Sprint("late guess ", i)); got != want {
				t.Errorf("when all is forgotten: %s, want %s", got, want)
			}
		}
	})
}

// A program that repeats one wrong password must not shut out the others on its host.
func TestRepeatedWrong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newTestVerifier(t, quick("alice", "secret"))
		for range 100 {
			if got := login(v, home, "alice", "old secret"); got != "wrong" {
				t.Fatal(got)
			}
		}
		if got := login(v, home, "alice", "secret"); got != "right" {
			t.Errorf("another program's right login: %s", got)
		}
		if got, want := v.Counts(), (Counts{Accepted: 1, Wrong: 100, Hashed: 2}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	})
}

// A hundred guesses at once are not all the first one.
func TestGuessesAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newTestVerifier(t, quick("alice", "secret"))
		takeSlots(v)
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() { login(v, home, "alice", fmt.Sprint(i)) })
		}
		synctest.Wait()
		freeSlots(v)
		all.Wait()
		if got, want := v.Counts(), (Counts{Wrong: 2, HeldOff: 98, Hashed: 2}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	})
}

func TestOneHashForMany(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newTestVerifier(t, quick("alice", "secret"))
		takeSlots(v)
		var all sync.WaitGroup
		for i := range 200 {
			client := netip.AddrFrom4([4]byte{10, 0, 0, byte(i % 100)})
			all.Go(func() {
				if got := login(v, client, "alice", "secret"); got != "right" {
					t.Error(got)
				}
			})
		}
		synctest.Wait()
		freeSlots(v)
		all.Wait()
		if c := v.Counts(); c.Hashed != 1 || c.Accepted+c.Cached != 200 {
			t.Errorf("%+v, want one hash for 200 logins", c)
		}
	})
}

func takeSlots(v *Verifier) {
	v.workers.mu.Lock()
	defer v.workers.mu.Unlock()
	v.workers.busy += v.workers.most
}

func freeSlots(v *Verifier) {
	v.workers.mu.Lock()
	defer v.workers.mu.Unlock()
	v.workers.busy -= v.workers.most
	v.workers.grant()
}

func TestBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newTestVerifier(t, quick("alice", "secret"), quick("bob", "secret"))
		if login(v, home, "alice", "secret") != "right" {
			t.Fatal("not right")
		}
		takeSlots(v)
		start := time.Now()
		if got := login(v, home, "bob", "secret"); got != "busy" {
			t.Errorf("without a free slot: %s", got)
		}
		if waited := time.Since(start); waited != waitForTurn {
			t.Errorf("waited %v, want %v", waited, waitForTurn)
		}
		first := make(chan string)
		go func() { first <- login(v, home, "bob", "guess") }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := v.Verify(ctx, home, "bob", "another guess"); !errors.Is(err, ErrBusy) {
			t.Errorf("while the client's other login waits: %v", err)
		}
		if got := <-first; got != "busy" {
			t.Errorf("the other login: %s", got)
		}
		if len(v.pairs.of) != 0 {
			t.Error("a client that has gone stays in the table")
		}
		if got := login(v, home, "alice", "secret"); got != "right" {
			t.Errorf("a remembered login without a free slot: %s", got)
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		if err := v.Verify(ctx, home, "bob", "secret"); !errors.Is(err, ErrBusy) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("when the context ends: %v", err)
		}
		if waited := time.Since(start); waited != time.Second {
			t.Errorf("waited %v, want 1s", waited)
		}
		freeSlots(v)
		if got := login(v, home, "bob", "secret"); got != "right" {
			t.Errorf("with a free slot: %s", got)
		}
	})
}

// Whoever computes the hash may give up; then another one computes it.
func TestLeaderGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newTestVerifier(t, quick("alice", "secret"))
		takeSlots(v)
		ctx, cancel := context.WithCancel(t.Context())
		leader, follower := make(chan error, 1), make(chan error, 1)
		go func() { leader <- v.Verify(ctx, home, "alice", "secret") }()
		synctest.Wait()
		go func() { follower <- v.Verify(t.Context(), other, "alice", "secret") }()
		synctest.Wait()
		cancel()
		if err := <-leader; !errors.Is(err, ErrBusy) {
			t.Errorf("the one who gave up: %v", err)
		}
		synctest.Wait()
		freeSlots(v)
		if err := <-follower; err != nil {
			t.Errorf("the one who waited for it: %v", err)
		}
	})
}

// What is judged by one list is not remembered by another, also if it was under way when that
// one came.
func TestWithMeanwhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newTestVerifier(t, quick("alice", "old"))
		takeSlots(v)
		done := make(chan string, 1)
		go func() { done <- login(v, home, "alice", "old") }()
		synctest.Wait()
		next := v.With(mustParse(t, quick("alice", "new")))
		freeSlots(v)
		if got := <-done; got != "right" {
			t.Errorf("the old password by the old list: %s", got)
		}
		if got := login(next, home, "alice", "old"); got != "wrong" {
			t.Errorf("the old password by the new list: %s", got)
		}
	})
}

// Each judges by its own list, for as long as somebody asks it, and what is remembered outlives
// a list that says the same.
func TestWith(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newTestVerifier(t, quick("alice", "old"))
		if got := login(v, home, "alice", "old"); got != "right" {
			t.Fatal(got)
		}
		if v.With(mustParse(t, quick("alice", "old"))) != v {
			t.Error("a list that says the same makes what is remembered be forgotten")
		}
		next := v.With(mustParse(t, quick("alice", "new")))
		for i, one := range []struct {
			v              *Verifier
			password, want string
		}{
			{v, "old", "right"},
			{next, "old", "wrong"},
			{next, "new", "right"},
			{v, "new", "wrong"},
			{v, "old", "right"},
			{next, "another", "held off 1s"}, // both were wrong by the same client about the same name
		} {
			if got := login(one.v, home, "alice", one.password); got != one.want {
				t.Errorf("login %d, %q: %s, want %s", i, one.password, got, one.want)
			}
		}
		if got, want := next.Counts(), (Counts{Accepted: 2, Cached: 2, Wrong: 2, HeldOff: 1, Hashed: 4}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	})
}

// Clients without an address, on Unix sockets, are one.
func TestNoAddress(t *testing.T) {
	t.Parallel()
	v := newTestVerifier(t, quick("alice", "secret"))
	login(v, netip.Addr{}, "alice", "1")
	login(v, netip.Addr{}, "alice", "2")
	if got := login(v, netip.Addr{}, "alice", "3"); !strings.HasPrefix(got, "held off") {
		t.Error(got)
	}
}

func TestTablesAreBounded(t *testing.T) {
	t.Parallel()
	hs := &holds{free: 1}
	of := func(i int) key { return key{byte(i), byte(i >> 8), byte(i >> 16)} }
	wrong := func(k key) {
		h, err := hs.enter(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		hs.leave(h, true)
	}
	lately := key{31: 1}
	wrong(lately)
	for i := range maxHeld + 100 {
		wrong(of(i))
		if i == maxHeld/2 {
			wrong(lately)
		}
	}
	if h := hs.of[lately]; h == nil || h.wrongs != 2 {
		t.Error("one that was wrong lately is forgotten before others")
	}
	if n, m := len(hs.of), hs.wrong.Len(); n != maxHeld || m != maxHeld {
		t.Errorf("%d keys, %d wrong, want %d", n, m, maxHeld)
	}
	if hs.of[of(0)] != nil {
		t.Error("the oldest is not the one that was forgotten")
	}
	right := key{31: 2}
	h, err := hs.enter(t.Context(), right)
	if err != nil {
		t.Fatal(err)
	}
	hs.leave(h, false)
	if hs.of[right] != nil {
		t.Error("one that was right stays in the table")
	}

	c, now := cache{max: 10, age: time.Minute}, time.Now()
	for i := range 25 {
		c.add(key{byte(i)}, now)
		c.add(key{byte(i)}, now)
	}
	if len(c.until) != 10 || len(c.order) != 10 || !c.has(key{24}, now) || !c.has(key{15}, now) || c.has(key{14}, now) {
		t.Errorf("cache holds %d and %d, want the last 10", len(c.until), len(c.order))
	}
	c.add(key{99}, now.Add(time.Minute))
	if len(c.until) != 1 || len(c.order) != 1 {
		t.Errorf("cache holds %d old ones", len(c.until)-1)
	}
}

// No error shows what a client sent.
func TestErrorsAreSilent(t *testing.T) {
	t.Parallel()
	v := newTestVerifier(t, quick("alice", "secret"))
	for range 3 {
		err := v.Verify(t.Context(), home, "alice", "hunter2"+time.Now().String())
		if err == nil || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "alice") || strings.Contains(err.Error(), "192.0.2") {
			t.Errorf("error is %v", err)
		}
	}
}
