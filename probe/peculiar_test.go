package probe_test

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"hosier/probe"
)

// TestPeculiar shows what is said of servers that differ from the others in one thing: each
// fault counts in the check that is about it, and in no other.
func TestPeculiar(t *testing.T) {
	t.Parallel()
	http := func(part, accept string, change func(*saying)) func(*script) {
		return says("http", func(e *saying) bool {
			return e.req == nil && strings.HasPrefix(e.head, part) && strings.Contains(e.head, accept)
		}, change)
	}
	httpAlone := func(do func(*conv)) func(*script) {
		return func(s *script) {
			s.hello = func(cv *conv) bool {
				first, err := cv.br.Peek(1)
				if err != nil || first[0] >= 'A' && first[0] <= 'Z' {
					return false
				}
				do(cv)
				return true
			}
		}
	}
	for _, p := range []struct {
		name   string
		change func(*script)
		only   []string                 // checks and groups
		want   map[string]probe.Outcome // of some; the others of them do not fail
	}{
		{
			"hangs up on a NUL in a whole name", // as xray does
			func(s *script) {
				s.read = func(cv *conv) {
					if name := nameIn(cv.in); strings.Contains(name, "\x00") {
						cv.c.Close()
					}
				}
			},
			[]string{"garbage"},
			map[string]probe.Outcome{"garbage/name-length": probe.Passed},
		},
		{
			"chooses 00 where 02 alone is offered", // as sing-box does without users
			says("method", offered(2), put(1, 0)),
			[]string{"greeting", "auth", "isolation", "split", "early", "slow/mid-password"},
			map[string]probe.Outcome{
				"auth/offered-alone": probe.Failed, "auth/longest": probe.Skipped, "slow/mid-password": probe.Skipped,
				"greeting/prefers-password": probe.Skipped,
			},
		},
		{
			"cuts failures of SOCKS4 after four bytes", // as sing-box does
			says("reply", both(isV4, failing), cut(4)),
			[]string{"socks4", "socks4a", "bind", "early"},
			map[string]probe.Outcome{
				"socks4/eight-bytes": probe.Failed, "socks4/refused": probe.Passed, "socks4/refused-code": probe.Passed,
				"socks4/refused-closes": probe.Passed, "socks4a/missing": probe.Passed,
			},
		},
		{
			"cuts failures of SOCKS4, which are successes elsewhere",
			says("reply", both(isV4, failing), func(e *saying) { e.b = []byte{0, 0x5A} }),
			[]string{"socks4/refused"},
			map[string]probe.Outcome{"socks4/refused": probe.Failed},
		},
		{
			"hangs up in place of failures of SOCKS4", // as ssh does
			says("reply", both(isV4, failing), drop),
			[]string{"socks4/eight-bytes", "socks4/refused", "socks4/refused-code", "socks4/refused-closes"},
			map[string]probe.Outcome{"socks4/refused-code": probe.Failed},
		},
		{
			"cuts failures of SOCKS5 after two bytes",
			says("reply", both(isV5, failing), cut(2)),
			[]string{"reply", "early", "garbage", "oversized"},
			map[string]probe.Outcome{"reply/whole": probe.Failed, "reply/refused-code": probe.Passed, "reply/closes": probe.Passed},
		},
		{
			"serves HTTP alone, and waits for the end of a line", // as squid does
			httpAlone((*conv).hang),
			[]string{"greeting/answered", "socks4", "auth", "http/data"},
			map[string]probe.Outcome{"greeting/answered": probe.Skipped, "socks4/answered": probe.Skipped, "http/data": probe.Passed},
		},
		{
			"serves HTTP alone, and says so",
			httpAlone(func(cv *conv) { cv.c.Write(httpFailure(400, "")); cv.leave() }),
			[]string{"greeting/answered", "socks4", "auth", "http/data"},
			map[string]probe.Outcome{"greeting/answered": probe.Refused, "socks4/answered": probe.Refused, "http/data": probe.Passed},
		},
		{
			"serves HTTP alone, and hangs up",
			httpAlone(func(*conv) {}),
			[]string{"greeting/answered", "socks4", "http/data"},
			map[string]probe.Outcome{"greeting/answered": probe.Refused, "socks4/answered": probe.Refused},
		},
		{
			"waits on SOCKS5 alone",
			firstByte(5, (*conv).hang),
			[]string{"greeting/answered", "socks4/data"},
			map[string]probe.Outcome{"greeting/answered": probe.Failed, "socks4/data": probe.Passed},
		},
		{
			"has a page that browsers may visit", // as hosier does
			http("GET / ", "text/html", swap("501 Not Implemented", "200 OK")),
			[]string{"page"},
			map[string]probe.Outcome{"page/get": probe.Passed, "page/type": probe.Passed, "page/failure": probe.Passed},
		},
		{
			"sends those who visit elsewhere",
			http("GET / ", "text/html", swap("501 Not Implemented", "302 Found")),
			[]string{"page"},
			map[string]probe.Outcome{"page/get": probe.Failed, "page/type": probe.Failed, "page/proxy-get": probe.Passed},
		},
		{
			"takes its page for the web's",
			http("GET http", "", swap("501 Not Implemented", "200 OK")),
			[]string{"page"},
			map[string]probe.Outcome{"page/proxy-get": probe.Failed, "page/get": probe.Passed},
		},
	} {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			var wrong []string
			for _, pace := range paces {
				if wrong = judged(t, p.change, p.only, p.want, pace); len(wrong) == 0 {
					return
				}
			}
			t.Errorf("%s", strings.Join(wrong, "\n"))
		})
	}
}

