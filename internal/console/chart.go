package console

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"hosier/internal/telemetry"
)

// A chart has a slot for each minute of an hour, in units of its picture. The latest minute
// is at the right; web/words.js draws the same.
const (
	chartSlots  = 60
	chartWidth  = 600
	chartHeight = 120
)

// chart is a picture of what happened in the last hour.
type chart struct {
	Title  string
	Unit   string // "count", "bytes" or "ms"
	Series []series
	Top    float64 // value at the upper edge
	Empty  bool    // there is nothing to see
}

// series is a line of a chart. The first one of a chart is filled.
type series struct {
	Name   string
	Key    string // of the values in a Minute
	Class  string // of its colours
	Filled bool
	Values []float64
	Path   string
	Last   float64 // of the last minute that is over
	Peak   float64
}

// charts are those of the overview.
func charts(h history) []chart {
	pick := func(f func(*telemetry.Minute) float64) []float64 {
		minutes := h.Minutes[max(0, len(h.Minutes)-chartSlots):]
		values := make([]float64, len(minutes))
		for i := range minutes {
			if v := f(&minutes[i]); v > 0 && !math.IsInf(v, 1) {
				values[i] = v
			}
		}
		return values
	}
	quantiles := func(title, key string, of func(*telemetry.Minute) telemetry.Quantiles) chart {
		return newChart(title, "ms",
			series{Name: "95 of 100 within", Key: key + ".p95", Class: "main", Values: pick(func(m *telemetry.Minute) float64 { return of(m).P95 })},
			series{Name: "half within", Key: key + ".p50", Class: "more", Values: pick(func(m *telemetry.Minute) float64 { return of(m).P50 })})
	}
	return []chart{
		newChart("Connections a minute", "count",
			series{Name: "ended", Key: "connections", Class: "main", Values: pick(func(m *telemetry.Minute) float64 { return float64(m.Connections) })},
			series{Name: "refused or failed", Key: "failed", Class: "bad", Values: pick(func(m *telemetry.Minute) float64 { return float64(m.Failed) })}),
		newChart("Bytes a minute", "bytes",
			series{Name: "down to clients", Key: "down", Class: "main", Values: pick(func(m *telemetry.Minute) float64 { return float64(m.Down) })},
			series{Name: "up to targets", Key: "up", Class: "more", Values: pick(func(m *telemetry.Minute) float64 { return float64(m.Up) })}),
		quantiles("Handshake", "handshake", func(m *telemetry.Minute) telemetry.Quantiles { return m.Handshake }),
		quantiles("Way out answers", "connect", func(m *telemetry.Minute) telemetry.Quantiles { return m.Connect }),
		quantiles("First byte", "first_byte", func(m *telemetry.Minute) telemetry.Quantiles { return m.FirstByte }),
	}
}

func newChart(title, unit string, all ...series) chart {
	c := chart{Title: title, Unit: unit, Series: all}
	most := 0.0
	for i := range all {
		s := &all[i]
		for _, v := range s.Values {
			s.Peak = math.Max(s.Peak, v)
		}
		if len(s.Values) > 1 {
			s.Last = s.Values[len(s.Values)-2]
		}
		most = math.Max(most, s.Peak)
	}
	c.Empty, c.Top = most == 0, roundUp(most, unit)
	for i := range all {
		all[i].Filled = i == 0
		all[i].Path = path(all[i].Values, c.Top, i == 0)
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
func (c chart) Measure(v float64) string {
	switch c.Unit {
	case "bytes":
		return size(v)
	case "ms":
		return millis(v)
	}
	return count(int64(v))
}

// Text says what the picture shows.
func (c chart) Text() string {
	if c.Empty {
		return "Nothing in the last hour."
	}
	var parts []string
	for _, s := range c.Series {
		parts = append(parts, fmt.Sprintf("%s: %s in the last full minute, at most %s.", s.Name, c.Measure(s.Last), c.Measure(s.Peak)))
	}
	return strings.Join(parts, " ")
}
