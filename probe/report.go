package probe

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"hosier/internal/printable"
)

// Report is what a run found.
type Report struct {
	Proxy    string
	Start    time.Time
	Duration time.Duration
	Results  []Result
}

// Count is how many checks of a group, or of all, came to each outcome.
type Count struct {
	Group                            string
	Passed, Failed, Refused, Skipped int
	Musts                            int // of those that failed
	Shoulds                          int // likewise
}

func (c *Count) add(r *Result) {
	switch r.Outcome {
	case Passed:
		c.Passed++
	case Refused:
		c.Refused++
	case Skipped:
		c.Skipped++
	case Failed:
		c.Failed++
		switch r.Check.Severity {
		case Must:
			c.Musts++
		case Should:
			c.Shoulds++
		}
	}
}

// Groups counts by group, in the order of the checks.
func (r *Report) Groups() []Count {
	var groups []Count
	for i := range r.Results {
		name := r.Results[i].Check.Group()
		if len(groups) == 0 || groups[len(groups)-1].Group != name {
			groups = append(groups, Count{Group: name})
		}
		groups[len(groups)-1].add(&r.Results[i])
	}
	return groups
}

// Total counts all.
func (r *Report) Total() Count {
	var total Count
	for i := range r.Results {
		total.add(&r.Results[i])
	}
	return total
}

// Find returns the result of the check of that ID; nil if it was not run.
func (r *Report) Find(id string) *Result {
	i := slices.IndexFunc(r.Results, func(r Result) bool { return r.Check.ID == id })
	if i < 0 {
		return nil
	}
	return &r.Results[i]
}

// jsonResult is a result as JSON has it.
type jsonResult struct {
	ID       string   `json:"id"`
	Group    string   `json:"group"`
	Title    string   `json:"title"`
	Clause   string   `json:"clause"`
	Severity Severity `json:"severity"`
	Why      string   `json:"why"`
	Outcome  Outcome  `json:"outcome"`
	Reason   string   `json:"reason,omitempty"`
	Note     string   `json:"note,omitempty"`
	Seconds  float64  `json:"seconds"`
}

// WriteJSON writes the report as one JSON object.
func (r *Report) WriteJSON(w io.Writer) error {
	out := struct {
		Proxy   string         `json:"proxy"`
		Start   time.Time      `json:"start"`
		Seconds float64        `json:"seconds"`
		Summary map[string]int `json:"summary"`
		Results []jsonResult   `json:"results"`
	}{Proxy: r.Proxy, Start: r.Start.UTC(), Seconds: r.Duration.Seconds(), Results: []jsonResult{}}
	t := r.Total()
	out.Summary = map[string]int{"pass": t.Passed, "fail": t.Failed, "refused": t.Refused, "skip": t.Skipped, "musts": t.Musts}
	for i := range r.Results {
		x := &r.Results[i]
		out.Results = append(out.Results, jsonResult{
			ID: x.Check.ID, Group: x.Check.Group(), Title: x.Check.Title, Clause: x.Check.Clause,
			Severity: x.Check.Severity, Why: x.Check.Why, Outcome: x.Outcome, Reason: x.Reason,
			Note: x.Note, Seconds: x.Duration.Seconds(),
		})
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(out)
}

// The shape of JUnit's XML, as far as CI systems agree on it.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Skipped  int          `xml:"skipped,attr"`
		Time     string       `xml:"time,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class   string     `xml:"classname,attr"`
		Name    string     `xml:"name,attr"`
		Time    string     `xml:"time,attr"`
		Failure *junitText `xml:"failure"`
		Skipped *junitText `xml:"skipped"`
		Out     string     `xml:"system-out,omitempty"`
	}
	junitText struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr,omitempty"`
		Text    string `xml:",chardata"`
	}
)

// WriteJUnit writes the report as JUnit's XML. Only a must that fails is a failure
// there, so that it breaks a build; what else fails is told as output of its case.
func (r *Report) WriteJUnit(w io.Writer) error {
	all := junitSuites{Time: seconds(r.Duration)}
	for i := range r.Results {
		x := &r.Results[i]
		if n := len(all.Suites); n == 0 || all.Suites[n-1].Name != x.Check.Group() {
			all.Suites = append(all.Suites, junitSuite{Name: x.Check.Group()})
		}
		s := &all.Suites[len(all.Suites)-1]
		c := junitCase{Class: "probe." + x.Check.Group(), Name: x.Check.ID, Time: seconds(x.Duration), Out: printable.String(x.Note)}
		switch {
		case x.Outcome == Failed && x.Check.Severity == Must:
			c.Failure = &junitText{printable.String(x.Reason), x.Check.Severity.String(), printable.String(x.Check.Clause + ": " + x.Check.Why)}
			s.Failures++
			all.Failures++
		case x.Outcome == Failed:
			c.Out = printable.String(x.Check.Severity.String() + ": " + x.Reason)
		case x.Outcome == Refused, x.Outcome == Skipped:
			c.Skipped = &junitText{Message: printable.String(x.Outcome.String() + ": " + x.Reason)}
			s.Skipped++
			all.Skipped++
		}
		s.Cases = append(s.Cases, c)
		s.Tests++
		all.Tests++
	}
	b, err := xml.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s%s\n", xml.Header, b)
	return err
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }

// WriteMarkdown writes the report as a summary by group and a table of what failed.
func (r *Report) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "| group | pass | fail | refused | skip |\n|---|---:|---:|---:|---:|\n")
	total := r.Total()
	total.Group = "**all**"
	for _, g := range append(r.Groups(), total) {
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d |\n", g.Group, g.Passed, g.Failed, g.Refused, g.Skipped)
	}
	if total.Failed > 0 {
		fmt.Fprintf(&b, "\n| failed | severity | clause | what was seen | why it matters |\n|---|---|---|---|---|\n")
	}
	for i := range r.Results {
		if x := &r.Results[i]; x.Outcome == Failed {
			fmt.Fprintf(&b, "| %s | %v | %s | %s | %s |\n", x.Check.ID, x.Check.Severity, cell(x.Check.Clause), cell(x.Reason), cell(x.Check.Why))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func cell(s string) string {
	return strings.NewReplacer("|", "\\|", "<", "&lt;", "`", "'").Replace(printable.String(s))
}
