package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"hosier/socks"
)

// Each step is a request: its host, what becomes of it, and whether it is the proxy's
// failure.
func TestSilence(t *testing.T) {
	type step struct {
		host  string
		ends  string // missed, left early, left late, answered, refused, hung up, down, not said
		fails bool
	}
	missed := func(host string, fails bool) step { return step{host, "missed", fails} }
	for name, c := range map[string]struct {
		greeted bool
		steps   []step
	}{
		"three hosts, greeted":           {true, []step{missed("a", false), missed("b", false), missed("c", true)}},
		"the same host, greeted":         {true, []step{missed("a", false), missed("a", false), missed("a", false), missed("a", false)}},
		"the same host, silent":          {false, []step{missed("a", false), missed("a", false), missed("a", true)}},
		"it stays so":                    {false, []step{missed("a", false), missed("a", false), missed("a", true), missed("a", true)}},
		"an answer between":              {false, []step{missed("a", false), missed("a", false), {"b", "answered", false}, missed("a", false), missed("a", false), missed("a", true)}},
		"a refusal between":              {false, []step{missed("a", false), missed("a", false), {"b", "refused", false}, missed("a", false)}},
		"a refusal afterwards":           {false, []step{missed("a", false), missed("a", false), missed("a", true), {"a", "refused", false}, missed("a", false)}},
		"hung up between":                {false, []step{missed("a", false), missed("a", false), {"b", "hung up", false}, missed("a", false)}},
		"away between":                   {false, []step{missed("a", false), missed("a", false), {"b", "down", false}, missed("a", true)}},
		"what cannot be said between":    {false, []step{missed("a", false), missed("a", false), {"b", "not said", false}, missed("a", true)}},
		"clients that do not wait":       {false, []step{{"a", "left early", false}, {"b", "left early", false}, {"c", "left early", false}, missed("a", false)}},
		"clients that wait, then do not": {false, []step{{"a", "left late", false}, {"b", "left late", false}, {"c", "left late", false}, missed("a", true)}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s silence
				suspect := false
				for i, step := range c.steps {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					began := time.Now()
					r := &socks.Request{Command: socks.Connect, Addr: socks.Addr{Name: step.host, Port: 80}}
					err := s.watch(ctx, "proxy", r, c.greeted, outcome(step.ends, cancel))
					cancel()
					if isBroken(err) != (step.fails || step.ends == "hung up" || step.ends == "down") {
						t.Errorf("request %d: %v", i, err)
					}
					if step.ends == "missed" && !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("request %d: %v, want the deadline", i, err)
					}
					limit := time.Minute
					if suspect {
						limit = proxyTimeout
					}
					if took := time.Since(began); step.ends == "missed" && took != limit {
						t.Errorf("request %d took %v, want %v", i, took, limit)
					}
					suspect = s.suspect()
				}
			})
		})
	}
}

// outcome is what a proxy makes of a request.
func outcome(ends string, leave context.CancelFunc) func(context.Context) error {
	return func(ctx context.Context) error {
		switch ends {
		case "left early":
			time.AfterFunc(time.Second, leave)
		case "left late":
			time.AfterFunc(proxyTimeout, leave)
		case "answered":
			return nil
		case "refused":
			return fmt.Errorf("CONNECT: %w", socks.ConnectionRefused)
		case "hung up":
			return &socks.ProxyError{Proxy: "proxy", Err: io.ErrUnexpectedEOF, Asked: true}
		case "down":
			return &socks.ProxyError{Proxy: "proxy", Err: errors.New("refused")}
		case "not said":
			return &socks.FormatError{Status: socks.GeneralFailure}
		}
		<-ctx.Done()
		return fmt.Errorf("CONNECT: %w", ctx.Err())
	}
}
