package console

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"hosier/internal/telemetry"
)

func TestPath(t *testing.T) {
	for _, tt := range []struct {
		name   string
		values []float64
		top    float64
		area   string
		line   string
	}{
		{"none", nil, 1, "", ""},
		{"nothing", []float64{0, 0, 0}, 1, "", ""},
		{"one", []float64{1}, 2, "M590 120V60H600V120Z", "M590 60H600"},
		{"steps", []float64{1, 2}, 2, "M580 120V60H590V0H600V120Z", "M580 60H590V0H600"},
		{"gap", []float64{2, 0, 1}, 2, "M570 120V0H580V120ZM590 120V60H600V120Z", "M570 0H580M590 60H600"},
		{"before", []float64{0, 1}, 1, "M590 120V0H600V120Z", "M590 0H600"},
		{"rounded", []float64{1}, 3, "M590 120V80H600V120Z", "M590 80H600"},
		{"tiny", []float64{1}, 1e6, "M590 120V120H600V120Z", "M590 120H600"},
	} {
		if got := path(tt.values, tt.top, true); got != tt.area {
			t.Errorf("%s: the area is %s, want %s", tt.name, got, tt.area)
		}
		if got := path(tt.values, tt.top, false); got != tt.line {
			t.Errorf("%s: the line is %s, want %s", tt.name, got, tt.line)
		}
	}
}

func TestRoundUp(t *testing.T) {
	for _, tt := range []struct {
		most float64
		unit string
		want float64
	}{
		{0, "count", 1},
		{1, "count", 1},
		{1.1, "ms", 2},
		{3, "count", 5},
		{5, "count", 5},
		{7, "count", 10},
		{1001, "count", 2000},
		{math.MaxInt64, "count", 1e19},
		{0, "bytes", 1024},
		{1025, "bytes", 2048},
		{math.MaxInt64, "bytes", 1 << 63},
		{math.MaxFloat64, "ms", math.Inf(1)},
	} {
		if got := roundUp(tt.most, tt.unit); got != tt.want {
			t.Errorf("%v %s: %v, want %v", tt.most, tt.unit, got, tt.want)
		}
	}
}

// someHistories are usual ones, and those that charts may break on.
func someHistories() [][]telemetry.Minute {
	busy := newFake(0).history
	huge := slices.Clone(busy[:5])
	huge[2].Up, huge[3].Down, huge[1].Connections = math.MaxInt64, 1<<60, math.MaxInt32
	huge[4].Connect = telemetry.Quantiles{P50: 1e9, P95: 1e12}
	long := append(slices.Clone(busy), busy...)
	bad := []telemetry.Minute{{Up: -5, Connect: telemetry.Quantiles{P50: math.NaN(), P95: math.Inf(1)}, Handshake: telemetry.Quantiles{P50: -1, P95: math.Inf(-1)}}, {}}
	return [][]telemetry.Minute{busy, busy[:1], busy[:2], busy[20:27], make([]telemetry.Minute, 60), {}, huge, long, {{Failed: 1}, {}, {Failed: 3}}, bad}
}

// Whatever the history, a picture stays inside its frame, and says what it shows.
func TestChartsStayInside(t *testing.T) {
	for i, h := range someHistories() {
		all := charts(h)
		if len(all) != 5 {
			t.Fatalf("%d charts", len(all))
		}
		for _, c := range all {
			for _, s := range c.Series {
				checkPath(t, s.Path)
				if math.IsNaN(s.peak) || math.IsInf(s.peak, 0) || s.peak > c.top || s.last > s.peak {
					t.Errorf("history %d: %s: %s: %v, at most %v of %v", i, c.Title, s.Name, s.last, s.peak, c.top)
				}
			}
			if text := c.Text; c.Empty != (text == "Nothing in the last hour.") || strings.Contains(text, "NaN") {
				t.Errorf("history %d: %s: %v, %s", i, c.Title, c.Empty, text)
			}
		}
	}
}

var pathStep = regexp.MustCompile(`([MHVZ])([0-9.]*)(?: ([0-9.]+))?`)

func checkPath(t *testing.T, d string) {
	t.Helper()
	if left := pathStep.ReplaceAllString(d, ""); left != "" {
		t.Errorf("the path has %q", left)
	}
	for _, m := range pathStep.FindAllStringSubmatch(d, -1) {
		for i, limit := range map[int]float64{2: map[string]float64{"V": chartHeight}[m[1]], 3: chartHeight} {
			if m[1] == "M" || m[1] == "H" {
				limit = map[int]float64{2: chartWidth, 3: chartHeight}[i]
			}
			if m[i] == "" {
				continue
			}
			if v, err := strconv.ParseFloat(m[i], 64); err != nil || v < 0 || v > limit {
				t.Errorf("%s of the path is outside", m[0])
			}
		}
	}
}

func TestChartsEmpty(t *testing.T) {
	for name, tt := range map[string]struct {
		history []telemetry.Minute
		empty   bool
	}{"none": {nil, true}, "zeros": {make([]telemetry.Minute, chartSlots), true}, "busy": {newFake(0).history, false}} {
		for _, c := range charts(tt.history) {
			if c.Empty != tt.empty || c.top <= 0 {
				t.Errorf("%s: %s: %v, up to %v", name, c.Title, c.Empty, c.top)
			}
		}
	}
}
