package console

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hosier/internal/telemetry"
)

// sorted fails the test unless each row is not after the next one.
func sorted(t *testing.T, name string, list connectionList, order func(a, b openConnection) int) {
	t.Helper()
	if !slices.IsSortedFunc(list.Connections, order) {
		t.Errorf("%s: the rows are in no order", name)
	}
}

func TestConnectionsInOrder(t *testing.T) {
	f := newFake(300)
	rand.Shuffle(len(f.connections), func(i, j int) { f.connections[i], f.connections[j] = f.connections[j], f.connections[i] })
	c := New(Options{Source: f.source()})
	for name, order := range map[string]func(a, b openConnection) int{
		"age":     func(a, b openConnection) int { return b.Start.Compare(a.Start) },
		"target":  func(a, b openConnection) int { return strings.Compare(a.Target, b.Target) },
		"client":  func(a, b openConnection) int { return strings.Compare(a.User, b.User) },
		"dialect": func(a, b openConnection) int { return strings.Compare(a.Dialect, b.Dialect) },
		"egress":  func(a, b openConnection) int { return strings.Compare(a.Egress, b.Egress) },
		"up":      func(a, b openConnection) int { return cmp.Compare(a.Up, b.Up) },
		"down":    func(a, b openConnection) int { return cmp.Compare(a.Down, b.Down) },
		"rate":    func(a, b openConnection) int { return cmp.Compare(a.Rate, b.Rate) },
	} {
		if findSorting(name) == nil {
			t.Fatal(name)
		}
		sorted(t, name, c.connections(query{Limit: 300, Sort: name}), order)
		sorted(t, "-"+name, c.connections(query{Limit: 300, Sort: "-" + name}), func(a, b openConnection) int { return -order(a, b) })
	}
	// Those that are alike stay where they are.
	once := c.connections(query{Limit: 300, Sort: "dialect"})
	slices.Reverse(f.connections)
	again := c.connections(query{Limit: 300, Sort: "dialect"})
	for i := range once.Connections {
		if once.Connections[i].ID != again.Connections[i].ID {
			t.Fatalf("row %d changed its place", i)
		}
	}
}

func TestConnectionsFilter(t *testing.T) {
	f := &fake{connections: []telemetry.Entry{
		{ID: 1, User: "ann", Target: "www.Example:443"},
		{ID: 2, User: "annabel", Target: "mail.example:25", Egress: "tor"},
		{ID: 3, Client: "192.0.2.1:5000", Dialect: "SOCKS5", Member: "tor-0"},
		{ID: 4, User: "ANN", Stage: "handshake", Listener: "lan", Rule: "a.toml:3", Command: "RESOLVE"},
	}}
	c := New(Options{Source: f.source()})
	for _, tt := range []struct {
		text, user string
		want       []uint64
	}{
		{"", "", []uint64{1, 2, 3, 4}},
		{"example", "", []uint64{1, 2}},
		{"EXAMPLE", "", []uint64{1, 2}},
		{"tor", "", []uint64{2, 3}},
		{"ann", "", []uint64{1, 2, 4}},
		{"", "ann", []uint64{1}},
		{"mail", "ann", nil},
		{"192.0.2.1", "", []uint64{3}},
		{"handshake", "", []uint64{4}},
		{"lan", "", []uint64{4}},
		{"a.toml:3", "", []uint64{4}},
		{"resolve", "", []uint64{4}},
		{"socks5", "", []uint64{3}},
		{"nobody", "", nil},
	} {
		list := c.connections(query{Limit: 10, Sort: "age", Text: tt.text, User: tt.user})
		var got []uint64
		for _, c := range list.Connections {
			got = append(got, c.ID)
		}
		if !slices.Equal(got, tt.want) || list.Total != 4 || list.Matching != len(tt.want) {
			t.Errorf("%q of %q: got %v, %d of %d", tt.text, tt.user, got, list.Matching, list.Total)
		}
	}
}

func TestConnectionsBounded(t *testing.T) {
	const open = 5000
	h := newConsole(newFake(open))
	for target, want := range map[string]int{
		"/connections": defaultLimit, "/connections?limit=7": 7, "/connections?limit=1000&sort=-rate": maxLimit, "/connections?q=no+such": 0,
	} {
		body := get(t, h, "GET", target).Body.String()
		rows := strings.Count(body, "<tr data-key=") - 1 // that which a script copies
		total := `<b data-f="total" data-as="count">5,000</b> open`
		if shown := fmt.Sprintf(`<b data-f="connections" data-as="length">%s</b> shown`, count(want)); rows != want || !strings.Contains(body, total) || !strings.Contains(body, shown) {
			t.Errorf("%s: %d rows, want %d", target, rows, want)
		}
	}
}

