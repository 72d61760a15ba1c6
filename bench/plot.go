//go:build unix

package main

import (
	"bytes"
	"fmt"
	"math"
)

// The plot is three panels beside each other, in SVG units.
const (
	panelWidth, panelHeight = 300, 220
	marginLeft, marginTop   = 60, 40
	panelStep               = panelWidth + marginLeft + 20
)

// series are the servers in the plot and how they are drawn.
var series = [...]struct{ name, colour string }{{"hosier", "#c33"}, {"microsocks", "#36c"}, {"forwarder", "#777"}}

// plot draws cost per relay over the number of relays.
func (b *bench) plot() []byte {
	var w bytes.Buffer
	fmt.Fprintf(&w, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n",
		3*panelStep+20, panelHeight+marginTop+70)
	fmt.Fprintln(&w, `<rect width="100%" height="100%" fill="white"/>`)
	for i, p := range []struct{ key, title string }{
		{"mem_b_relay", "memory, bytes per relay"},
		{"cpu_us_setup", "setup, CPU µs per relay"},
		{"cpu_us_msg", "CPU µs per message of 64 bytes"},
	} {
		b.panel(&w, i*panelStep+marginLeft, p.key, p.title)
	}
	for i, s := range series {
		x := marginLeft + i*120
		fmt.Fprintf(&w, `<rect x="%d" y="%d" width="12" height="12" fill="%s"/><text x="%d" y="%d">%s</text>`+"\n",
			x, panelHeight+marginTop+45, s.colour, x+18, panelHeight+marginTop+56, s.name)
	}
	fmt.Fprintln(&w, "</svg>")
	return w.Bytes()
}

func (b *bench) panel(w *bytes.Buffer, left int, key, title string) {
	mostX, mostY := 1.0, 1.0
	for _, s := range series {
		for _, p := range b.points(s.name) {
			mostX, mostY = max(mostX, p["relays"]), max(mostY, p[key])
		}
	}
	mostY = nice(mostY)
	at := func(x, y float64) (float64, float64) {
		return float64(left) + x/mostX*panelWidth, marginTop + (1-max(y, 0)/mostY)*panelHeight
	}
	fmt.Fprintf(w, `<text x="%d" y="%d" font-weight="bold">%s</text>`+"\n", left, marginTop-14, title)
	for i := range 5 {
		x, y := at(mostX*float64(i)/4, mostY*float64(i)/4)
		fmt.Fprintf(w, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			left, y, left+panelWidth, y, left-6, y+4, short(mostY*float64(i)/4))
		fmt.Fprintf(w, `<text x="%.1f" y="%d" text-anchor="middle">%.0f</text>`+"\n", x, marginTop+panelHeight+18, mostX*float64(i)/4)
	}
	for _, s := range series {
		points := ""
		for _, p := range b.points(s.name) {
			y, measured := p[key]
			if !measured {
				continue
			}
			px, py := at(p["relays"], y)
			points += fmt.Sprintf("%.1f,%.1f ", px, py)
			fmt.Fprintf(w, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", px, py, s.colour)
		}
		fmt.Fprintf(w, `<polyline points="%s" fill="none" stroke="%s" stroke-width="1.5"/>`+"\n", points, s.colour)
	}
}

// nice returns the next round number that is not less than x.
func nice(x float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(x)))
	for _, m := range []float64{1, 2, 4, 5, 8, 10} {
		if m*unit >= x {
			return m * unit
		}
	}
	return 10 * unit
}
