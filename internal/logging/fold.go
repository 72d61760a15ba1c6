package logging

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// foldTime is how long equal records count as one.
	foldTime = 10 * time.Second

	// Of records with one message that differ, so many come at once, and so many a second.
	burst     = 100
	perSecond = 5

	maxKinds = 128
)

// Fold is a [slog.Handler] that bounds what one cause can write, such as a peer that has it
// log the same again and again. Of equal records in a row with one message the first is
// passed on at once, and then, every 10 seconds, one for all others, with the attribute
// "repeated". Of records with one message that differ 100 are passed on, and then 5 a second;
// one in their place has the number of those that were left out as "suppressed".
//
// It is for records about events of hosier's own. It is not for those that somebody counts.
type Fold struct {
	next  slog.Handler
	scope string // the attributes and groups that next has
	state *foldState
}

type foldState struct {
	mu    sync.Mutex
	kinds map[string]*kind
	timer *time.Timer // nil while nothing is held back
}

// kind is the records with one level, message and scope.
type kind struct {
	next       slog.Handler
	last       slog.Record // that was passed on
	text       string      // of its attributes
	began      time.Time   // when it was first passed on, or last counted
	repeated   uint64
	suppressed uint64
	skipped    slog.Record // the last one that was left out
	limit      *rate.Limiter
}

// NewFold returns a Fold in front of next. Close ends it.
func NewFold(next slog.Handler) *Fold {
	return &Fold{next: next, state: &foldState{kinds: map[string]*kind{}}}
}

// Enabled reports what next does.
func (f *Fold) Enabled(ctx context.Context, l slog.Level) bool { return f.next.Enabled(ctx, l) }

// WithAttrs returns a Fold that shares its bounds with f.
func (f *Fold) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &Fold{f.next.WithAttrs(attrs), f.scope + attrsText(attrs...), f.state}
}

// WithGroup returns a Fold that shares its bounds with f.
func (f *Fold) WithGroup(name string) slog.Handler {
	return &Fold{f.next.WithGroup(name), f.scope + name + "\x00", f.state}
}

// Handle passes r on, or counts it.
func (f *Fold) Handle(ctx context.Context, r slog.Record) error {
	var text strings.Builder
	r.Attrs(func(a slog.Attr) bool {
		text.WriteString(attrsText(a))
		return true
	})
	s := f.state
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.kind(f, r)
	now := time.Now()
	if k.text == text.String() && !k.began.IsZero() && now.Sub(k.began) < foldTime {
		k.repeated++
		k.last.Time = r.Time
		s.holdBack()
		return nil
	}
	if !k.limit.AllowN(now, 1) {
		k.suppressed++
		k.skipped = r.Clone()
		s.holdBack()
		return nil
	}
	k.report()
	k.last, k.text, k.began = r.Clone(), text.String(), now
	return k.next.Handle(ctx, r)
}

// kind returns that of r. s.mu is held.
func (s *foldState) kind(f *Fold, r slog.Record) *kind {
	key := r.Level.String() + "\x00" + r.Message + "\x00" + f.scope
	if k := s.kinds[key]; k != nil {
		return k
	}
	if len(s.kinds) >= maxKinds { // messages are words of the program's, and it has fewer
		s.reportAll()
		clear(s.kinds)
	}
	k := &kind{next: f.next, limit: rate.NewLimiter(perSecond, burst)}
	s.kinds[key] = k
	return k
}

// holdBack sees to it that what is counted is reported though nothing follows. s.mu is held.
func (s *foldState) holdBack() {
	if s.timer == nil {
		s.timer = time.AfterFunc(foldTime, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.timer = nil
			s.reportAll()
		})
	}
}

func (s *foldState) reportAll() {
	for _, k := range s.kinds {
		k.report()
	}
}

// report passes on what was counted.
func (k *kind) report() {
	ctx := context.Background()
	if k.repeated > 0 {
		r := k.last.Clone()
		r.AddAttrs(slog.Uint64("repeated", k.repeated))
		k.repeated, k.began = 0, time.Now()
		k.next.Handle(ctx, r) // into a queue, which does not fail
	}
	if k.suppressed > 0 {
		r := k.skipped
		r.AddAttrs(slog.Uint64("suppressed", k.suppressed))
		k.suppressed, k.skipped = 0, slog.Record{}
		k.next.Handle(ctx, r)
	}
}

// Close passes on what was counted. Later records are passed on as before, but what is
// counted then may be lost.
func (f *Fold) Close() {
	s := f.state
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	s.reportAll()
}

func attrsText(attrs ...slog.Attr) string {
	var b strings.Builder
	for _, a := range attrs {
		b.WriteString(a.Key)
		b.WriteByte('=')
		b.WriteString(a.Value.Resolve().String())
		b.WriteByte(0)
	}
	return b.String()
}
