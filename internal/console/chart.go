package console

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"hosier/internal/telemetry"
)

// A chart has a slot for each minute of an hour, in units of its picture. The latest minute
// is at the right.
const (
	chartSlots  = 60
	chartWidth  = 600
	chartHeight = 120
)

// chart is a picture of what happened in the last hour. Its texts are for people.
type chart struct {
	Title  string   `json:"title"`
	Top    string   `json:"top"`  // value at the upper edge
	Text   string   `json:"text"` // what the picture shows
	Empty  bool     `json:"empty"`
	Series []series `json:"series"` // the first one is filled

	top float64
}

// series is a line of a chart.
type series struct {
	Name  string `json:"name"`
	Class string `json:"class"` // of its colours
	Last  string `json:"last"`  // value of the last minute that is over
	Path  string `json:"path"`  // of SVG, in a box of 600 by 120

	values     []float64
	last, peak float64
}

// charts are those of the overview.
func charts(minutes []telemetry.Minute) []chart {
	minutes = minutes[max(0, len(minutes)-chartSlots):]
	pick := func(f func(*telemetry.Minute) float64) []float64 {
		values := make([]float64, len(minutes))
		for i := range minutes {
			if v := f(&minutes[i]); v > 0 && !math.IsInf(v, 1) {
				values[i] = v
			}
		}
		return values
	}
	quantiles := func(title string, of func(*telemetry.Minute) telemetry.Quantiles) chart {
		return newChart(title, "ms",
			series{Name: "95 of 100 within", Class: "main", values: pick(func(m *telemetry.Minute) float64 { return of(m).P95 })},
			series{Name: "half within", Class: "more", values: pick(func(m *telemetry.Minute) float64 { return of(m).P50 })})
	}
	return []chart{
		newChart("Connections a minute", "count",
			series{Name: "ended", Class: "main", values: pick(func(m *telemetry.Minute) float64 { return float64(m.Connections) })},
			series{Name: "refused or failed", Class: "bad", values: pick(func(m *telemetry.Minute) float64 { return float64(m.Failed) })}),
		newChart("Bytes a minute", "bytes",
			series{Name: "down to clients", Class: "main", values: pick(func(m *telemetry.Minute) float64 { return float64(m.Down) })},
			series{Name: "up to targets", Class: "more", values: pick(func(m *telemetry.Minute) float64 { return float64(m.Up) })}),
		quantiles("Handshake", func(m *telemetry.Minute) telemetry.Quantiles { return m.Handshake }),
		quantiles("Egress answers", func(m *telemetry.Minute) telemetry.Quantiles { return m.Connect }),
		quantiles("First byte", func(m *telemetry.Minute) telemetry.Quantiles { return m.FirstByte }),
	}
}

func newChart(title, unit string, all ...series) chart {
	c := chart{Title: title, Series: all}
	most := 0.0
	for i := range all {
		s := &all[i]
		for _, v := range s.values {
			s.peak = math.Max(s.peak, v)
		}
		if len(s.values) > 1 {
			s.last = s.values[len(s.values)-2]
		}
		most = math.Max(most, s.peak)
	}
	c.Empty, c.top = most == 0, roundUp(most, unit)
	c.Top, c.Text = measure(c.top, unit), "Nothing in the last hour."
	var parts []string
	for i := range all {
		s := &all[i]
		s.Last, s.Path = measure(s.last, unit), path(s.values, c.top, i == 0)
		parts = append(parts, fmt.Sprintf("%s: %s in the last full minute, at most %s.", s.Name, s.Last, measure(s.peak, unit)))
	}
	if !c.Empty {
		c.Text = strings.Join(parts, " ")
	}
	return c
}

// roundUp is the least round number that is not less: 1, 2 or 5 with zeros, or for bytes a
// power of two.
func roundUp(most float64, unit string) float64 {
	if unit == "bytes" {
		top := 1024.0
		for top < most {
			top *= 2
		}
		return top
	}
	for top := 1.0; ; top *= 10 {
		for _, n := range []float64{1, 2, 5} {
			if n*top >= most {
				return n * top
			}
		}
	}
}

// path draws values as steps: with the area below them, or as a line that has a gap where
// there is nothing.
func path(values []float64, top float64, filled bool) string {
	var b strings.Builder
	const slot = chartWidth / chartSlots
	x := chartWidth - slot*len(values)
	drawn := false
	for _, v := range values {
		y := coordinate(chartHeight - v/top*chartHeight)
		switch {
		case v == 0:
			if filled && drawn {
				fmt.Fprintf(&b, "V%dZ", chartHeight)
			}
			drawn = false
		case !drawn && filled:
			fmt.Fprintf(&b, "M%d %dV%sH%d", x, chartHeight, y, x+slot)
			drawn = true
		case !drawn:
			fmt.Fprintf(&b, "M%d %sH%d", x, y, x+slot)
			drawn = true
		default:
			fmt.Fprintf(&b, "V%sH%d", y, x+slot)
		}
		x += slot
	}
	if filled && drawn {
		fmt.Fprintf(&b, "V%dZ", chartHeight)
	}
	return b.String()
}

func coordinate(f float64) string { return strconv.FormatFloat(math.Floor(f*10+0.5)/10, 'f', -1, 64) }

// measure is a value of a chart, for people.
func measure(v float64, unit string) string {
	switch unit {
	case "bytes":
		return size(v)
	case "ms":
		return millis(v)
	}
	return count(int64(v))
}
