//go:build unix

package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

const pageHead = `# What relays through hosier cost

Written by ` + "`make bench`" + `; do not edit. It runs hosier beside other servers and beside a raw
forwarder: a Go program of two io.Copy a connection, without any SOCKS. The servers take
turns, each in a session of its own; numbers are medians, in brackets the median of the
ratios to the forwarder within a round. Trust the ratios, and those within one table only:
the times say as much about the machine and its mood as about a server.

`

const pageTail = `## How to read it

* CPU is the processor time of the server's processes, read from their clocks; of ssh both ends.
* Memory is the growth of Pss per relay. What the kernel holds for sockets is the same for all and not in it.
* Loopback hides networks: no loss, no delay, no interface. Names are those of /etc/hosts.
* "added" is the difference to messages sent past the server, in turns of ten.
* microsocks logs each relay; the log goes to /dev/null here.

[From one machine to many](scale.md) has the arithmetic beyond this machine.
`

// page writes docs/performance.md.
func (b *bench) page() []byte {
	var w bytes.Buffer
	fmt.Fprint(&w, pageHead)
	b.machine(&w)
	b.targets(&w)
	b.table(&w, b.rate, 0, "New relays", []column{
		{"relays/s", "conn_s", "%.0f"},
		{"CPU µs/relay", "cpu_us_conn", "%.1f"},
		{"p50 µs", "p50_us", "%.0f"},
		{"p99 µs", "p99_us", "%.0f"},
	})
	b.table(&w, b.bulk, 0, "Bulk, down", []column{{"GiB/s", "down_gib_s", "%.2f"}, {"CPU s/GiB", "down_cpu_s_gib", "%.3f"}})
	b.table(&w, b.bulk, 1, "Bulk, up", []column{{"GiB/s", "up_gib_s", "%.2f"}, {"CPU s/GiB", "up_cpu_s_gib", "%.3f"}})
	b.table(&w, b.rtt, 0, "Small messages", []column{
		{"CPU µs/message", "cpu_us_msg", "%.1f"},
		{"added p50 µs", "added_p50_us", "%.1f"},
		{"p50 µs", "p50_us", "%.1f"},
		{"p99 µs", "p99_us", "%.1f"},
	})
	b.table(&w, b.idle, 0, "Silent relays", []column{
		{"relays", "relays", "%.0f"},
		{"memory B/relay", "mem_b_relay", "%.0f"},
		{"files/relay", "fd_relay", "%.2f"},
		{"threads", "threads", "%.0f"},
		{"processes", "procs", "%.0f"},
		{"CPU µs/message", "cpu_us_msg", "%.1f"},
		{"alive", "alive", "%.3f"},
	})
	b.others(&w)
	b.growthTable(&w)
	fmt.Fprint(&w, pageTail)
	return w.Bytes()
}

func (b *bench) machine(w *bytes.Buffer) {
	fmt.Fprintf(w, "## The machine\n\n| | |\n|---|---|\n| date | %s |\n| system | %s, %d processors (%s), %s |\n", b.start.UTC().Format(time.DateOnly),
		b.rate.System, b.rate.CPUs, fact("/proc/cpuinfo", "model name"), fact("/proc/meminfo", "MemTotal"))
	fmt.Fprintf(w, "| Go | %s |\n| files a process may open | %d |\n", runtime.Version(), files())
	fmt.Fprintf(w, "| load average (1, 5, 15 min) before, and at the end, with what this program does | %s; %s |\n", b.busy, loadAverage())
	fmt.Fprintf(w, "| rounds | %d of %v |\n", b.rounds, b.time)
	for _, s := range b.servers {
		fmt.Fprintf(w, "| %s | %s |\n", s.name, s.version)
	}
	if len(b.missing) > 0 {
		fmt.Fprintf(w, "| could not be had here | %s |\n", strings.Join(b.missing, ", "))
	}
	var before float64
	if _, err := fmt.Sscan(b.busy, &before); err != nil || before > 0.5 {
		fmt.Fprint(w, "\n**The machine was busy with something else when this began.** What others did meanwhile is in all\n"+
			"numbers; the ranges below tell how much. Repeat it on a quiet machine before drawing conclusions.\n")
	}
	fmt.Fprintln(w)
}

