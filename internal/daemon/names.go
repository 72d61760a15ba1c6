package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"hosier/internal/config"
	"hosier/internal/console"
	"hosier/internal/rules"
	"hosier/internal/via"
	"hosier/resolver"
)

// LookupTimeout is how long a question about a name may take.
const LookupTimeout = 15 * time.Second

// NameReport is what a direct egress knows of a name, or of an address.
type NameReport struct {
	Name    string       `json:"name"`
	Answers []NameAnswer `json:"answers"` // of A and AAAA, or of PTR
}

// NameAnswer is what is known of one type of records.
type NameAnswer struct {
	Type   string   `json:"type"`
	Values []string `json:"values"`          // addresses, or names
	TTL    int      `json:"ttl"`             // seconds for which it holds
	From   string   `json:"from,omitempty"`  // the DNS server, or "hosts file" and the like
	Cached bool     `json:"cached"`          // nobody was asked for it now
	Error  string   `json:"error,omitempty"` // why there are no values
}

// Flushed is the answer to POST /resolve/flush.
type Flushed struct {
	Flushed int `json:"flushed"` // answers that were forgotten
}

// errNoDirect keeps names from being asked for here where they are asked for elsewhere.
var errNoDirect = errors.New("no egress is direct, so names are looked up beyond the egresses, and never here")

// serveNames has GET /resolve and POST /resolve/flush answered.
func (d *Daemon) serveNames(handle func(pattern string, h http.Handler)) {
	handle("GET /resolve", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), LookupTimeout)
		defer cancel()
		report, err := d.lookUp(ctx, r.URL.Query().Get("name"))
		switch {
		case errors.Is(err, errNoDirect):
			http.Error(w, err.Error(), http.StatusConflict)
		case err != nil:
			http.Error(w, err.Error(), http.StatusBadRequest)
		default:
			writeJSON(w, report)
		}
	}))
	handle("POST /resolve/flush", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := d.current.Load().resolver.Flush()
		d.every.Info("the operator flushed the cached answers of DNS servers", "answers", n)
		writeJSON(w, Flushed{n})
	}))
}

func writeJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(value) // the client sees it if it fails
}

// lookUp asks as a client does of a listener whose clients share cached answers. Those that
// belong to users or clients are not looked at: they show what these asked for.
func (d *Daemon) lookUp(ctx context.Context, text string) (NameReport, error) {
	g := d.current.Load()
	if !g.isDirect() {
		return NameReport{}, errNoDirect
	}
	target, err := via.ParseHost(text)
	if err != nil {
		return NameReport{}, fmt.Errorf("name=%q is neither a name nor an address: %w", text, err)
	}
	report := NameReport{Name: target.Host()}
	v := g.resolver.For("")
	if target.IP.IsValid() {
		report.Answers = ask(ctx, func(done func(NameAnswer)) {
			v.AskNames(target.IP, func(a resolver.Answer, err error) { done(answerOf("PTR", a, err)) })
		})
		return report, nil
	}
	var asks []func(func(NameAnswer))
	for typ, word := range map[resolver.Type]string{resolver.A: "A", resolver.AAAA: "AAAA"} {
		asks = append(asks, func(done func(NameAnswer)) {
			v.Ask(target.Name, typ, func(a resolver.Answer, err error) { done(answerOf(word, a, err)) })
		})
	}
	report.Answers = ask(ctx, asks...)
	slices.SortFunc(report.Answers, func(a, b NameAnswer) int { return len(a.Type) - len(b.Type) })
	return report, nil
}

// ask begins all lookups at once, and returns what has come when ctx ends.
func ask(ctx context.Context, lookups ...func(done func(NameAnswer))) (all []NameAnswer) {
	ch := make(chan NameAnswer, len(lookups))
	for _, begin := range lookups {
		begin(func(a NameAnswer) { ch <- a })
	}
	for range lookups {
		select {
		case a := <-ch:
			all = append(all, a)
		case <-ctx.Done():
			return all
		}
	}
	return all
}

func answerOf(typ string, a resolver.Answer, err error) NameAnswer {
	n := NameAnswer{Type: typ, Values: []string{}, TTL: int((a.TTL + time.Second/2) / time.Second), From: a.Server, Cached: a.Cached}
	for _, ip := range a.Addrs {
		n.Values = append(n.Values, ip.String())
	}
	n.Values = append(n.Values, a.Names...)
	if err != nil {
		n.Error = err.Error()
	}
	return n
}

// isDirect reports whether one of the egresses is this host, which looks names up here.
func (g *generation) isDirect() bool {
	return slices.ContainsFunc(g.config.Egresses, func(e config.Egress) bool { return e.Via.Kind() == rules.Direct })
}

// nameStats are the counts of lookups here; nil if there are none.
func (d *Daemon) nameStats() *resolver.Stats {
	g := d.current.Load()
	if g == nil || !g.isDirect() {
		return nil
	}
	s := g.resolver.Stats()
	return &s
}

// consoleNames are the counts of lookups, for the console.
func (d *Daemon) consoleNames() console.Names {
	s := d.nameStats()
	if s == nil {
		return console.Names{}
	}
	n := console.Names{Used: true, Hits: s.Hits, Asked: s.Asked, Coalesced: s.Coalesced, Failures: s.Failures, Entries: s.Entries, Bytes: s.Bytes}
	for _, one := range s.Servers {
		server := console.NameServer{Server: one.Server.String(), Questions: one.Questions, Answers: one.Answers, Failures: one.Failures}
		if one.Answers > 0 {
			server.Latency = one.Latency.Seconds() * 1000 / float64(one.Answers)
		}
		n.Servers = append(n.Servers, server)
	}
	return n
}
