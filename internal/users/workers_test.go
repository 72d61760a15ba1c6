package users

import (
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hosier/internal/fair"
)

// Whoever guesses one's password keeps no other user of the same address out, nor by guessing at
// many names one that was right from there before.
func TestNeighbours(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newTestVerifier(t, quick("ann", "secret"), quick("bob", "secret"), quick("eve", "secret"))
		if got := login(v, home, "eve", "secret"); got != "right" {
			t.Fatal(got)
		}
		for i := range 6 {
			login(v, home, "bob", fmt.Sprint(i))
		}
		if got := login(v, home, "bob", "secret"); got != "held off 1s" {
			t.Errorf("the name that was guessed at: %s", got)
		}
		if got := login(v, home, "ann", "secret"); got != "right" {
			t.Errorf("another user of the address: %s", got)
		}
		for i := range freeOfClient {
			if got := login(v, home, fmt.Sprint("name ", i), "x"); got != "wrong" {
				t.Fatalf("guess %d: %s", i, got)
			}
		}
		time.Sleep(rememberRight) // what was right is to be hashed anew
		for i := range 2 * freeOfClient {
			login(v, home, fmt.Sprint("name ", i), fmt.Sprint(i))
		}
		if got := login(v, home, "carl", "x"); got != "held off 1s" {
			t.Errorf("a further name: %s", got)
		}
		for _, name := range []string{"ann", "eve"} {
			if got := login(v, home, name, "secret"); got != "right" {
				t.Errorf("%s, who was right before: %s", name, got)
			}
		}
		if got := login(v, other, "bob", "secret"); got != "right" {
			t.Errorf("from another address: %s", got)
		}
	})
}

// Of many guesses at many names at once no more are judged than one after the other would be.
func TestNamesAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newTestVerifier(t, quick("ann", "secret"))
		takeSlots(v)
		var all sync.WaitGroup
		for i := range 200 {
			all.Go(func() { login(v, home, fmt.Sprint(i), "x") })
		}
		synctest.Wait()
		freeSlots(v)
		all.Wait()
		if c := v.Counts(); c.Hashed > freeOfClient+defaultParallel || c.HeldOff+c.Wrong != 200 {
			t.Errorf("%+v", c)
		}
	})
}

// job by job: one client's do not come before another's only one, those of clients that were
// right before come first, and one name leaves a worker to the others.
func TestWorkersTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorkers(2)
		client := func(i byte) fair.Party { return fair.OfClient(netip.AddrFrom4([4]byte{192, 0, 2, i})) }
		full := []attempt{{user: "x"}, {user: "y"}}
		for _, a := range full {
			if err := w.acquire(t.Context(), a); err != nil {
				t.Fatal(err)
			}
		}
		var mu sync.Mutex
		var order []string
		var all sync.WaitGroup
		wait := func(a attempt) {
			all.Go(func() {
				if err := w.acquire(t.Context(), a); err != nil {
					t.Error(err)
				}
				mu.Lock()
				order = append(order, a.user)
				mu.Unlock()
			})
			synctest.Wait()
		}
		wait(attempt{user: "known", party: client(9), known: true})
		for i := range 100 {
			wait(attempt{user: fmt.Sprint("one ", i), party: client(1)})
		}
		wait(attempt{user: "two", party: client(2)})
		wait(attempt{user: "x", party: client(3)}) // has a worker, and waits until that is free
		next := func(done string) string {
			n := len(order)
			w.release(attempt{user: done}, 0)
			synctest.Wait()
			if len(order) != n+1 {
				t.Fatalf("after %s: %q", done, order)
			}
			return order[n]
		}
		if got := next("y"); got != "known" {
			t.Errorf("the first is %s", got)
		}
		if got := next("known"); got != "two" {
			t.Errorf("the second is %s", got)
		}
		if got := next("x"); got != "x" {
			t.Errorf("the third is %s", got)
		}
		last := "two"
		for range 100 {
			last = next(last)
		}
		w.release(attempt{user: last}, 0)
		w.release(attempt{user: "x"}, 0)
		all.Wait()
		if w.busy != 0 || len(w.names) != 0 || w.known.Len()+w.other.Len() != 0 {
			t.Errorf("%d busy, %d names, %d waiting are left of nothing", w.busy, len(w.names), w.known.Len()+w.other.Len())
		}
	})
}

// What hashes take is bounded by what two take, however many there are.
func TestMemoryOfHashes(t *testing.T) {
	const memory = 16 << 20
	v := newTestVerifier(t, "ann:"+params(fmt.Sprintf("m=%d,t=1,p=1", memory>>10)))
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			v.Verify(t.Context(), netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), fmt.Sprint(i), "x")
		})
	}
	all.Wait()
	runtime.ReadMemStats(&now)
	if took := int64(now.HeapSys) - int64(before.HeapSys); took > 3*memory {
		t.Errorf("8 hashes of %d MiB took %d MiB", memory>>20, took>>20)
	}
	if n := v.Counts().Hashed; n < 3 {
		t.Errorf("only %d hashes were computed", n)
	}
}