// target is a line of what is to be reached.
type target struct {
	what  string
	limit float64
	most  bool // the limit is an upper one
	got   []float64
}

func (b *bench) targets(w *bytes.Buffer) {
	ratio := func(r *report, mode int, key string) []float64 {
		return perRound(r.line(mode, "hosier").Rounds, r.line(mode, "forwarder").Rounds, key)
	}
	value := func(key string) []float64 { return each(b.idle.line(0, "hosier").Rounds, key) }
	var crowd []float64
	for i, x := range b.crowded["hosier"] {
		if i < len(b.alone["hosier"]) && b.alone["hosier"][i] > 0 {
			crowd = append(crowd, x/b.alone["hosier"][i])
		}
	}
	fmt.Fprint(w, "## What is to be reached\n\n| measure | wanted | median | range over the rounds | |\n|---|---:|---:|---:|---|\n")
	for _, t := range []target{
		{what: "server CPU per new relay, ratio to the forwarder", limit: 0.87, most: true, got: ratio(b.rate, 0, "cpu_us_conn")},
		{what: "server CPU per GiB down, ratio", limit: 0.90, most: true, got: ratio(b.bulk, 0, "down_cpu_s_gib")},
		{what: "server CPU per GiB up, ratio", limit: 0.90, most: true, got: ratio(b.bulk, 1, "up_cpu_s_gib")},
		{what: "server CPU per 64-byte round trip on one processor, ratio", limit: 0.70, most: true, got: ratio(b.rtt, 0, "cpu_us_msg")},
		{what: "user memory of a silent relay, bytes", limit: 1024, most: true, got: value("mem_b_relay")},
		{what: "files of a silent relay", limit: 2, most: true, got: rounded(value("fd_relay"))},
		{what: "bulk as an ordinary user beside silent relays, ratio to alone", limit: 0.9, got: crowd},
	} {
		m := median(t.got)
		verdict := "**not reached**"
		switch {
		case len(t.got) == 0:
			fmt.Fprintf(w, "| %s | %s | – | – | not measured |\n", t.what, t.wanted())
			continue
		case t.most && m <= t.limit, !t.most && m >= t.limit:
			verdict = "reached"
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s–%s | %s |\n", t.what, t.wanted(), short(m), short(slices.Min(t.got)), short(slices.Max(t.got)), verdict)
	}
	if f := b.crowded["forwarder"]; len(f) > 0 {
		fmt.Fprintf(w, "\nThe forwarder, as an ordinary user beside silent relays, keeps %s of what it moves alone: each of its relays\nholds two pipes, and the kernel makes pipes small for a user who has many.\n",
			short(median(f)/median(b.alone["forwarder"])))
	}
	fmt.Fprintln(w)
}

func (t target) wanted() string {
	if t.most {
		return "≤ " + short(t.limit)
	}
	return "≥ " + short(t.limit)
}

// rounded drops what the server itself opened meanwhile.
func rounded(v []float64) (out []float64) {
	for _, x := range v {
		out = append(out, float64(int(x*50+0.5))/50)
	}
	return out
}

type column struct{ title, key, format string }

func (b *bench) table(w *bytes.Buffer, r *report, mode int, title string, columns []column) {
	if mode >= len(r.Modes) {
		return
	}
	t := r.Modes[mode]
	fmt.Fprintf(w, "## %s\n\n%s.\n\n| server |", title, capital(t.What))
	for _, c := range columns {
		fmt.Fprintf(w, " %s |", c.title)
	}
	fmt.Fprintf(w, " failed |\n|---|%s\n", strings.Repeat("---:|", len(columns)+1))
	for _, l := range t.Lines {
		fmt.Fprintf(w, "| %s |", l.Server)
		for _, c := range columns {
			fmt.Fprintf(w, " %s |", l.cell(c))
		}
		fmt.Fprintf(w, " %d |\n", l.Failed)
	}
	for _, l := range t.Lines {
		for _, e := range l.Errors[:min(len(l.Errors), 2)] {
			fmt.Fprintf(w, "\n%s: %d × %s\n", l.Server, e.Count, e.Text)
		}
	}
	fmt.Fprintln(w)
}

func (l line) cell(c column) string {
	x, ok := l.Median[c.key]
	if !ok {
		return "–"
	}
	text := fmt.Sprintf(c.format, x)
	if ratio, ok := l.Ratio[c.key]; ok {
		text += fmt.Sprintf(" (%.2f)", ratio)
	}
	return text
}

func (b *bench) others(w *bytes.Buffer) {
	fmt.Fprint(w, "## hosier in other dialects\n\nNew relays as above, 3 rounds.\n\n| dialect | relays/s | CPU µs/relay |\n|---|---:|---:|\n")
	for _, d := range b.dialects {
		l := d.line(0, "hosier")
		fmt.Fprintf(w, "| %s | %s | %s |\n", d.name, l.cell(column{"", "conn_s", "%.0f"}), l.cell(column{"", "cpu_us_conn", "%.1f"}))
	}
	fmt.Fprintln(w)
}

func (b *bench) growthTable(w *bytes.Buffer) {
	fmt.Fprint(w, "## Growth\n\n![cost per relay over the number of relays](growth.svg)\n\nFresh servers, medians of three. "+
		"The forwarder ends where its six files a relay do.\n\n"+
		"| server | relays | memory B/relay | setup CPU µs | CPU µs/message |\n|---|---:|---:|---:|---:|\n")
	for _, name := range []string{"hosier", "microsocks", "forwarder"} {
		for _, p := range b.points(name) {
			fmt.Fprintf(w, "| %s | %.0f | %.0f | %.1f | %.1f |\n", name, p["relays"], p["mem_b_relay"], p["cpu_us_setup"], p["cpu_us_msg"])
		}
	}
	fmt.Fprint(w, "\nA part of the memory is taken once, whatever the number of relays. Each relay beyond the smallest number took")
	for i, name := range []string{"hosier", "microsocks", "forwarder"} {
		fmt.Fprintf(w, "%s %s bytes in %s", map[bool]string{true: "", false: ","}[i == 0], further(b.points(name)), name)
	}
	fmt.Fprint(w, ".\n\n")
}

// further returns the memory of a relay beyond the smallest number of them, in bytes.
func further(points []map[string]float64) string {
	if len(points) < 2 {
		return "unknown"
	}
	first, last := points[0], points[len(points)-1]
	all := func(p map[string]float64) float64 { return p["relays"] * p["mem_b_relay"] }
	return fmt.Sprintf("%.0f", (all(last)-all(first))/(last["relays"]-first["relays"]))
}

// points returns the medians of a server's growth, by the number of relays.
func (b *bench) points(name string) (all []map[string]float64) {
	var sizes []float64
	at := map[float64][]map[string]float64{}
	for _, r := range b.growth {
		for _, v := range r.line(0, name).Rounds {
			n := v["relays"]
			if n == 0 {
				continue
			}
			if at[n] == nil {
				sizes = append(sizes, n)
			}
			at[n] = append(at[n], v)
		}
	}
	slices.Sort(sizes)
	for _, n := range sizes {
		p := map[string]float64{}
		for key := range at[n][0] {
			p[key] = median(each(at[n], key))
		}
		all = append(all, p)
	}
	return all
}

func fact(file, name string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.Join(strings.Fields(value), " ")
		}
	}
	return "unknown"
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	word := strings.Fields(string(text))
	if err != nil || len(word) < 3 {
		return "unknown"
	}
	return strings.Join(word[:3], " ")
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
