// Package console shows the operator of a running hosier what it does, as pages for a
// browser and as JSON for scripts: what flows, how it went in the last hour, the egresses,
// the rules, who leaks names, what failed, and the configuration in force.
//
// It asks a [Source] for everything. What a Source returns may be shown as it is: whoever
// fills it in has hidden what the operator wants hidden, as in the log.
package console

import (
	"context"
	"time"

	"hosier/egress/tor"
	"hosier/internal/config"
	"hosier/internal/leaks"
	"hosier/internal/rules"
	"hosier/internal/telemetry"
)

// Source is where the console gets what it shows. Its functions may be called by many
// goroutines at once and must not block, but for those that take a context. All are
// required.
type Source struct {
	Status      func() Status
	Connections func() []telemetry.Entry  // those that are open, in no order
	History     func() []telemetry.Minute // the last hour, the oldest first; the last one is not over
	Failures    func() []telemetry.Entry  // the last ones, the latest first
	Egresses    func(context.Context) []Egress
	Names       func() Names
	Rules       func() []rules.Listed // in their order; the default last
	Leaks       func() Leaks
	Config      func() Config

	// End ends the connections with this id, or of this user if id is 0, and returns how
	// many these are.
	End func(id uint64, user string) int

	// Explain returns what would happen to a request. An error says what is wrong with the
	// question, for the person who asked.
	Explain func(Question) (Explanation, error)
}

// Status is how hosier is, in one look.
type Status struct {
	Version   string    `json:"version"`
	Started   time.Time `json:"started"`
	Redacted  bool      `json:"redacted"` // clients and targets are hidden
	Ready     bool      `json:"ready"`    // an egress can serve
	Open      int       `json:"open"`     // connections
	MaxConns  int       `json:"max_conns"`
	Listeners []string  `json:"listeners"` // their addresses
	Up        int64     `json:"up"`        // payload bytes to targets since the start
	Down      int64     `json:"down"`      // payload bytes to clients
}

// Egress is the state of an egress.
type Egress struct {
	Name  string `json:"name"`
	Via   string `json:"via"`  // as configured, without passwords
	Kind  string `json:"kind"` // "direct", "Tor" or "proxy"
	Ready bool   `json:"ready"`
	Open  int    `json:"open"` // connections that use it
	Tors  []Tor  `json:"tors,omitempty"`
}

// Names are the counts of lookups by this host, for its direct egresses.
type Names struct {
	Used      bool         `json:"used"`      // an egress is direct
	Hits      uint64       `json:"hits"`      // lookups answered from the cache
	Asked     uint64       `json:"asked"`     // for which a DNS server was asked
	Coalesced uint64       `json:"coalesced"` // that joined the question of another
	Failures  uint64       `json:"failures"`  // that no DNS server answered
	Entries   int          `json:"entries"`   // cached answers
	Bytes     int          `json:"bytes"`     // that they take, about
	Servers   []NameServer `json:"servers"`   // that have been asked
}

// NameServer is a DNS server.
type NameServer struct {
	Server    string  `json:"server"`
	Questions uint64  `json:"questions"` // messages, repetitions included
	Answers   uint64  `json:"answers"`
	Failures  uint64  `json:"failures"`
	Latency   float64 `json:"latency"` // of an answer on average, in milliseconds
}

// Tor is a member of an egress into Tor.
type Tor struct {
	tor.Status
	Ready        bool          `json:"ready"`
	OpenCircuits []tor.Circuit `json:"open_circuits"`           // nil if they are not known
	MoreCircuits int           `json:"more_circuits,omitempty"` // how many there are beside those
}

// Leaks are the sources of requests that had an address where a name was possible.
type Leaks struct {
	Mode string `json:"mode"` // "allow", "warn", "refuse", or several if listeners differ
	leaks.Counts
	Sources []leaks.Entry `json:"sources"` // the latest first
}

// Config is the configuration in force.
type Config struct {
	File     string           `json:"file"` // "" for the command line alone
	Loaded   time.Time        `json:"loaded"`
	Settings []config.Setting `json:"settings"`
}

// Question is a request that somebody thinks of.
type Question struct {
	URL      string `json:"url"`
	Listener string `json:"listener"`
	Client   string `json:"client"`
	User     string `json:"user"`
}

// Explanation is what would happen to it, in the words of hosier explain.
type Explanation struct {
	Refused bool   `json:"refused"`
	Text    string `json:"text"` // lines
}
