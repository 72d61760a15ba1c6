package load

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// column is a metric as the table shows it.
type column struct{ key, title string }

// columns returns the metrics of a mode that a table shows; the JSON has all.
func columns(m Mode) []column {
	switch m {
	case Rate:
		return []column{{"conn_s", "relays/s"}, {"cpu_us_conn", "CPU µs/relay"}, {"p50_us", "p50 µs"}, {"p99_us", "p99 µs"}}
	case Down:
		return []column{{"down_gib_s", "GiB/s"}, {"down_cpu_s_gib", "CPU s/GiB"}}
	case Up:
		return []column{{"up_gib_s", "GiB/s"}, {"up_cpu_s_gib", "CPU s/GiB"}}
	case RTT:
		return []column{{"cpu_us_msg", "CPU µs/message"}, {"added_p50_us", "added p50 µs"}, {"p50_us", "p50 µs"}, {"p99_us", "p99 µs"}}
	default:
		return []column{
			{"relays", "relays"},
			{"mem_b_relay", "memory B/relay"},
			{"fd_relay", "files/relay"},
			{"threads", "threads"},
			{"cpu_us_setup", "setup CPU µs"},
			{"cpu_us_msg", "CPU µs/message"},
			{"p50_us", "p50 µs"},
			{"alive", "alive"},
		}
	}
}

// Print writes the report as a table a mode. The number in brackets is the ratio to the
// first line, the one after the stroke that to the second.
func (r *Report) Print(w io.Writer) error {
	var out strings.Builder
	fmt.Fprintf(&out, "%s, %d processors; medians, in brackets the medians of the ratios within a round\n", r.System, r.CPUs)
	for _, t := range r.Modes {
		t.print(&out)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func (t *Table) print(out io.Writer) {
	fmt.Fprintf(out, "\n%s: %s; rounds: %d\n", t.Mode, t.What, t.Rounds)
	cols := columns(t.Mode)
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(tw, "server")
	for _, c := range cols {
		fmt.Fprint(tw, "\t", c.title)
	}
	fmt.Fprintln(tw, "\tfailed")
	for _, l := range t.Lines {
		fmt.Fprint(tw, l.Server)
		for _, c := range cols {
			fmt.Fprint(tw, "\t", l.Cell(c.key))
		}
		fmt.Fprintf(tw, "\t%d\n", l.Failed)
	}
	tw.Flush()
	for _, l := range t.Lines {
		for _, f := range l.Errors[:min(len(l.Errors), 3)] {
			fmt.Fprintf(out, "  %s: %d × %s\n", l.Server, f.Count, f.Text)
		}
	}
}

// Cell words the median of a metric, with its ratios.
func (l *Line) Cell(key string) string {
	x, ok := l.Median[key]
	if !ok {
		return "–"
	}
	cell := digits(x)
	ratio, ok := l.Ratio[key]
	if !ok {
		return cell
	}
	cell += fmt.Sprintf(" (%.2f", ratio)
	if against, ok := l.Against[key]; ok {
		cell += fmt.Sprintf(" / %.2f", against)
	}
	return cell + ")"
}

// digits writes a number with three digits that count, or all of a whole number.
func digits(x float64) string {
	switch {
	case x == float64(int64(x)) || x >= 1000 || x <= -1000:
		return strconv.FormatFloat(x, 'f', 0, 64)
	case x >= 100 || x <= -100:
		return strconv.FormatFloat(x, 'f', 1, 64)
	case x >= 10 || x <= -10:
		return strconv.FormatFloat(x, 'f', 1, 64)
	default:
		return strconv.FormatFloat(x, 'f', 3, 64)
	}
}
