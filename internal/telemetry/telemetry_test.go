package telemetry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"go.uber.org/goleak"

	"hosier/internal/printable"
	"hosier/proxy"
	"hosier/resolver"
	"hosier/socks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// text is a logger of lines without times.
func text(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}

func TestLine(t *testing.T) {
	t.Parallel()
	page := &proxy.Session{ID: 8, Client: session().Client, Listener: "127.0.0.1:1080", Err: proxy.ErrPage}
	for _, c := range []struct {
		name   string
		reveal bool
		unsafe bool
		ses    *proxy.Session
		want   string
	}{
		{"redacted", false, true, session(), `id=7 listener=127.0.0.1:1080 client=[scrubbed] user=ann dialect=SOCKS5 command=CONNECT ` +
			`target=[scrubbed] unsafe=true rule=hosier.toml:12 egress=tor member=tor0 status="06 timed out" up=517 down=4096 ` +
			`reason="timed out" handshake_ms=1.5 connect_ms=250 first_byte_ms=42 total_ms=2000`},
		{"revealed", true, false, session(), `id=7 listener=127.0.0.1:1080 client=192.0.2.1:4321 user=ann dialect=SOCKS5 command=CONNECT ` +
			`target=foo.test:443 unsafe=false rule=hosier.toml:12 egress=tor member=tor0 status="06 timed out" up=517 down=4096 ` +
			`reason="CONNECT foo.test:443: context deadline exceeded" handshake_ms=1.5 connect_ms=250 first_byte_ms=42 total_ms=2000`},
		{"no-request", false, false, page, `id=8 listener=127.0.0.1:1080 client=[scrubbed] reason="HTTP client got the page" total_ms=0`},
	} {
		var b bytes.Buffer
		tel := New(Options{Redactor: Redactor{Reveal: c.reveal}, Log: text(&b), Connections: true})
		if c.unsafe {
			tel.Unsafe(c.ses)
		}
		tel.Closed(c.ses)
		if diff := cmp.Diff("level=INFO msg=connection "+c.want+"\n", b.String()); diff != "" {
			t.Errorf("%s: -want +got\n%s", c.name, diff)
		}
		if len(tel.unsafe) > 0 {
			t.Errorf("%s: something is kept of a connection that has ended", c.name)
		}
	}
}

func TestNoLine(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	New(Options{Log: text(&b)}).Closed(session())
	quiet := slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelWarn}))
	New(Options{Log: quiet, Connections: true}).Closed(session())
	if b.Len() > 0 {
		t.Errorf("got %s", &b)
	}
}

// What a client chose cannot end a line, begin another or command a terminal.
func TestHostileText(t *testing.T) {
	t.Parallel()
	for _, evil := range []string{
		"a\nlevel=INFO msg=connection id=1", "a\r\nx", "a\x1b[2Jb", "a\u009bb", "a\u202eb", "a\x00b", "a\xffb", `a" id=1 x="`,
		`a","id":1,"x":"`, "a b=c", "\u2028", strings.Repeat("x", 100_000),
	} {
		ses := session()
		ses.Request.Addr.Name, ses.User, ses.Listener, ses.Rule, ses.Request.Member = evil, evil, evil, evil, evil
		ses.Egress, ses.Err = evil, fmt.Errorf("%s: %w", evil, io.EOF)
		var asText, asJSON bytes.Buffer
		for _, h := range []slog.Handler{slog.NewTextHandler(&asText, nil), slog.NewJSONHandler(&asJSON, nil)} {
			tel := New(Options{Redactor: Redactor{Reveal: true}, Log: slog.New(h), Connections: true})
			tel.Closed(ses)
			tel.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/metrics", nil))
		}
		for _, line := range []string{asText.String(), asJSON.String()} {
			body, ok := strings.CutSuffix(line, "\n")
			if !ok || printable.String(body) != body || len(line) > 8000 {
				t.Errorf("%.40q: %d bytes: %.200q", evil, len(line), line)
			}
		}
		keys := map[string]any{}
		if err := json.Unmarshal(asJSON.Bytes(), &keys); err != nil || keys["id"] != 7.0 {
			t.Errorf("%.40q: %v, %v", evil, err, keys)
		}
		if n := len(regexp.MustCompile(`(^| )id=`).FindAllString(unquoted(asText.String()), -1)); n != 1 {
			t.Errorf("%.40q: %d ids in %s", evil, n, &asText)
		}
	}
}

// unquoted is a line of slog's text without its quoted values.
func unquoted(line string) string {
	return regexp.MustCompile(`"(\\.|[^"\\])*"`).ReplaceAllString(line, "")
}