// judged probes a script, and returns what is not as it should be.
func judged(t *testing.T, change func(*script), only []string, want map[string]probe.Outcome, pace time.Duration) (wrong []string) {
	t.Helper()
	dns := serveDNS(t)
	s := newScript("plain", dns.Addr(), pace)
	change(s)
	startScript(t, s)
	cfg := against(s, dns)
	cfg.Only = only
	r := run(t, cfg)
	left := maps.Clone(want)
	for _, x := range r.Results {
		outcome, known := want[x.Check.ID]
		delete(left, x.Check.ID)
		if known && x.Outcome != outcome || !known && x.Outcome == probe.Failed {
			wrong = append(wrong, x.Check.ID+": "+x.Outcome.String()+": "+x.Reason)
		}
	}
	return slices.AppendSeq(wrong, maps.Keys(left))
}

// TestUnwantedLogin: a proxy that lets nobody log in cannot be probed with a login.
func TestUnwantedLogin(t *testing.T) {
	t.Parallel()
	s := newScript("plain", "", paces[len(paces)-1])
	says("method", offered(2), put(1, 0))(s)
	startScript(t, s)
	cfg := against(s, nil)
	cfg.Login = &probe.Login{User: "a", Password: "b"}
	if _, err := probe.Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "--user") {
		t.Errorf("error is %v", err)
	}
}

// TestWordsOfTheProxy: what a proxy says stands printable in results, so that whoever writes
// them, in any format, needs no care.
func TestWordsOfTheProxy(t *testing.T) {
	t.Parallel()
	s := newScript("plain", "", paces[len(paces)-1])
	says("http", nil, func(e *saying) {
		e.b = bytes.Replace(e.b, []byte("text/plain; charset=utf-8"), []byte("\x1b[2J\u202e\u2066\u200b evil"), 1)
	})(s)
	startScript(t, s)
	cfg := against(s, nil)
	cfg.Only = []string{"page/type"}
	r := run(t, cfg)
	var b strings.Builder
	for _, write := range []func() error{
		func() error { return r.WriteJSON(&b) }, func() error { return r.WriteJUnit(&b) },
		func() error { return r.WriteMarkdown(&b) }, func() error { return r.Results[0].WriteExchange(&b) },
	} {
		b.Reset()
		if err := write(); err != nil {
			t.Fatal(err)
		}
		if text := b.String(); !strings.Contains(text, "evil") || strings.ContainsAny(text, "\x1b\u202e\u2066\u200b") {
			t.Errorf("%q", text)
		}
	}
}
