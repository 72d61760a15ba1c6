package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"hosier/egress/tor"
	"hosier/internal/daemon"
	"hosier/internal/printable"
	"hosier/probe"
)

// evil is what drives a terminal, or reorders what it shows.
const evil = "\x1b]0;owned\a\x1b[2J\u009b31m\u202e\u2066\u200b\x7f evil"

// wantPrintable fails if text holds evil in a form that a terminal obeys, or not at all.
func wantPrintable(t *testing.T, what, text string) {
	t.Helper()
	if !strings.Contains(text, "evil") || text != printable.Lines(text) {
		t.Errorf("%s: %q", what, text)
	}
}

// What others say is printed, in any form, so that no terminal obeys it.
func TestPrintedIsPrintable(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	status := report{daemon.Report{Tor: []tor.Status{{Name: evil, Error: evil, Phase: evil, Version: evil}}}}
	for _, asJSON := range []bool{false, true} {
		b.Reset()
		if err := status.print(&b, asJSON); err != nil {
			t.Fatal(err)
		}
		wantPrintable(t, "status", b.String())
	}
	var back daemon.Report
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || back.Tor[0].Error != evil {
		t.Errorf("status --json: %v, %q", err, back.Tor[0].Error)
	}
	r := &probe.Report{Results: []probe.Result{
		{Check: probe.Check{ID: "a/b"}, Outcome: probe.Failed, Reason: evil, Note: evil},
		{Check: probe.Check{ID: "a/c"}, Outcome: probe.Skipped, Reason: evil},
	}}
	for _, verbose := range []bool{false, true} {
		b.Reset()
		if err := writeProbeTable(&b, r, verbose, false); err != nil {
			t.Fatal(err)
		}
		wantPrintable(t, "probe", b.String())
	}
	_, _, stderr := runInside(t.Context(), "resolve", "--proxy", "unix:/no/"+evil, "www.example")
	wantPrintable(t, "an error", stderr)
}
