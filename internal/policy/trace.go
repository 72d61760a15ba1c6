package policy

import (
	"cmp"
	"fmt"

	"hosier/internal/rules"
	"hosier/socks"
)

// Trace records the steps of a decision. A nil Trace records nothing. Use one per
// request.
type Trace struct {
	Steps []Step

	// Hidden stands for clients and targets; "" shows them.
	Hidden string

	// Reason returns the text of a refusal; if nil, that of the error.
	Reason func(error) string
}

// Step is a line of a Trace. The last one of a request that is refused has the label Refused.
type Step struct{ Label, Text string }

// Refused is the label of a refusal.
const Refused = "refused"

func (t *Trace) add(label, format string, args ...any) {
	if t != nil {
		t.Steps = append(t.Steps, Step{label, fmt.Sprintf(format, args...)})
	}
}

func (t *Trace) show(what any) string {
	if t != nil && t.Hidden != "" {
		return t.Hidden
	}
	return fmt.Sprint(what)
}

// rules records how the rules decided.
func (t *Trace) rules(d *rules.Decision) {
	if t == nil {
		return
	}
	for _, line := range d.Explain(t.Hidden) {
		t.add("rules", "%s", line)
	}
}

func (t *Trace) refuse(err error) {
	if t == nil || err == nil {
		return
	}
	text := err.Error()
	if t.Reason != nil {
		text = t.Reason(err)
	}
	t.add(Refused, "%s", text)
}

// introduce records the request and its origin.
func (l *Listener) introduce(r *socks.Request, t *Trace) {
	if t == nil {
		return
	}
	t.add("request", "%v %s", r.Command, t.show(r.Target()))
	t.add("listener", "%s%s", l.Name, l.place())
	t.add("identity", "%s", l.identity(r, t))
}

func (l *Listener) identity(r *socks.Request, t *Trace) string {
	from := "a program of this host"
	if r.Client.IsValid() {
		from = "client " + t.show(r.Client.Addr())
	}
	switch {
	case r.User == "":
		return from
	case l.HasUsers():
		return fmt.Sprintf("user %q, %s", r.User, from)
	}
	return fmt.Sprintf("%s; this listener has no users, so the name %q proves nothing and only isolates", from, r.User)
}

func (l *Listener) place() string {
	address := cmp.Or(l.At, l.Address)
	at := l.Listener.At
	switch {
	case l.Name != address && at.Line > 0:
		return fmt.Sprintf(" at %s (%v)", address, at)
	case l.Name != address:
		return " at " + address
	case at.Line > 0:
		return fmt.Sprintf(" (%v)", at)
	}
	return ""
}
