package load

import (
	"maps"
	"slices"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want float64
		ok   bool
	}{
		{nil, 0, false},
		{[]float64{3}, 3, true},
		{[]float64{9, 1}, 5, true},
		{[]float64{9, 1, 2}, 2, true},
		{[]float64{4, 1, 3, 2}, 2.5, true},
	} {
		in := slices.Clone(c.in)
		if got, ok := median(in); got != c.want || ok != c.ok {
			t.Errorf("median(%v) = %v, %v", c.in, got, ok)
		}
		if !slices.Equal(in, c.in) {
			t.Errorf("median changed %v to %v", c.in, in)
		}
	}
}

func TestMedians(t *testing.T) {
	got := medians([]Values{{"a": 1, "b": 5}, {"a": 3}, {"a": 2}})
	if want := (Values{"a": 2, "b": 5}); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// The machine gets twice as slow in the second round, and the ratio does not notice.
func TestRatiosAreWithinARound(t *testing.T) {
	rounds := []Values{{"x": 10}, {"x": 20}, {"x": 31}}
	base := []Values{{"x": 20}, {"x": 40}, {"x": 60}}
	if got := ratios(rounds, base)["x"]; got != 0.5 {
		t.Errorf("ratio %v, want 0.5", got)
	}
}

func TestRatiosOfWhatIsMissing(t *testing.T) {
	for name, base := range map[string][]Values{
		"no rounds":     nil,
		"another value": {{"y": 1}},
		"zero":          {{"x": 0}},
	} {
		if got := ratios([]Values{{"x": 10}}, base); len(got) != 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
	got := ratios([]Values{{"x": 10}, {}, {"x": 30}}, []Values{{"x": 10}, {"x": 10}, {"x": 10}})
	if got["x"] != 2 {
		t.Errorf("with a round that lacks the value: %v, want 2", got["x"])
	}
}

func TestLatencies(t *testing.T) {
	var times []time.Duration
	for i := range 100 {
		times = append(times, time.Duration(100-i)*time.Microsecond)
	}
	v := Values{}
	v.latencies("x_", times)
	if v["x_p50_us"] != 51 || v["x_p99_us"] != 100 {
		t.Errorf("%v", v)
	}
	v = Values{}
	if v.latencies("", nil); len(v) != 0 {
		t.Errorf("of nothing: %v", v)
	}
	if got := percentile(times[:1], 99); got != time.Microsecond {
		t.Errorf("percentile of one: %v", got)
	}
}

func TestPer(t *testing.T) {
	v := Values{}
	v.per("a", 10, 4)
	v.per("b", 10, 0)
	if want := (Values{"a": 2.5}); !maps.Equal(v, want) {
		t.Errorf("%v", v)
	}
}

func TestCPUSince(t *testing.T) {
	before := usage{cpu: map[int]time.Duration{1: 10, 2: 20, 3: 5}}
	// 1 went on, 2 ended, 4 is new, and the number of 3 went to another process.
	now := usage{cpu: map[int]time.Duration{1: 14, 4: 3, 3: 1}}
	if got := now.cpuSince(before); got != 7 {
		t.Errorf("%d, want 4 + 3", got)
	}
}

func TestCell(t *testing.T) {
	for want, l := range map[string]Line{
		"–":               {},
		"1234":            {Median: Values{"x": 1234.4}},
		"12.3 (0.87)":     {Median: Values{"x": 12.34}, Ratio: Values{"x": 0.871}},
		"0.123":           {Median: Values{"x": 0.1234}},
		"2 (1.00 / 2.50)": {Median: Values{"x": 2}, Ratio: Values{"x": 1}, Against: Values{"x": 2.5}},
	} {
		if got := l.Cell("x"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestFailures(t *testing.T) {
	f := failures{"b": 1, "a": 1, "c": 2}
	want := []Failure{{"c", 2}, {"a", 1}, {"b", 1}}
	if got := f.list(); !slices.Equal(got, want) || f.total() != 4 {
		t.Errorf("%v, %d in all", got, f.total())
	}
}

func TestCheck(t *testing.T) {
	good := Defaults()
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*Options){
		"mode":     func(o *Options) { o.Modes = []Mode{"flood"} },
		"rounds":   func(o *Options) { o.Rounds = 0 },
		"time":     func(o *Options) { o.Time = time.Hour },
		"no time":  func(o *Options) { o.Time = 0 },
		"timeout":  func(o *Options) { o.Timeout = -1 },
		"conns":    func(o *Options) { o.Conns = 1 << 20 },
		"count":    func(o *Options) { o.Count = 0 },
		"streams":  func(o *Options) { o.Streams = 1000 },
		"message":  func(o *Options) { o.Message = 1 << 20 },
		"relays":   func(o *Options) { o.Relays = maxRelays() + 1 },
		"hold":     func(o *Options) { o.Hold = -1 },
		"relays 0": func(o *Options) { o.Relays = 0 },
	} {
		o := Defaults()
		if spoil(&o); o.Check() == nil {
			t.Errorf("%s: passes", name)
		}
	}
}
