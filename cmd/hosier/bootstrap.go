package main

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

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
	// In one piece, which is written whole or dropped whole.
	if _, err := io.WriteString(s.w, clearLine+string(b)+s.bar); err != nil {
		return 0, err
	}
	return len(b), nil
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

	redraws *rate.Limiter // of the bar: a control port may say more than anybody can read

	mu   sync.Mutex
	last map[member]tor.Status
	next map[member]time.Time // before which no line is logged
}

// bootstrapPause is between two lines of one tor.
const bootstrapPause = time.Second

// member is a tor of an egress.
type member struct{ egress, name string }

// newBootstraps shows on out if that is a screen, and in the log otherwise.
func newBootstraps(out io.Writer, log *slog.Logger) *bootstraps {
	p := &bootstraps{log: log, last: map[member]tor.Status{}, next: map[member]time.Time{}, redraws: rate.NewLimiter(20, 20)}
	p.screen, _ = out.(*screen)
	return p
}

func (p *bootstraps) changed(egress string, s tor.Status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	who := member{egress, s.Name}
	before, known := p.last[who]
	p.last[who] = s
	switch {
	case p.screen != nil:
		if bar := p.bar(); bar == "" || p.redraws.Allow() {
			p.screen.show(bar)
		}
	case s.State == tor.Starting && (!known || s.Bootstrap != before.Bootstrap) && s.Bootstrap > 0:
		p.report(who)
	}
}

// report logs how far a tor is, now or, if there was a line within bootstrapPause, after it,
// when what counts is how far it is then. p.mu is held.
func (p *bootstraps) report(who member) {
	now := time.Now()
	wait := p.next[who].Sub(now)
	if wait <= 0 {
		p.next[who] = now.Add(bootstrapPause)
		p.line(who)
		return
	}
	if wait > bootstrapPause { // a line is due already
		return
	}
	p.next[who] = p.next[who].Add(bootstrapPause)
	time.AfterFunc(wait, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.last[who].State == tor.Starting {
			p.line(who)
		}
	})
}

// line logs how far a tor is. p.mu is held.
func (p *bootstraps) line(who member) {
	s := p.last[who]
	p.log.Info("tor bootstraps", "tor", s.Name, "percent", s.Bootstrap, "phase", s.Phase)
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
		slowest.Bootstrap, firstRunes(slowest.Phase, 40))
	if starting > 1 {
		text += fmt.Sprintf(" (and %d more)", starting-1)
	}
	return text
}

// firstRunes keeps text from filling its line.
func firstRunes(s string, most int) string {
	runes := []rune(s)
	return string(runes[:min(len(runes), most)])
}
