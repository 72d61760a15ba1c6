package tor

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

const (
	maxCircuits = 256 // of a member that are told
	maxHops     = 16
	fingerprint = 40 // hex digits
)

// Circuits are those of a member.
type Circuits struct {
	Name string    // of the member
	Open []Circuit // in tor's order, at most 256; nil if they are not known
	More int       // how many there are beside those
	Err  error     // why some or all are not known; nil also for a member without a control port
}

// Circuit is a way through the Tor network. Nothing of it says who uses it, or for what target.
type Circuit struct {
	ID         string   `json:"id"`
	State      string   `json:"state"`                 // in tor's words: LAUNCHED, BUILT, GUARD_WAIT, EXTENDED, FAILED or CLOSED
	Purpose    string   `json:"purpose"`               // such as GENERAL or HS_CLIENT_REND
	Path       []string `json:"path"`                  // nicknames of the relays so far, and $FINGERPRINT where there is none
	BuildFlags []string `json:"build_flags,omitempty"` // such as IS_INTERNAL or NEED_CAPACITY
}

// LineError is a line of tor that is not as Tor's control-spec has it. It does not repeat the
// line, which may hold credentials and onion names.
type LineError struct {
	Key  string // of GETINFO
	Line int    // from 1
	Text string // what is wrong with it
}

func (e *LineError) Error() string {
	return fmt.Sprintf("control port: line %d of %s %s", e.Line, e.Key, e.Text)
}

var errNoControl = errors.New("control port: it does not answer")

// Circuits asks the control ports of all members, in their order, for the circuits, and takes
// no longer than ctx lasts. A *[LineError] says which line of a tor is not understood; the
// other circuits are told all the same.
func (p *Pool) Circuits(ctx context.Context) []Circuits {
	p.init()
	list := make([]Circuits, len(p.all))
	for i, m := range p.all {
		if list[i].Name = m.String(); m.Control != "" {
			list[i].Err = errNoControl
		}
	}
	p.look(func(i int, c *control) {
		text, err := c.look(ctx, circuitStatus)
		if list[i].Err = err; err == nil {
			list[i].parse(text)
		}
	})
	return list
}

const circuitStatus = "circuit-status"

// parse reads the lines of GETINFO circuit-status.
func (l *Circuits) parse(text string) {
	l.Open = []Circuit{}
	n := 0
	for line := range strings.Lines(strings.TrimPrefix(text, "\n")) {
		n++
		line = strings.TrimRight(line, "\r\n")
		c, wrong := parseCircuit(line)
		switch {
		case line == "" && n == 1: // there are none
		case wrong != "" && l.Err == nil:
			l.Err = &LineError{circuitStatus, n, wrong}
		case wrong != "":
		case len(l.Open) < maxCircuits:
			l.Open = append(l.Open, c)
		default:
			l.More++
		}
	}
}

// parseCircuit reads ID SP state [SP path] *(SP KEY=value), as in the CIRC events
// (control-spec section 4.1.1), or says what is wrong with it.
func parseCircuit(line string) (c Circuit, wrong string) {
	id, rest, ok := strings.Cut(line, " ")
	if !ok || !isWord(id, 16) {
		return c, "has no ID and state"
	}
	state, rest, _ := strings.Cut(rest, " ")
	if !isWord(state, 32) {
		return c, "has no state"
	}
	c.ID, c.State = id, state
	if path, words, _ := strings.Cut(rest, " "); path != "" && (path[0] == '$' || !strings.Contains(path, "=")) {
		rest = words
		for hop := range strings.SplitSeq(path, ",") {
			name := hopName(hop)
			if name == "" || len(c.Path) == maxHops {
				return Circuit{}, "has no path of relays"
			}
			c.Path = append(c.Path, name)
		}
	}
	word := keywords(rest)
	if c.Purpose = word["PURPOSE"]; c.Purpose != "" && !isWord(c.Purpose, 32) {
		return Circuit{}, "has no purpose"
	}
	if flags := word["BUILD_FLAGS"]; flags != "" {
		c.BuildFlags = strings.Split(flags, ",")
		for _, f := range c.BuildFlags {
			if !isWord(f, 32) || len(c.BuildFlags) > maxHops {
				return Circuit{}, "has no build flags"
			}
		}
	}
	return c, ""
}

// hopName is what a relay is called: of $FINGERPRINT~nickname, or with = as older tors say,
// the nickname, if it has chosen one. It is empty if hop is no relay.
func hopName(hop string) string {
	rest, ok := strings.CutPrefix(hop, "$")
	if !ok {
		if isWord(hop, 19) {
			return hop
		}
		return ""
	}
	id, nickname := rest, ""
	if i := strings.IndexAny(rest, "~="); i >= 0 {
		if id, nickname = rest[:i], rest[i+1:]; !isWord(nickname, 19) {
			return ""
		}
	}
	if _, err := hex.DecodeString(id); err != nil || len(id) != fingerprint {
		return ""
	}
	if nickname == "" || nickname == "Unnamed" {
		return "$" + strings.ToUpper(id)
	}
	return nickname
}

// isWord reports whether s has 1 to so many letters, digits and underscores.
func isWord(s string, most int) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (s[i] < '0' || s[i] > '9') && s[i] != '_' {
			return false
		}
	}
	return s != "" && len(s) <= most
}
