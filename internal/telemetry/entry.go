package telemetry

import (
	"fmt"
	"time"

	"hosier/proxy"
	"hosier/socks"
)

// Entry describes a session in words that may be shown; "" where there is nothing to say.
type Entry struct {
	ID       uint64    `json:"id"`
	Start    time.Time `json:"start"`
	End      time.Time `json:"end,omitzero"`    // zero while the connection is open
	Stage    string    `json:"stage,omitempty"` // of an open one: "handshake", "connect" or "relay"
	Listener string    `json:"listener"`
	Client   string    `json:"client"`
	User     string    `json:"user"`
	Dialect  string    `json:"dialect"`
	Command  string    `json:"command"`
	Target   string    `json:"target"`
	Rule     string    `json:"rule"` // file:line of the one that decided
	Egress   string    `json:"egress"`
	Member   string    `json:"member"` // of the egress, such as a tor
	Status   string    `json:"status"` // code and words of the reply
	Reason   string    `json:"reason"` // why it failed, or how it ended if not by both sides
	Up       int64     `json:"up"`     // payload bytes to the target
	Down     int64     `json:"down"`   // payload bytes to the client
}

// Entry puts a session, open or ended, into words for everything that shows one, such as
// the log and the console.
func (d Redactor) Entry(ses *proxy.Session) Entry {
	e := Entry{
		ID: ses.ID, Start: ses.Start, End: ses.End,
		Listener: d.listener(ses), Client: d.Client(ses.Client), User: clean(ses.User, maxName),
		Target: d.Target(ses.Request), Rule: clean(ses.Rule, maxName), Egress: clean(ses.Egress, maxName), Reason: d.Reason(ses),
		Up: ses.Up, Down: ses.Down,
	}
	stage, open := stageOf(ses), ses.End.IsZero()
	if open {
		e.Stage = stages[stage]
	}
	if r := ses.Request; r != nil {
		e.Dialect, e.Command, e.Member = dialect(r), r.Command.String(), clean(r.Member, maxName)
		if !open || stage == relaying {
			e.Status = fmt.Sprintf("%02X %s", byte(ses.Status), ses.Status)
		}
	}
	return e
}

// stages are the names of an open connection's stages.
var stages = [...]string{"handshake", "connect", "relay"}

const relaying = 2

func stageOf(ses *proxy.Session) int {
	switch {
	case ses.Request == nil:
		return 0
	case ses.Connect == 0:
		return 1
	}
	return relaying
}

// dialect returns the name of the dialect of r.
func dialect(r *socks.Request) string {
	switch {
	case r.Version == socks.V4 && r.Addr.Name != "":
		return "SOCKS4A"
	case r.Version == socks.V4:
		return "SOCKS4"
	case r.Version == socks.V5:
		return "SOCKS5"
	}
	return "HTTP"
}
