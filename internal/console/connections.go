package console

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"hosier/internal/telemetry"
)

// openConnection is a row of those that are open.
type openConnection struct {
	telemetry.Entry
	Rate int64 `json:"rate"` // bytes a second, both ways
}

// connectionList is as many of those that are open as were asked for.
type connectionList struct {
	Total       int              `json:"total"`    // that are open
	Matching    int              `json:"matching"` // that are of the user and have the text
	Connections []openConnection `json:"connections"`
}

// row is a connection before anyone knows that it will be shown.
type row struct {
	*telemetry.Entry
	rate int64
}

// sorting is an order of connections, by a column of their table.
type sorting struct {
	name  string
	title string    // of the column
	words [2]string // for the order, and for the other way round
	class string    // of the head of the column
	order func(a, b row) int
}

// sortings are all there are, in the order of the columns.
var sortings = []sorting{
	{"target", "Target", [2]string{"target", "target, backwards"}, "", func(a, b row) int { return strings.Compare(a.Target, b.Target) }},
	{"client", "Client", [2]string{"user and client", "user and client, backwards"}, "w4", func(a, b row) int {
		return cmp.Or(strings.Compare(a.User, b.User), strings.Compare(a.Client, b.Client))
	}},
	{"dialect", "Dialect", [2]string{"dialect", "dialect, backwards"}, "w3", func(a, b row) int {
		return cmp.Or(strings.Compare(a.Dialect, b.Dialect), strings.Compare(a.Listener, b.Listener))
	}},
	{"egress", "Egress", [2]string{"egress", "egress, backwards"}, "w3", func(a, b row) int {
		return cmp.Or(strings.Compare(a.Egress, b.Egress), strings.Compare(a.Member, b.Member))
	}},
	{"up", "Up", [2]string{"least sent up", "most sent up"}, "n w2", func(a, b row) int { return cmp.Compare(a.Up, b.Up) }},
	{"down", "Down", [2]string{"least sent down", "most sent down"}, "n w2", func(a, b row) int { return cmp.Compare(a.Down, b.Down) }},
	{"rate", "Rate", [2]string{"slowest", "fastest"}, "n w2", func(a, b row) int { return cmp.Compare(a.rate, b.rate) }},
	{usualSort, "Age", [2]string{"newest", "oldest"}, "n w2", func(a, b row) int { return b.Start.Compare(a.Start) }},
}

const usualSort = "age"

func findSorting(name string) *sorting {
	name = strings.TrimPrefix(name, "-")
	for i := range sortings {
		if sortings[i].name == name {
			return &sortings[i]
		}
	}
	return nil
}

func sortingNames() string {
	var names []string
	for _, s := range sortings {
		names = append(names, s.name)
	}
	return strings.Join(names, ", ")
}

// connections are those that q asks for. What it costs grows with those that are open, but
// only those that are shown are copied.
func (c *Console) connections(q query) connectionList {
	all := c.o.Source.Connections()
	rate := c.meter.look(all, time.Now())
	text := strings.ToLower(q.Text)
	rows := make([]row, 0, len(all))
	for i := range all {
		if a := &all[i]; (q.User == "" || a.User == q.User) && has(a, text) {
			rows = append(rows, row{a, rate(a)})
		}
	}
	order := findSorting(q.Sort).order
	slices.SortFunc(rows, func(a, b row) int {
		n := order(a, b)
		if strings.HasPrefix(q.Sort, "-") {
			n = -n
		}
		return cmp.Or(n, cmp.Compare(a.ID, b.ID)) // or rows would change places at each look
	})
	list := connectionList{Total: len(all), Matching: len(rows), Connections: []openConnection{}}
	for _, r := range rows[:min(q.Limit, len(rows))] {
		list.Connections = append(list.Connections, openConnection{*r.Entry, r.rate})
	}
	return list
}

// has reports whether one of the texts of a row has the text, which is in lower case.
func has(c *telemetry.Entry, text string) bool {
	if text == "" {
		return true
	}
	for _, s := range [...]string{c.Target, c.User, c.Client, c.Egress, c.Member, c.Dialect, c.Command, c.Stage, c.Listener, c.Rule} {
		if strings.Contains(strings.ToLower(s), text) {
			return true
		}
	}
	return false
}

const (
	shortLook = time.Second      // from one look to the next, at least
	longLook  = 10 * time.Second // after which a look says nothing of now
)

// meter returns how fast connections move bytes: from one look at all of them to the next.
// Its zero value has not looked yet.
type meter struct {
	mu           sync.Mutex
	last, before look
}

// look is how many bytes each connection had moved.
type look struct {
	at    time.Time
	bytes map[uint64]int64
}

// look looks at the connections, and returns what tells how many bytes a second each moves
// since somebody looked a while ago; or if nobody did, since it began.
func (m *meter) look(all []telemetry.Entry, now time.Time) func(*telemetry.Entry) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now.Sub(m.last.at) >= shortLook {
		m.before, m.last = m.last, look{now, make(map[uint64]int64, len(all))}
		for i := range all {
			m.last.bytes[all[i].ID] = all[i].Up + all[i].Down
		}
	}
	before := m.before
	recent := now.Sub(before.at) <= longLook
	return func(c *telemetry.Entry) int64 {
		since, was := c.Start, int64(0)
		if then, ok := before.bytes[c.ID]; ok && recent {
			since, was = before.at, then
		}
		seconds := math.Max(now.Sub(since).Seconds(), shortLook.Seconds())
		return int64(math.Max(0, float64(c.Up+c.Down-was)/seconds))
	}
}
