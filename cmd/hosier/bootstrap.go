package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"

	"hosier/egress/tor"
)

// screen is a terminal with a bar in its last line; what is written goes above it.
type screen struct {
	mu  sync.Mutex
	w   io.Writer
	bar string
}

// Write writes whole lines.
func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bar == "" {
		return s.w.Write(b)
	}
	if _, err := io.WriteString(s.w, clearLine); err != nil {
		return 0, err
	}
	n, err := s.w.Write(b)
	if err == nil {
		_, err = io.WriteString(s.w, s.bar)
	}
	return n, err
}

// show changes the bar; an empty one is none.
func (s *screen) show(bar string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if bar != s.bar {
		io.WriteString(s.w, clearLine+bar) // a terminal that is gone needs no bar
		s.bar = bar
	}
}

// bootstraps shows how far tors have bootstrapped: as a bar on a terminal, else as lines of
// the log. Its method changed is for [tor.Pool.Changed] of every pool.
type bootstraps struct {
	screen *screen // nil where there is no terminal
	log    *slog.Logger

	mu   sync.Mutex
	last map[member]tor.Status
}

// member is a tor of a way out.
type member struct{ egress, name string }

// newBootstraps returns what to write to instead of stderr, and what makes a function for
// [tor.Pool.Changed] once there is a log that writes there.
func newBootstraps(stderr io.Writer) (io.Writer, func(*slog.Logger) func(egress string, s tor.Status)) {
	p := &bootstraps{last: map[member]tor.Status{}}
	if isTerminal(stderr) && os.Getenv("TERM") != "dumb" {
		p.screen = &screen{w: stderr}
		stderr = p.screen
	}
	return stderr, func(log *slog.Logger) func(string, tor.Status) {
		p.log = log
		return p.changed
	}
}

func (p *bootstraps) changed(egress string, s tor.Status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	who := member{egress, s.Name}
	before, known := p.last[who]
	p.last[who] = s
	switch {
	case p.screen != nil:
		p.screen.show(p.bar())
	case s.State == tor.Starting && (!known || s.Bootstrap != before.Bootstrap) && s.Bootstrap > 0:
		p.log.Info("tor bootstraps", "tor", s.Name, "percent", s.Bootstrap, "phase", s.Phase)
	}
}

const barWidth = 30

// bar is for the tor that is farthest behind, empty if none starts.
func (p *bootstraps) bar() string {
	var slowest *tor.Status
	starting := 0
	for _, s := range p.last {
		if s.State != tor.Starting {
			continue
		}
		if starting++; slowest == nil || s.Bootstrap < slowest.Bootstrap || s.Bootstrap == slowest.Bootstrap && s.Name < slowest.Name {
			slowest = &s
		}
	}
	if slowest == nil {
		return ""
	}
	full := slowest.Bootstrap * barWidth / 100
	text := fmt.Sprintf("%s [%s%s] %3d%% %s", slowest.Name, strings.Repeat("#", full), strings.Repeat(".", barWidth-full),
		slowest.Bootstrap, printablePhase(slowest.Phase))
	if starting > 1 {
		text += fmt.Sprintf(" (and %d more)", starting-1)
	}
	return text
}

// printablePhase keeps what a tor said from driving the terminal or filling its line.
func printablePhase(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
	return s[:min(len(s), 40)]
}
