package probe

import (
	"fmt"
	"io"
	"strings"

	"hosier/internal/printable"
)

// WriteExchange writes what was said in a check, message by message, each field by name
// and in hex. What the proxy said cannot drive a terminal.
func (r *Result) WriteExchange(w io.Writer) error {
	var b strings.Builder
	for _, m := range r.Records {
		m.write(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (m *Record) write(b *strings.Builder) {
	arrow := "<-"
	if m.Sent {
		arrow = "->"
	}
	fmt.Fprintf(b, "%3d %s %s", m.Conn, arrow, printable.String(m.What))
	if len(m.Parts) > 0 {
		fmt.Fprintf(b, " (%d bytes)", m.Total)
	}
	b.WriteByte('\n')
	shown := 0
	for _, p := range m.Parts {
		p.write(b)
		shown += len(p.Bytes)
	}
	if shown < m.Total {
		fmt.Fprintf(b, "        and %d bytes more\n", m.Total-shown)
	}
}

// write writes 16 bytes a line, and beside them the text, if they are text.
func (p *Part) write(b *strings.Builder) {
	const width = 16
	name := printable.String(p.Name)
	if len(p.Bytes) == 0 {
		fmt.Fprintf(b, "        %-12s (empty)\n", name)
	}
	for at := 0; at < len(p.Bytes); at += width {
		line := p.Bytes[at:min(at+width, len(p.Bytes))]
		row := fmt.Sprintf("        %-12s % x", name, line)
		if isText(p.Bytes) {
			row = fmt.Sprintf("%-*s  %s", 21+3*width-1, row, dotted(line))
		}
		b.WriteString(row + "\n")
		name = ""
	}
}

// isText reports whether bytes are mostly letters, and so worth showing as such.
func isText(b []byte) bool {
	n := 0
	for _, c := range b {
		if c >= ' ' && c < 0x7F || c == '\r' || c == '\n' {
			n++
		}
	}
	return len(b) > 2 && n*10 >= len(b)*9
}

// dotted returns the text of bytes, a dot for each that is no printable ASCII.
func dotted(b []byte) string {
	out := make([]byte, len(b))
	for i, c := range b {
		if out[i] = c; c < ' ' || c >= 0x7F {
			out[i] = '.'
		}
	}
	return string(out)
}
