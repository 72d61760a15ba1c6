package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"hosier/egress"
	"hosier/internal/config"
	"hosier/internal/page"
	"hosier/internal/rules"
	"hosier/internal/via"
	"hosier/socks"
)

// Foresee returns the error with which the first egress of an outcome would refuse r by
// itself, and records in t what each of them would do. It connects to nothing.
func (l *Listener) Foresee(r *socks.Request, o *Outcome, s State, t *Trace) (refusal error) {
	if o.Err != nil {
		return o.Err
	}
	if o.Own {
		t.add("egress", "none: hosier answers by itself, and the name is not looked up")
		refusal = page.Refusal(r)
	}
	for i, name := range o.Egresses {
		err := l.foreseeEgress(r, o, s, name, t)
		if i == 0 { // the first one's refusal is final
			refusal = err
		}
	}
	if r.Command == socks.Bind || r.Command == socks.Associate {
		refusal = unsupported(r)
	}
	t.refuse(refusal)
	return refusal
}

func unsupported(r *socks.Request) error {
	return fmt.Errorf("no egress here has %v: %w", r.Command, errors.ErrUnsupported)
}

// foreseeEgress is Foresee for one of the egresses.
func (l *Listener) foreseeEgress(r *socks.Request, o *Outcome, s State, name string, t *Trace) error {
	out := l.egress(name)
	text := name
	if out.Via.String() != name {
		text += " = " + out.Via.String()
	}
	if out.At.Line > 0 {
		text += fmt.Sprintf(" (%v)", out.At)
	}
	t.add("egress", "%s", text)
	switch out.Via.Kind() {
	case rules.Tor:
		l.intoTor(r, out, s, t)
		if r.Addr.IsOnion() {
			return r.Addr.CheckOnion()
		}
		return nil
	case rules.Direct:
		return l.foreseeDirect(r, o, t)
	}
	return foreseeProxy(r, out.Via.Upstream().Scheme)
}

// foreseeDirect is Foresee for this host's network.
func (l *Listener) foreseeDirect(r *socks.Request, o *Outcome, t *Trace) error {
	switch {
	case r.Addr.Name == "" && r.Command == socks.Resolve: // an address needs no lookup
		return nil
	case r.Addr.Name == "":
		return l.refusedByDirect(r, o)
	case via.IsLocalhost(r.Addr.Name):
		t.add("dns", "no lookup: the name is loopback")
		at := *r
		at.Addr = socks.Addr{IP: netip.AddrFrom4([4]byte{127, 0, 0, 1}), Port: r.Addr.Port}
		return l.refusedByDirect(&at, o)
	}
	text := serversOf(l.Config) + "; the rules judge its answer again"
	if !l.isLocal(r.Listener) {
		text += ", and must be public unless they name it"
	}
	t.add("dns", "%s", text)
	return nil
}

// refusedByDirect returns the error with which direct refuses a request for an address.
func (l *Listener) refusedByDirect(r *socks.Request, o *Outcome) error {
	at := *r
	at.Allow = l.Allow(&at, o.Decision)
	if r.Command != socks.Connect {
		return at.Allow(r.Addr.IP)
	}
	_, err := new(egress.Direct).Plain(&at)
	return err
}

// foreseeProxy returns the error by which an upstream's dialect refuses r.
func foreseeProxy(r *socks.Request, scheme string) error {
	switch {
	case r.Command == socks.Resolve && r.Addr.Name == "" && scheme != "http": // an address is its own answer
		return nil
	case scheme == "http" && r.Command != socks.Connect,
		scheme == "socks4a" && (r.Command == socks.ResolvePTR || r.Addr.IP.Unmap().Is6()):
		return fmt.Errorf("%s:// has no %v of this target: %w", scheme, r.Command, errors.ErrUnsupported)
	}
	return nil
}

// serversOf names the DNS servers that direct egresses use.
func serversOf(c *config.Config) string {
	if len(c.DNS) == 0 {
		return "this system's servers"
	}
	var all []string
	for _, s := range c.DNS {
		all = append(all, s.String())
	}
	return strings.Join(all, ", ")
}

func (l *Listener) egress(name string) *config.Egress {
	for i := range l.Config.Egresses {
		if one := &l.Config.Egresses[i]; one.Name == name {
			return one
		}
	}
	return &config.Egress{Name: name}
}