// What it costs to show so many grows little with those that are not shown.
func TestConnectionsCost(t *testing.T) {
	render := func(open int) float64 {
		h := newConsole(newFake(open))
		return testing.AllocsPerRun(3, func() { get(t, h, "GET", "/connections") })
	}
	few, many := render(defaultLimit), render(25*defaultLimit)
	if many > 1.1*few {
		t.Errorf("%v allocations with %d open, %v with %d", many, 25*defaultLimit, few, defaultLimit)
	}
}

func BenchmarkConnections(b *testing.B) {
	for _, open := range []int{0, 200, 5000, 50000} {
		for name, target := range map[string]string{"page": "/connections", "json": "/api/v1/connections", "filter": "/connections?q=EXAMPLE&sort=-rate"} {
			b.Run(fmt.Sprintf("%s/%d", name, open), func(b *testing.B) {
				h := newConsole(newFake(open))
				b.ReportAllocs()
				for b.Loop() {
					w := httptest.NewRecorder()
					h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
				}
			})
		}
	}
}

// A rate is that of the last seconds, if somebody looked then.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m meter
		all := []telemetry.Entry{{ID: 1, Start: time.Now()}, {ID: 2, Start: time.Now(), Down: 500}}
		look := func(wait time.Duration, up int64) (rates [2]int64) {
			time.Sleep(wait)
			all[0].Up += up
			rate := m.look(all, time.Now())
			return [2]int64{rate(&all[0]), rate(&all[1])}
		}
		for i, step := range []struct {
			wait time.Duration
			up   int64
			want [2]int64
		}{
			{0, 100, [2]int64{100, 500}},                       // of no time at all
			{10 * time.Second, 900, [2]int64{90, 0}},           // since the look before
			{2 * time.Second, 10, [2]int64{5, 0}},              //
			{100 * time.Millisecond, 200, [2]int64{100, 0}},    // 210 bytes since 2.1 s: too soon for a look of its own
			{900 * time.Millisecond, 0, [2]int64{200, 0}},      // since the look of 1 s ago
			{time.Minute, 6090, [2]int64{7300 / 73, 500 / 73}}, // nobody looked lately: since the start
			{time.Second, 0, [2]int64{0, 0}},
		} {
			if got := look(step.wait, step.up); got != step.want {
				t.Errorf("step %d: %d, want %d", i, got, step.want)
			}
		}
		if len(m.last.bytes) != 2 || len(m.before.bytes) != 2 {
			t.Error("it keeps connections that ended")
		}
		new := telemetry.Entry{ID: 3, Start: time.Now().Add(-10 * time.Second), Up: 50}
		if got := m.look(append(all, new), time.Now())(&new); got != 5 {
			t.Errorf("a new one: %d, want 5", got)
		}
		all[0].Up = 0 // counters of the far side may lie
		if got := look(time.Second, 0); got[0] != 0 {
			t.Errorf("a rate of %d", got[0])
		}
	})
}

// The links at the columns turn the order round, and keep what else was chosen.
func TestSortLinks(t *testing.T) {
	for _, tt := range []struct{ sort, column, want string }{
		{"age", "age", "q=a%26b&sort=-age&user=ann"},
		{"-age", "age", "q=a%26b&user=ann"},
		{"age", "down", "q=a%26b&sort=-down&user=ann"},
		{"-down", "down", "q=a%26b&sort=down&user=ann"},
		{"down", "down", "q=a%26b&sort=-down&user=ann"},
		{"age", "target", "q=a%26b&sort=target&user=ann"},
		{"target", "target", "q=a%26b&sort=-target&user=ann"},
	} {
		q := query{Sort: tt.sort, Text: "a&b", User: "ann", Limit: defaultLimit}
		if got := string(q.SortedBy(tt.column)); got != tt.want {
			t.Errorf("%s by %s: %s, want %s", tt.sort, tt.column, got, tt.want)
		}
		if v, err := url.ParseQuery(tt.want); err != nil || v.Get("q") != "a&b" {
			t.Error(v, err)
		}
	}
}