func TestDecision(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	ses := session()
	tel := New(Options{Log: text(&b)})
	d := tel.Redactor()
	steps := []string{"client " + d.Client(ses.Client), "target " + d.Target(ses.Request) + "\n"}
	tel.Decision(ses, steps)
	want := `level=DEBUG msg=decision id=7 step=1 text="client [scrubbed]"` + "\n" +
		`level=DEBUG msg=decision id=7 step=2 text="target [scrubbed]\\n"` + "\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	quiet := New(Options{Log: slog.New(slog.NewTextHandler(&b, nil))})
	if quiet.Decision(ses, steps); quiet.Traces() || !tel.Traces() || b.String() != want {
		t.Errorf("at another level it logs %s", b.String())
	}
}

// metricsOf returns the lines of hosier's own metrics.
func metricsOf(t *testing.T, tel *Telemetry) []string {
	t.Helper()
	w := httptest.NewRecorder()
	tel.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	var own []string
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "hosier_") && !strings.Contains(line, "_bucket{") && !strings.HasPrefix(line, "hosier_build_info") {
			own = append(own, strings.TrimSpace(line))
		}
	}
	return own
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	tel := New(Options{
		Stages: func() proxy.Stages { return proxy.Stages{Handshake: 1, Connect: 2, Relay: 3} },
		Moved:  func() (up, down int64) { return 1551, 12288 },
		Health: func() []Health {
			return []Health{{"tor", "", true}, {"tor", "tor0", true}, {"tor", "tor1", false}, {"tor", "tor1", true}, {"bad\xff", "", false}}
		},
	})
	tel.Unsafe(session())
	tel.Closed(session())
	tel.Closed(&proxy.Session{ID: 8, Err: proxy.ErrPage})
	strange := session()
	strange.Status, strange.Request.Command, strange.Egress = 0x55, 0x99, "unnamed"
	strange.Request.Version, strange.Request.Addr = socks.V4, socks.Addr{Name: "foo.test"}
	tel.Closed(strange)
	tel.Login(LoginWrong)
	want := []string{
		`hosier_connect_duration_seconds_count{egress="tor"} 1`,
		`hosier_connect_duration_seconds_count{egress="unnamed"} 1`,
		`hosier_connect_duration_seconds_sum{egress="tor"} 0.25`,
		`hosier_connect_duration_seconds_sum{egress="unnamed"} 0.25`,
		`hosier_connections_total{command="CONNECT",dialect="SOCKS5",egress="tor",status="timed out"} 1`,
		`hosier_connections_total{command="none",dialect="none",egress="none",status="none"} 1`,
		`hosier_connections_total{command="other",dialect="SOCKS4A",egress="unnamed",status="other"} 1`,
		`hosier_egress_up{egress="bad\\xff",member=""} 0`,
		`hosier_egress_up{egress="tor",member=""} 1`,
		`hosier_egress_up{egress="tor",member="tor0"} 1`,
		`hosier_egress_up{egress="tor",member="tor1"} 0`,
		`hosier_first_byte_duration_seconds_count{egress="tor"} 1`,
		`hosier_first_byte_duration_seconds_count{egress="unnamed"} 1`,
		`hosier_first_byte_duration_seconds_sum{egress="tor"} 0.042`,
		`hosier_first_byte_duration_seconds_sum{egress="unnamed"} 0.042`,
		`hosier_handshake_duration_seconds_count{dialect="SOCKS4A"} 1`,
		`hosier_handshake_duration_seconds_count{dialect="SOCKS5"} 1`,
		`hosier_handshake_duration_seconds_sum{dialect="SOCKS4A"} 0.0015`,
		`hosier_handshake_duration_seconds_sum{dialect="SOCKS5"} 0.0015`,
		`hosier_logins_total{result="accepted"} 0`,
		`hosier_logins_total{result="busy"} 0`,
		`hosier_logins_total{result="held_off"} 0`,
		`hosier_logins_total{result="wrong"} 1`,
		`hosier_open_connections{stage="connect"} 2`,
		`hosier_open_connections{stage="handshake"} 1`,
		`hosier_open_connections{stage="relay"} 3`,
		`hosier_relayed_bytes_total{direction="down"} 12288`,
		`hosier_relayed_bytes_total{direction="up"} 1551`,
		`hosier_unsafe_requests_total{dialect="SOCKS5"} 1`,
	}
	got := metricsOf(t, tel)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestMetricsLint(t *testing.T) {
	t.Parallel()
	families, err := full().metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(families) < 20 {
		t.Fatal(err, len(families))
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// full is a Telemetry that has something of each metric.
func full() *Telemetry {
	tel := New(Options{
		Version: "v1",
		Stages:  func() proxy.Stages { return proxy.Stages{Relay: 1} },
		Moved:   func() (up, down int64) { return 1, 2 },
		Health:  func() []Health { return []Health{{"tor", "tor0", true}} },
		Names: func() *resolver.Stats {
			return &resolver.Stats{Hits: 1, Servers: []resolver.ServerStats{{Server: resolver.Server{Addr: netip.MustParseAddrPort("192.0.2.53:53")}}}}
		},
	})
	tel.Unsafe(session())
	tel.Closed(session())
	return tel
}

// docs/log.md tells each field and each metric, and none that there is not.
func TestDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/log.md")
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]bool{}
	e := Redactor{}.Entry(session())
	for _, a := range line(nil, session(), &e, true) {
		fields[a.Key] = true
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(fields)), table(t, string(page), "The line of a connection")); diff != "" {
		t.Errorf("fields: -code +docs\n%s", diff)
	}
	if len(fields) > maxFields {
		t.Errorf("%d fields, and room for %d", len(fields), maxFields)
	}

	families, err := full().metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var code []string
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "hosier_") {
			var labels []string
			for _, l := range f.Metric[0].Label {
				labels = append(labels, l.GetName())
			}
			name := f.GetName()
			if len(labels) > 0 {
				name += "{" + strings.Join(labels, ",") + "}"
			}
			code = append(code, name)
		}
	}
	if diff := cmp.Diff(code, table(t, string(page), "Metrics")); diff != "" {
		t.Errorf("metrics: -code +docs\n%s", diff)
	}
}

