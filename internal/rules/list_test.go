package rules

import (
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"hosier/socks"
)

func TestList(t *testing.T) {
	t.Parallel()
	got := set(t, `
		from=10.0.0.0/8,192.0.2.1 user=alice,bob by=lan do=connect,resolve to=.example,a.test,10.0.0.0/8 port=443,8000-8999 via=tor,direct
		to=* refuse
		port=25 refuse=spam
		via=office
		user=a,b,c,d,e,f via=tor
		else=tor,office`).List()
	want := []Listed{
		{At: "f:1", Then: "via tor, then direct", If: []string{
			"client in 10.0.0.0/8 or 192.0.2.1", "user alice or bob", "listener lan", "command CONNECT or RESOLVE",
			"to example and all below it, a.test or 10.0.0.0/8", "port 443 or 8000-8999",
		}},
		{At: "f:2", Then: "refuse", If: []string{"to any name"}},
		{At: "f:3", Then: "refuse: spam", If: []string{"port 25"}},
		{At: "f:4", Then: "via office"},
		{At: "f:5", Then: "via tor", If: []string{"user a, b, c, d or one of 2 others"}},
		{At: "f:99", Then: "via tor, then office", Default: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	refuses := Listed{Then: "refuse", Default: true}
	if got := set(t, "via=tor").List(); len(got) != 2 || !cmp.Equal(got[1], refuses) {
		t.Errorf("without a default: %+v", got)
	}
	if got := new(Set).List(); len(got) != 1 || !cmp.Equal(got[0], refuses) {
		t.Errorf("of nothing: %+v", got)
	}
}

// Only what is counted is counted, and for the rule that decided, as the reference says.
func TestHits(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		lines := genRules(t)
		s := setOf(t, lines)
		want := make([]uint64, len(s.List()))
		for range rapid.IntRange(1, 20).Draw(t, "requests") {
			listener, r := genRequest(t)
			at, _ := naive(lines, listener, r, r.Addr.Name, r.Addr.IP)
			d := s.Decide(listener, r)
			if rapid.Bool().Draw(t, "acted on") {
				d.Count()
				want[at]++
			}
			d.Judge(r.Client.Addr())
			d.Explain("")
			s.Problems()
			s.Proof()
		}
		for i, l := range s.List() {
			if l.Hits != want[i] {
				t.Fatalf("%s: %d hits, want %d", l.At, l.Hits, want[i])
			}
			if l.Default != (i == len(want)-1) {
				t.Fatalf("%s at %d of %d: default %v", l.At, i, len(want), l.Default)
			}
		}
	})
	new(Decision).Count()
	d := new(Set).Decide("lan", &socks.Request{})
	d.Count()
}

func TestHitsAtOnce(t *testing.T) {
	t.Parallel()
	const many, each = 8, 1000
	s := set(t, "to=a.test via=tor\nelse=direct")
	var all sync.WaitGroup
	for i := range many {
		listener, r := request(t, fmt.Sprintf("connect %s.test:80", []string{"a", "b"}[i%2]))
		all.Go(func() {
			for range each {
				d := s.Decide(listener, r)
				d.Count()
			}
		})
	}
	all.Wait()
	for _, l := range s.List() {
		if l.Hits != many/2*each {
			t.Errorf("%s: %d hits, want %d", l.At, l.Hits, many/2*each)
		}
	}
}
