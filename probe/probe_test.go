package probe_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hosier/probe"
	"hosier/socks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// paces are how many times as long as usual probe and script take, the next one where a machine
// was too busy for the one before: what is right or wrong stays so, however slowly.
var paces = []time.Duration{1, 5, 25}

// newScript is a script that nothing is wrong with.
func newScript(base, dns string, pace time.Duration) *script {
	s := &script{dns: dns, idle: pace * 1500 * time.Millisecond, pace: pace}
	switch base {
	case "login":
		s.login = &probe.Login{User: "script", Password: "the right one"}
	case "more":
		s.serves = map[socks.Command]bool{socks.Bind: true, socks.Associate: true}
	}
	return s
}

// against is how a script is probed in tests: with short times.
func against(s *script, dns *probe.DNS) probe.Config {
	return probe.Config{
		Proxy: s.addr, Login: s.login, DNS: dns,
		Timeout: s.pace * 2 * time.Second, Quiet: s.pace * 250 * time.Millisecond,
		Patience: s.pace * 2500 * time.Millisecond, Pace: s.pace * 2 * time.Millisecond,
	}
}

// TestRight shows that a right server passes every check, each on some script, and that
// nothing but a feature that it lacks is refused or skipped.
func TestRight(t *testing.T) {
	t.Parallel()
	passed := make(map[string]bool)
	for _, base := range []string{"plain", "login", "more"} {
		failed := []string(nil) // all, at first
		for _, pace := range paces {
			var again []string
			for _, x := range probeRight(t, base, pace, failed) {
				switch x.Outcome {
				case probe.Passed:
					passed[x.Check.ID] = true
				case probe.Failed:
					t.Logf("%s: %s: %s", base, x.Check.ID, x.Reason)
					again = append(again, x.Check.ID)
				}
			}
			if failed = again; len(failed) == 0 {
				break
			}
		}
		if len(failed) > 0 {
			t.Errorf("%s: a right server fails %q", base, failed)
		}
	}
	for _, c := range probe.Checks() {
		if !passed[c.ID] {
			t.Errorf("%s is passed by no script", c.ID)
		}
	}
}

// probeRight probes a right server by these checks; by all if there are none.
func probeRight(t *testing.T, base string, pace time.Duration, only []string) []probe.Result {
	t.Helper()
	dns := serveDNS(t)
	s := newScript(base, dns.Addr(), pace)
	s.idle = pace * 4 * time.Second // a patient client pauses for two
	startScript(t, s)
	cfg := against(s, dns)
	cfg.Timeout, cfg.Patience, cfg.Only = pace*5*time.Second, pace*8*time.Second, only
	return run(t, cfg).Results
}

// TestMutants shows of each check that there is a server which it catches. Most of them
// wait most of the time, so they run together.
func TestMutants(t *testing.T) {
	t.Parallel()
	all := mutants()
	checks := probe.Checks()
	results := make([]probe.Result, len(checks))
	errs := make([]error, len(checks))
	room := make(chan struct{}, 16)
	var running sync.WaitGroup
	for i, c := range checks {
		m, ok := all[c.ID]
		if !ok {
			continue
		}
		running.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			for _, pace := range paces {
				results[i], errs[i] = tryMutant(m, c, pace)
				if errs[i] != nil || results[i].Outcome == probe.Failed {
					break
				}
			}
		})
	}
	running.Wait()
	for i, c := range checks {
		t.Run(c.ID, func(t *testing.T) {
			if _, ok := all[c.ID]; !ok {
				t.Fatal("the check has no mutant")
			}
			delete(all, c.ID)
			if errs[i] != nil {
				t.Fatal(errs[i])
			}
			if results[i].Outcome != probe.Failed {
				t.Fatalf("the mutant was not caught: %v %s", results[i].Outcome, results[i].Reason)
			}
			t.Logf("caught in %v: %s", results[i].Duration, results[i].Reason)
		})
	}
	for id := range all {
		t.Errorf("mutant %s is of no check", id)
	}
}

func tryMutant(m mutant, c probe.Check, pace time.Duration) (probe.Result, error) {
	dns, err := probe.ListenDNS("127.0.0.1:0")
	if err != nil {
		return probe.Result{}, err
	}
	defer dns.Close()
	s := newScript(m.base, dns.Addr(), pace)
	m.change(s)
	stop, err := s.start()
	if err != nil {
		return probe.Result{}, err
	}
	defer stop()
	cfg := against(s, dns)
	cfg.Only = []string{c.ID}
	r, err := probe.Run(context.Background(), cfg)
	if err != nil {
		return probe.Result{}, err
	}
	return r.Results[0], nil
}

// TestChecks holds the texts of the checks to their form.
func TestChecks(t *testing.T) {
	all := probe.Checks()
	if len(all) < 150 {
		t.Errorf("there are %d checks", len(all))
	}
	seen := make(map[string]bool)
	for _, c := range all {
		switch {
		case seen[c.ID] || c.Group() == c.ID:
			t.Errorf("%s: the ID is not group/name, or stands twice", c.ID)
		case c.Title == "" || c.Clause == "":
			t.Errorf("%s has no title or clause", c.ID)
		case !strings.HasSuffix(c.Why, ".") || strings.Contains(c.Why, ". "):
			t.Errorf("%s: %q is not one sentence", c.ID, c.Why)
		}
		seen[c.ID] = true
	}
	groups := slices.CompactFunc(all, func(a, b probe.Check) bool { return a.Group() == b.Group() })
	named := make(map[string]bool)
	for _, c := range groups {
		if named[c.Group()] {
			t.Errorf("group %s stands in two places", c.Group())
		}
		named[c.Group()] = true
	}
}
