package console

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hosier/internal/debiantest"
)

func TestWords(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) string { return age(now.Add(-d), now) }
	for _, tt := range []struct{ got, want string }{
		{count(0), "0"},
		{count(999), "999"},
		{count(1000), "1,000"},
		{count(-1234567), "-1,234,567"},
		{count(int64(math.MaxInt64)), "9,223,372,036,854,775,807"},
		{size(int64(0)), "0 B"},
		{size(int64(1023)), "1023 B"},
		{size(int64(1024)), "1 KiB"},
		{size(int64(1280)), "1.3 KiB"},
		{size(int64(102300)), "99.9 KiB"},
		{size(int64(1<<20 - 1)), "1 MiB"},
		{size(int64(500 << 20)), "500 MiB"},
		{size(int64(math.MaxInt64)), "8 EiB"},
		{millis(0), "–"},
		{millis(math.NaN()), "–"},
		{millis(-1), "–"},
		{millis(0.001), "0.1 ms"},
		{millis(0.25), "0.3 ms"},
		{millis(99.96), "100 ms"},
		{millis(999.4), "999 ms"},
		{millis(999.6), "1 s"},
		{millis(61500), "61.5 s"},
		{millis(1e6), "1000 s"},
		{ago(0), "0 s"},
		{ago(-time.Hour), "0 s"},
		{ago(59999 * time.Millisecond), "59 s"},
		{ago(time.Minute), "1 min"},
		{ago(3599 * time.Second), "59 min"},
		{ago(time.Hour), "1 h 0 min"},
		{ago(24*time.Hour - 1), "23 h 59 min"},
		{ago(49 * time.Hour), "2 d 1 h"},
		{age(time.Time{}, now), "–"},
		{stamp(time.Time{}), ""},
		{stamp(now.In(time.FixedZone("", 3600))), "2026-03-01T12:00:00Z"},
		{clock(now.In(time.FixedZone("", 3600))), "12:00"},
		{visible("www.example"), "www.example"},
		{visible("a\u202eb\x00\u200b\ufeff"), `a\u202eb\u0000\u200b\ufeff`},
		{visible("\xff"), "\ufffd"},
		{visible("🦊"), "🦊"},
		{lines("a\nb\r\x1b"), "a\nb\\u000d\\u001b"},
		{join([]string{"a", "b\n"}, ", "), `a, b\u000a`},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

// evaluate writes values as the script of the pages does.
const evaluate = `
const input = JSON.parse(require("node:fs").readFileSync(0));
import("data:text/javascript;base64," + input.script).then((w) => process.stdout.write(JSON.stringify({
  sizes: input.numbers.map(w.size), counts: input.numbers.map((n) => w.count(Math.floor(n))), millis: input.numbers.map(w.millis),
  ages: input.numbers.map((n) => w.age(0, n)), texts: input.texts.map(w.visible),
})));
`

// The script writes what the server does.
func TestScriptAgrees(t *testing.T) {
	node := debiantest.Program(t, "node", "nodejs")
	script, err := web.ReadFile("web/words.js")
	if err != nil {
		t.Fatal(err)
	}
	numbers := []float64{0, 0.001, 0.05, 0.25, 1, 9.95, 10, 59, 60, 99.94, 99.95, 99.96, 999, 999.5, 1000, 1023.4, 1023.5, 1024, 1280, 1331.2, 5e4, 102348.8, 102400, 1048524, 1048575, 1e6, 86399999, 86400000, 1e9, 1e12, 1e15}
	for n := 1.0; n < 1e15; n *= 1.37 {
		numbers = append(numbers, n, math.Floor(n))
	}
	texts := append(slices.Clone(evil), "", "plain", "\u2029\u2066x\u2069", "\u007f\u0085")
	for i := range texts {
		texts[i] = string([]rune(texts[i])) // as JSON has it
	}
	input, err := json.Marshal(map[string]any{
		"script": base64.StdEncoding.EncodeToString(script), "numbers": numbers, "texts": texts,
	})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(node, "-e", evaluate)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(input), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	type written struct{ Sizes, Counts, Millis, Ages, Texts []string }
	var got, want written
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	for _, n := range numbers {
		want.Sizes, want.Counts = append(want.Sizes, size(n)), append(want.Counts, count(int64(n)))
		want.Millis, want.Ages = append(want.Millis, millis(n)), append(want.Ages, age(time.UnixMilli(0), time.UnixMilli(0).Add(time.Duration(math.Min(n, 9e12))*time.Millisecond)))
	}
	for i, n := range numbers { // longer than a time.Duration can be
		if n > 9e12 {
			got.Ages[i], want.Ages[i] = "", ""
		}
	}
	for _, s := range texts {
		want.Texts = append(want.Texts, visible(s))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-server +script\n%s", diff)
	}
}