// table returns what stands in backquotes at the begin of the rows of the first table
// below a heading, sorted.
func table(t *testing.T, page, heading string) []string {
	t.Helper()
	_, rest, ok := strings.Cut(page, "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("docs/log.md has no %q", heading)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	var names []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(rest, -1) {
		names = append(names, row[1])
	}
	slices.Sort(names)
	return names
}

// The most that a connection in order may allocate at its end: none where only numbers are
// kept.
func TestAllocations(t *testing.T) {
	ses := session()
	ses.Status, ses.Err = socks.Succeeded, nil
	for _, c := range []struct {
		name string
		tel  *Telemetry
		most float64
	}{
		{"numbers", New(Options{}), 0},
		{"line", New(Options{Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Connections: true}), 6}, // the pool of slog forgets under -race
	} {
		if got := testing.AllocsPerRun(100, func() { c.tel.Closed(ses) }); got > c.most {
			t.Errorf("%s: %v allocations, at most %v wanted", c.name, got, c.most)
		}
	}
}

func BenchmarkClosed(b *testing.B) {
	ses := session()
	ses.Status, ses.Err = socks.Succeeded, nil
	for _, c := range []struct {
		name string
		tel  *Telemetry
	}{
		{"numbers", New(Options{})},
		{"text", New(Options{Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Connections: true})},
		{"json", New(Options{Log: slog.New(slog.NewJSONHandler(io.Discard, nil)), Connections: true})},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.tel.Closed(ses)
			}
		})
	}
}

// A server's label has nothing that may identify an account, and servers of one label are one:
// two metrics of it would fail all. Without lookups there are no metrics of them.
func TestNamesMetrics(t *testing.T) {
	t.Parallel()
	server := func(text string) resolver.Server {
		s, err := resolver.ParseServer(text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	stats := &resolver.Stats{Hits: 5, Asked: 4, Coalesced: 3, Failures: 2, Entries: 7, Bytes: 900, Servers: []resolver.ServerStats{
		{Server: server("192.0.2.53"), Questions: 9, Answers: 2, Failures: 1, Latency: 3 * time.Second},
		{Server: server("https://192.0.2.54/secret1#secret2.test"), Questions: 1},
		{Server: server("https://192.0.2.54/secret3#secret4.test"), Questions: 2},
	}}
	scrape := func() string {
		tel := New(Options{Names: func() *resolver.Stats { return stats }})
		w := httptest.NewRecorder()
		tel.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		if w.Code != 200 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		return w.Body.String()
	}
	text := scrape()
	for _, want := range []string{
		`hosier_dns_lookups_total{from="cache"} 5`, `hosier_dns_lookups_total{from="question"} 4`, `hosier_dns_lookups_total{from="question_of_another"} 3`,
		`hosier_dns_failures_total 2`, `hosier_dns_cache_entries 7`, `hosier_dns_cache_bytes 900`,
		`hosier_dns_server_questions_total{server="192.0.2.53:53"} 9`, `hosier_dns_server_failures_total{server="192.0.2.53:53"} 1`,
		`hosier_dns_answer_duration_seconds_sum{server="192.0.2.53:53"} 3`, `hosier_dns_answer_duration_seconds_count{server="192.0.2.53:53"} 2`,
		`hosier_dns_server_questions_total{server="https://192.0.2.54:443"} 3`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("there is no %s", want)
		}
	}
	if strings.Contains(text, "secret") {
		t.Error("what identifies an account is shown")
	}
	if stats = nil; strings.Contains(scrape(), "hosier_dns_") {
		t.Error("lookups are counted where there are none")
	}
}
