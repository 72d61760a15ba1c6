// Package console shows the operator of a running hosier what it does, as pages for a
// browser and as JSON for scripts: what flows, how it went in the last hour, the ways out,
// the rules, who leaks names, what failed, and the configuration in force.
//
// It asks a [Source] for everything. What a Source returns may be shown as it is: whoever
// fills it in has hidden what the operator wants hidden, as in the log.
package console

import (
	"context"
	"time"
)

// Source is where the console gets what it shows. Its functions may be called by many
// goroutines at once and must not block, but for those that take a context. All are
// required.
type Source struct {
	Status      func() Status
	Connections func() []Connection // those that are open, in no order
	History     func() []Minute     // the last hour, the oldest first; the last one is not over
	Failures    func() []Failure    // the last ones, the latest first
	Egresses    func(context.Context) []Egress
	Rules       func() []Rule // in their order; the default last
	Leaks       func() Leaks
	Config      func() Config

	// End ends the connections with this id, or of this user if id is 0, and returns how
	// many these are.
	End func(id uint64, user string) int

	// Explain tells what would happen to a request. An error says what is wrong with the
	// question, for the person who asked.
	Explain func(Question) (Explanation, error)
}

// Status is how hosier is, in one look.
type Status struct {
	Version   string    `json:"version"`
	Started   time.Time `json:"started"`
	Redacted  bool      `json:"redacted"` // clients and targets are hidden
	Ready     bool      `json:"ready"`    // a way out can serve
	Open      int       `json:"open"`     // connections
	MaxConns  int       `json:"max_conns"`
	Listeners []string  `json:"listeners"` // their addresses
	Up        int64     `json:"up"`        // payload bytes to targets since the start
	Down      int64     `json:"down"`      // payload bytes to clients
}

// Connection is one that is open. Texts that are not known are "".
type Connection struct {
	ID       uint64    `json:"id"`
	Stage    string    `json:"stage"` // "handshake", "connect" or "relay"
	Start    time.Time `json:"start"`
	Listener string    `json:"listener"`
	Client   string    `json:"client"`
	User     string    `json:"user"`
	Dialect  string    `json:"dialect"`
	Command  string    `json:"command"`
	Target   string    `json:"target"`
	Rule     string    `json:"rule"`
	Egress   string    `json:"egress"`
	Member   string    `json:"member"` // of the way out, such as a tor
	Up       int64     `json:"up"`
	Down     int64     `json:"down"`
}

// Minute is what happened in one minute. Durations are those of connections that ended in
// it, as quantiles; 0 if there were none.
type Minute struct {
	At          time.Time `json:"at"`          // its begin
	Connections int       `json:"connections"` // that ended
	Failed      int       `json:"failed"`      // of these, requests that were refused or failed
	Up          int64     `json:"up"`          // bytes that moved, of open connections too
	Down        int64     `json:"down"`
	Handshake   Quantiles `json:"handshake"`
	Connect     Quantiles `json:"connect"`
	FirstByte   Quantiles `json:"first_byte"`
}

// Quantiles are durations in milliseconds.
type Quantiles struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
}

// Failure is a connection that was refused, failed, or was cut short.
type Failure struct {
	ID       uint64    `json:"id"`
	At       time.Time `json:"at"`
	Listener string    `json:"listener"`
	Client   string    `json:"client"`
	User     string    `json:"user"`
	Dialect  string    `json:"dialect"`
	Command  string    `json:"command"`
	Target   string    `json:"target"`
	Rule     string    `json:"rule"`
	Egress   string    `json:"egress"`
	Status   string    `json:"status"` // what the client was told; "" without a request
	Reason   string    `json:"reason"`
}

// Egress is a way out.
type Egress struct {
	Name  string `json:"name"`
	Via   string `json:"via"`  // as configured, without passwords
	Kind  string `json:"kind"` // "direct", "Tor" or "proxy"
	Ready bool   `json:"ready"`
	Open  int    `json:"open"` // connections that use it
	Tors  []Tor  `json:"tors,omitempty"`
}

// Tor is a member of a way out into Tor.
type Tor struct {
	Name      string    `json:"name"`
	State     string    `json:"state"`
	Ready     bool      `json:"ready"`
	Version   string    `json:"version,omitempty"`
	Bootstrap int       `json:"bootstrap"` // percent; -1 if unknown
	Phase     string    `json:"phase,omitempty"`
	Streams   int       `json:"streams"`                 // open at that tor; -1 if unknown
	Circuits  []Circuit `json:"circuits"`                // nil if unknown
	More      int       `json:"more_circuits,omitempty"` // beside those
	Error     string    `json:"error,omitempty"`
	ErrorTime time.Time `json:"error_time,omitzero"`
}

// Circuit is one of a tor.
type Circuit struct {
	ID      string   `json:"id"`
	State   string   `json:"state"`   // "LAUNCHED", "BUILT", "EXTENDED", …, in tor's words
	Purpose string   `json:"purpose"` // likewise
	Path    []string `json:"path"`    // nicknames of relays, or fingerprints where there is none
}

// Rule is one, with how often it decided since the configuration came into force.
type Rule struct {
	At   string   `json:"at"`   // file:line
	If   []string `json:"if"`   // what it matches, a text each; empty for everything
	Then string   `json:"then"` // "via a, then b", or "refuse: reason"
	Hits uint64   `json:"hits"`
	Is   string   `json:"is"` // "rule" or "default"
}

// Leaks lists the programs and clients that sent addresses where names were possible.
type Leaks struct {
	Mode     string `json:"mode"` // "allow", "warn", "refuse", or several if listeners differ
	Unsafe   uint64 `json:"unsafe"`
	Refused  uint64 `json:"refused"`
	Private  uint64 `json:"private"`
	Answered uint64 `json:"answered"`
	Sources  []Leak `json:"sources"` // the latest first
}

// Leak is one of them: a program of this host, or a client on another host.
type Leak struct {
	Program string    `json:"program"`
	PID     int       `json:"pid,omitempty"`
	Client  string    `json:"client"`
	Unsafe  uint64    `json:"unsafe"`
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
	Fix     string    `json:"fix"`
}

// Config is the configuration in force.
type Config struct {
	File     string    `json:"file"` // "" for the command line alone
	Loaded   time.Time `json:"loaded"`
	Settings []Setting `json:"settings"`
}

// Setting is one key of the configuration, also one that the file does not have.
type Setting struct {
	Key   string `json:"key"`   // as hosier.toml(5) has it: "listener.lan.users"
	Value string `json:"value"` // without passwords
	At    string `json:"at"`    // file:line, or the flag; "" for a default
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
