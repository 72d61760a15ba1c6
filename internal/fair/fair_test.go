package fair

import (
	"net/netip"
	"slices"
	"testing"
)

func TestClient(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"2001:db8::1", "2001:db8::ffff:2", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
		{"2001:db8::1%eth0", "2001:db8::2", true},
		{"fe80::1%eth0", "fe80::2%eth0", false},
		{"fe80::1%eth0", "fe80::1", true},
		{"::1", "127.0.0.1", false},
	} {
		a, b := netip.MustParseAddr(c.a), netip.MustParseAddr(c.b)
		if (Client(a) == Client(b)) != c.same || (OfClient(a) == OfClient(b)) != c.same {
			t.Errorf("%s and %s: the same is %v, want %v", c.a, c.b, Client(a) == Client(b), c.same)
		}
	}
	if k := Client(netip.Addr{}); k.IsValid() {
		t.Errorf("no address gives %v", k)
	}
	if OfClient(netip.MustParseAddr("192.0.2.1")) == OfUser("192.0.2.1") {
		t.Error("a user with the name of an address is that client")
	}
}

// One party that takes all it can leaves the reserve, and of those after it none takes the
// rest alone.
func TestShares(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		places, reserve int
		want            []int // what each party gets that asks as often as it can, in this order
	}{
		{100, 6, []int{94, 3, 2, 1}}, // 6 free: 3; 3 free: 2; 1 free: 1
		{32, 8, []int{24, 4, 2, 1, 1}},
		{2, 0, []int{2}},
		{1, 0, []int{1}},
	} {
		var s Shares
		free := c.places
		var got []int
		for i := range c.want {
			p := OfUser(string(rune('a' + i)))
			for free > 0 && s.Admits(p, free, c.reserve) {
				s.Add(p)
				free--
			}
			got = append(got, s.Of(p))
		}
		if !slices.Equal(got, c.want) || free != 0 {
			t.Errorf("of %d places: %v, and %d are left, want %v", c.places, got, free, c.want)
		}
		for i := range c.want {
			for range c.places + 1 {
				s.Remove(OfUser(string(rune('a' + i))))
			}
		}
		if s.Parties() != 0 {
			t.Errorf("%d parties hold something of nothing", s.Parties())
		}
	}
}

func anyone(Party, string) bool { return true }

func TestQueue(t *testing.T) {
	t.Parallel()
	a, b, c := OfUser("a"), OfUser("b"), OfUser("c")
	fill := func(newest bool) *Queue[string] {
		q := &Queue[string]{NewestFirst: newest}
		for _, one := range []struct {
			p Party
			v string
		}{{a, "a1"}, {a, "a2"}, {a, "a3"}, {b, "b1"}, {b, "b2"}, {c, "c1"}} {
			q.Push(one.p, one.v)
		}
		return q
	}
	drain := func(q *Queue[string]) (all []string) {
		for v, ok := q.Next(anyone); ok; v, ok = q.Next(anyone) {
			all = append(all, v)
		}
		if q.Len() != 0 || len(q.lines) != 0 || q.turns.Len() != 0 {
			t.Errorf("an empty queue has %d values, %d parties, %d turns", q.Len(), len(q.lines), q.turns.Len())
		}
		return all
	}
	if got, want := drain(fill(false)), []string{"a1", "b1", "c1", "a2", "b2", "a3"}; !slices.Equal(got, want) {
		t.Errorf("in turn: %q, want %q", got, want)
	}
	if got, want := drain(fill(true)), []string{"c1", "b2", "a3", "b1", "a2", "a1"}; !slices.Equal(got, want) {
		t.Errorf("the newest first: %q, want %q", got, want)
	}

	q := fill(false)
	late := q.Push(c, "c2")
	if v, ok := q.Next(func(p Party, _ string) bool { return p == b }); v != "b1" || !ok {
		t.Errorf("with a passed over: %q, %v", v, ok)
	}
	if v, ok := q.Next(func(Party, string) bool { return false }); ok {
		t.Errorf("with all passed over: %q", v)
	}
	q.Remove(late)
	if got, want := drain(q), []string{"a1", "c1", "b2", "a2", "a3"}; !slices.Equal(got, want) {
		t.Errorf("after that: %q, want %q", got, want)
	}
	alone := q.Push(a, "a4")
	q.Remove(alone)
	if got := drain(q); len(got) != 0 {
		t.Errorf("what was removed comes: %q", got)
	}
}
