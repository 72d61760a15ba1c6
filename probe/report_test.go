package probe_test

import (
	"encoding/json"
	"encoding/xml"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hosier/probe"
)

// odd is a report with one result of each outcome, and with what a proxy could use to
// break a format.
func odd() *probe.Report {
	check := func(id string, s probe.Severity) probe.Check {
		return probe.Check{ID: id, Title: "title", Clause: "RFC 1928 s.3", Severity: s, Why: "It | matters <b>."}
	}
	return &probe.Report{
		Proxy: "127.0.0.1:1080", Duration: 1500 * time.Millisecond,
		Results: []probe.Result{
			{Check: check("greeting/a", probe.Must)},
			{Check: check("greeting/b", probe.Must), Outcome: probe.Failed, Reason: "it said \x1b[31m|\xff]]>\n"},
			{Check: check("auth/c", probe.Should), Outcome: probe.Failed, Reason: "slow"},
			{Check: check("auth/d", probe.Hint), Outcome: probe.Refused, Reason: "code 07"},
			{Check: check("auth/e", probe.Must), Outcome: probe.Skipped, Reason: "no --name", Note: "n"},
		},
	}
}

func TestCounts(t *testing.T) {
	want := []probe.Count{
		{Group: "greeting", Passed: 1, Failed: 1, Musts: 1},
		{Group: "auth", Failed: 1, Refused: 1, Skipped: 1, Shoulds: 1},
	}
	if diff := cmp.Diff(want, odd().Groups()); diff != "" {
		t.Error(diff)
	}
}

func TestWriteJSON(t *testing.T) {
	var b strings.Builder
	if err := odd().WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Proxy   string
		Seconds float64
		Summary map[string]int
		Results []struct{ ID, Group, Severity, Outcome, Reason, Why string }
	}
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int{"pass": 1, "fail": 2, "refused": 1, "skip": 1, "musts": 1}, got.Summary); diff != "" {
		t.Error(diff)
	}
	if x := got.Results[2]; x.ID != "auth/c" || x.Group != "auth" || x.Severity != "should" || x.Outcome != "fail" || x.Reason != "slow" {
		t.Errorf("result is %+v", x)
	}
}

func TestWriteJUnit(t *testing.T) {
	var b strings.Builder
	if err := odd().WriteJUnit(&b); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Skipped  int `xml:"skipped,attr"`
		Suites   []struct {
			Name  string `xml:"name,attr"`
			Cases []struct {
				Name    string    `xml:"name,attr"`
				Failure *struct{} `xml:"failure"`
				Skipped *struct{} `xml:"skipped"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal([]byte(b.String()), &got); err != nil {
		t.Fatalf("%v:\n%s", err, b.String())
	}
	if got.Tests != 5 || got.Failures != 1 || got.Skipped != 2 || len(got.Suites) != 2 {
		t.Errorf("read back: %+v", got)
	}
	// A should that fails breaks no build.
	if c := got.Suites[1].Cases[0]; c.Name != "auth/c" || c.Failure != nil {
		t.Errorf("case is %+v", c)
	}
}

func TestWriteMarkdown(t *testing.T) {
	var b strings.Builder
	if err := odd().WriteMarkdown(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| greeting | 1 | 1 | 0 | 0 |\n", "| **all** | 1 | 2 | 1 | 1 |\n", `it said \x1b[31m\|`, "&lt;b>"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "\x1b") {
		t.Error("a control character came through")
	}
}

func TestSelect(t *testing.T) {
	count := func(p probe.Profile, only ...string) int {
		checks, err := probe.Select(p, only)
		if err != nil {
			t.Fatal(err)
		}
		return len(checks)
	}
	all, rfc, tor := count(probe.All), count(probe.RFC1928), count(probe.Tor)
	if all != len(probe.Checks()) || rfc >= all || tor >= all || rfc < 100 || tor < 150 {
		t.Errorf("all has %d checks, rfc1928 %d, tor %d", all, rfc, tor)
	}
	if n := count(probe.RFC1928, "socks4"); n != 0 {
		t.Errorf("profile rfc1928 has %d checks of SOCKS4", n)
	}
	if _, err := probe.ParseProfile("rfc1929"); err == nil {
		t.Error("profile rfc1929 was accepted")
	}
}
