package resolver

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// fake is a transport whose server answers at once, and counts.
type fake struct {
	asked   map[question]int
	answer  func(q question) (records, error)
	silence bool
}

func (f *fake) ask(q *query, done func(records, error)) func() {
	f.asked[q.question]++
	if !f.silence {
		done(f.answer(q.question))
	}
	return func() {}
}

func (f *fake) close() {}

func fakeResolver(answer func(q question) (records, error)) (*Resolver, *fake) {
	f := &fake{asked: map[question]int{}, answer: answer}
	s := Server{Addr: netip.MustParseAddrPort("192.0.2.53:53")}
	r := &Resolver{Servers: []Server{s}, NoHosts: true, upstreams: map[Server]*upstream{s: {Server: s, transport: f}}}
	return r, f
}

// For how long an answer, its absence and a failure are kept.
func TestKept(t *testing.T) {
	a := []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	for name, test := range map[string]struct {
		records
		err  error
		kept time.Duration
	}{
		"RFC1035/TTL":              {records: records{addrs: a, ttl: 90 * time.Second}, kept: 90 * time.Second},
		"RFC1035/TTL 0":            {records: records{addrs: a}},
		"RFC2308/no such name":     {records: records{noName: true, ttl: time.Minute}, kept: time.Minute},
		"RFC2308/no such record":   {records: records{ttl: time.Minute}, kept: time.Minute},
		"RFC9520/a server's error": {err: RCodeError(2), kept: failureTTL},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, f := fakeResolver(func(question) (records, error) { return test.records, test.err })
				q := question{name: "x.test", typ: A}
				ask := func() { r.Lookup(t.Context(), "x.test", A) }
				ask()
				if test.kept > 0 {
					time.Sleep(test.kept - 1)
					ask()
					if f.asked[q] != 1 {
						t.Errorf("asked %d times within the time", f.asked[q])
					}
					time.Sleep(time.Nanosecond)
				}
				ask()
				if f.asked[q] != 2 {
					t.Errorf("asked %d times, want 2", f.asked[q])
				}
			})
		})
	}
}

// RFC 8767: an answer serves past its time while no server answers, for as long as Stale.
func TestStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f := fakeResolver(func(question) (records, error) {
			return records{addrs: addrsOf("192.0.2.1"), ttl: time.Minute}, nil
		})
		r.Stale = time.Hour
		ask := func() (time.Duration, error) {
			begun := time.Now()
			_, err := r.Lookup(t.Context(), "x.test", A)
			return time.Since(begun), err
		}
		if _, err := ask(); err != nil {
			t.Fatal(err)
		}
		f.silence = true
		time.Sleep(10 * time.Minute)
		if took, err := ask(); err != nil || took != staleAfter {
			t.Errorf("%v after %v, want the stale answer after %v", err, took, staleAfter)
		}
		time.Sleep(askLimit) // the question is given up, and the answer good for another while
		if took, err := ask(); err != nil || took != 0 {
			t.Errorf("%v after %v", err, took)
		}
		time.Sleep(2 * time.Hour)
		if took, err := ask(); err == nil || took != askLimit {
			t.Errorf("%v after %v: the answer is too old", err, took)
		}
		time.Sleep(time.Minute)
	})
}

// A server that is silent is asked again at growing distances, and given up in time.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f := fakeResolver(nil)
		f.silence = true
		begun := time.Now()
		_, err := r.Lookup(t.Context(), "x.test", A)
		if took := time.Since(begun); err == nil || took != askLimit {
			t.Errorf("%v after %v", err, took)
		}
		if n := f.asked[question{name: "x.test", typ: A}]; n != 6 { // 0, 0.3, 0.9, 2.1, 4.5, 9.3 s
			t.Errorf("asked %d times", n)
		}
	})
}

// The cache against a list of all that was put into it, in the order of use.
func TestCacheAgreesWithReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var (
			c    cache
			list []*entry // the oldest first
		)
		name := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"})
		size := rapid.SampledFrom([]int{0, 1, 100, 50_000, 150_000})
		at := func(k key) int { return slices.IndexFunc(list, func(e *entry) bool { return e.key == k }) }
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			k := key{question{name: name.Draw(t, "name"), typ: A}, rapid.SampledFrom([]string{"", "g"}).Draw(t, "group")}
			i := at(k)
			switch rapid.IntRange(0, 9).Draw(t, "op") {
			case 0:
				if n := c.flush(); n != len(list) {
					t.Fatalf("flush says %d of %d", n, len(list))
				}
				list = nil
			case 1, 2, 3, 4:
				e := &entry{key: k, records: records{addrs: make([]netip.Addr, size.Draw(t, "size"))}}
				c.put(e)
				if i >= 0 {
					list = slices.Delete(list, i, i+1)
				}
				list = append(list, e)
				for sum(list) > cacheBytes && len(list) > 1 {
					list = list[1:]
				}
			default:
				got := c.get(k)
				if (got != nil) != (i >= 0) || i >= 0 && got != list[i] {
					t.Fatalf("get %v: %v, want entry %d", k, got, i)
				}
				if i >= 0 {
					list = append(slices.Delete(list, i, i+1), got)
				}
			}
			if n, bytes := c.size(); n != len(list) || bytes != sum(list) {
				t.Fatalf("%d entries of %d bytes, want %d of %d", n, bytes, len(list), sum(list))
			}
		}
	})
}

func sum(list []*entry) (n int) {
	for _, e := range list {
		n += e.cost()
	}
	return n
}

func TestCacheEntries(t *testing.T) {
	var c cache
	for i := range cacheEntries + 5 {
		c.put(&entry{key: key{question{name: fmt.Sprint(i), typ: A}, ""}})
	}
	if n, bytes := c.size(); n != cacheEntries || bytes > cacheBytes {
		t.Errorf("%d entries, %d bytes", n, bytes)
	}
	if c.get(key{question{name: "4", typ: A}, ""}) != nil || c.get(key{question{name: "5", typ: A}, ""}) == nil {
		t.Error("the oldest did not go first")
	}
}

// What is cached costs no more than a look at it.
func BenchmarkCached(b *testing.B) {
	r, _ := fakeResolver(func(q question) (records, error) {
		if q.typ == AAAA {
			return records{ttl: time.Hour}, nil
		}
		return records{addrs: addrsOf("192.0.2.1"), ttl: time.Hour}, nil
	})
	d := Dialer{Lookup: r.For(""), Memory: new(Memory)}
	if _, err := r.LookupNetIP(b.Context(), "ip", "www.example.test"); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if t, err, known := d.Cached("tcp", "www.example.test"); !known || err != nil || !t.First.IsValid() {
			b.Fatal(t, err, known)
		}
	}
}
