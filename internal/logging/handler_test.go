package logging

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"hosier/internal/printable"
)

// hostile are texts that a terminal obeys, or that change what a line seems to say.
var hostile = []string{
	"\x1b]0;owned\a\x1b[2J", "\u009b31m", "\u0085", "\u202e evil", "\u2066x\u2069", "\u200b", "\u2028line", "a\nb\r",
	"\x7f", "\xff\xfe\x9b", "\U000e0001", "\ufeff", "\x00",
}

// No text reaches the writer with a character that cannot be printed, wherever in a record
// it stands, and a reader of the JSON has it as it was.
func TestHandlerEscapes(t *testing.T) {
	for _, text := range hostile {
		for _, asJSON := range []bool{false, true} {
			var b bytes.Buffer
			log := slog.New(NewHandler(&b, asJSON, slog.LevelInfo))
			log.With("with", text).WithGroup("g").Info(text, "key", text, "error", errors.New(text), "any", []string{text},
				slog.Group("group", "in", text), "k"+text, 1)
			got := b.String()
			for _, r := range strings.TrimSuffix(got, "\n") {
				if !strconv.IsPrint(r) || r == utf8.RuneError && !asJSON {
					t.Errorf("%q: JSON %v: %q in %q", text, asJSON, r, got)
				}
			}
			if strings.Count(got, "\n") != 1 {
				t.Errorf("%q: JSON %v: not one line: %q", text, asJSON, got)
			}
			if !asJSON {
				continue
			}
			var back struct {
				Msg string
				G   struct{ Key string }
			}
			if err := json.Unmarshal(b.Bytes(), &back); err != nil {
				t.Errorf("%q: %v", text, err)
			}
			if want := strings.ToValidUTF8(text, ""); utf8.ValidString(text) && (back.Msg != want || back.G.Key != want) {
				t.Errorf("%q came as %q", text, back)
			}
		}
	}
}

func FuzzEscaper(f *testing.F) {
	for _, text := range hostile {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var b bytes.Buffer
		slog.New(NewHandler(&b, true, slog.LevelInfo)).Info("m", "k", text)
		var back struct{ K string }
		if err := json.Unmarshal(b.Bytes(), &back); err != nil {
			t.Fatalf("%q: %v", b.String(), err)
		}
		if utf8.ValidString(text) && back.K != text {
			t.Fatalf("%q came as %q", text, back.K)
		}
		if again := printable.JSON(b.Bytes()); !bytes.Equal(again, b.Bytes()) {
			t.Fatalf("%q is not printable: %q", b.String(), again)
		}
	})
}

// The notice is a record like others.
func TestNotice(t *testing.T) {
	var got struct {
		Level string
		Lines int
	}
	if err := json.Unmarshal(Notice(true)(7), &got); err != nil || got.Level != "WARN" || got.Lines != 7 {
		t.Errorf("%+v, %v", got, err)
	}
	if text := string(Notice(false)(7)); !strings.HasSuffix(text, "lines=7\n") || !strings.Contains(text, "level=WARN") {
		t.Error(text)
	}
}

// records are what came through a Fold, without their times.
func folded(t *testing.T, log func(*slog.Logger)) []string {
	t.Helper()
	var b bytes.Buffer
	synctest.Test(t, func(*testing.T) {
		f := NewFold(NewHandler(&b, false, slog.LevelInfo))
		log(slog.New(f))
		f.Close()
	})
	var all []string
	for line := range strings.Lines(b.String()) {
		_, line, _ = strings.Cut(line, " level=INFO ")
		all = append(all, strings.TrimSpace(line))
	}
	return all
}

func TestFold(t *testing.T) {
	for name, c := range map[string]struct {
		log  func(*slog.Logger)
		want []string
	}{
		"different ones pass": {func(l *slog.Logger) {
			l.Info("a", "n", 1)
			l.Info("a", "n", 2)
			l.Info("b", "n", 2)
		}, []string{"msg=a n=1", "msg=a n=2", "msg=b n=2"}},
		"equal ones are counted": {func(l *slog.Logger) {
			for range 1000 {
				l.Info("a", "n", 1)
			}
			l.Info("a", "n", 2)
		}, []string{"msg=a n=1", "msg=a n=1 repeated=999", "msg=a n=2"}},
		"whatever stands between": {func(l *slog.Logger) {
			l.Info("a", "n", 1)
			l.Info("b")
			l.Info("a", "n", 1)
		}, []string{"msg=a n=1", "msg=b", "msg=a n=1 repeated=1"}},
		"and told of though nothing follows": {func(l *slog.Logger) {
			l.Info("a")
			l.Info("a")
			time.Sleep(foldTime + time.Second)
			l.Info("b")
		}, []string{"msg=a", "msg=a repeated=1", "msg=b"}},
		"once in a while is not a flood": {func(l *slog.Logger) {
			for range 3 {
				l.Info("a")
				time.Sleep(foldTime + time.Second)
			}
		}, []string{"msg=a", "msg=a", "msg=a"}},
		"what differs by a logger's attributes": {func(l *slog.Logger) {
			l.With("x", 1).Info("a")
			l.With("x", 2).Info("a")
			l.WithGroup("g").Info("a", "x", 1)
		}, []string{"msg=a x=1", "msg=a x=2", "msg=a g.x=1"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := folded(t, c.log); strings.Join(got, "\n") != strings.Join(c.want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

// A peer that has every record differ is bounded, and all records are accounted for.
func TestFoldFlood(t *testing.T) {
	const seconds, rate = 10, 12_000
	lines, accounted := 0, 0
	for _, line := range folded(t, func(l *slog.Logger) {
		for i := range seconds * rate {
			l.Info("tor bootstraps", "phase", i)
			time.Sleep(time.Second / rate)
		}
	}) {
		lines++
		if _, n, ok := strings.Cut(line, "suppressed="); ok {
			left, err := strconv.Atoi(n)
			if err != nil {
				t.Error(err)
			}
			accounted += left
			continue
		}
		accounted++
	}
	if most := 2*(burst+seconds*perSecond) + 1; lines > most {
		t.Errorf("%d lines in %d s, want at most %d", lines, seconds, most)
	}
	if accounted != seconds*rate {
		t.Errorf("%d of %d records are accounted for", accounted, seconds*rate)
	}
}

// There are at most so many kinds of records, though a message be put together.
func TestFoldKinds(t *testing.T) {
	log := slog.New(NewFold(NewHandler(&bytes.Buffer{}, false, slog.LevelInfo)))
	for i := range 10 * maxKinds {
		log.Info(strconv.Itoa(i))
	}
	if n := len(log.Handler().(*Fold).state.kinds); n > maxKinds {
		t.Errorf("%d kinds", n)
	}
}
