package policy

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"hosier/internal/config"
	"hosier/internal/leaks"
	"hosier/internal/via"
	"hosier/socks"
)

// Question is a request as a person asks about it.
type Question struct {
	Target   string // a URL, host:port or a host
	Listener string // a name or an address; "" for the first
	Client   string // an address; "" for this host
	User     string // the user who has logged in
	Command  string // connect, bind, associate, resolve, resolve-ptr
}

// Explainer explains how a configuration decides requests. It sends nothing and resolves
// nothing.
type Explainer struct {
	Config *config.Config
	At     map[string]string // addresses of listeners by name; unknown if missing
	State  State
}

// Explain returns what would happen, a line a step, and the error that the request would
// be refused with, which is also the last line. Err reports a question that is not a
// request.
func (e Explainer) Explain(q Question) (text string, refusal, err error) {
	l, err := e.listener(q.Listener)
	if err != nil {
		return "", nil, err
	}
	r, err := l.request(q)
	if err != nil {
		return "", nil, err
	}
	t := new(Trace)
	o := l.Decide(r, e.State, t)
	if refusal = o.Err; refusal == nil {
		refusal = l.Foresee(r, &o, e.State, t)
	}
	return t.text(), refusal, nil
}

// text returns the steps for a person, with each label once.
func (t *Trace) text() string {
	var b strings.Builder
	for i, s := range t.Steps {
		label := s.Label + ":"
		if i > 0 && t.Steps[i-1].Label == s.Label {
			label = ""
		}
		fmt.Fprintf(&b, "%-10s %s\n", label, s.Text)
	}
	return b.String()
}

func (e Explainer) listener(name string) (*Listener, error) {
	var names []string
	for i := range e.Config.Listeners {
		l := &e.Config.Listeners[i]
		if name == "" || name == l.Name || name == l.Address || name == e.At[l.Name] {
			return &Listener{Listener: l, Config: e.Config, At: e.At[l.Name]}, nil
		}
		names = append(names, l.Name)
	}
	return nil, fmt.Errorf("listener %q: there is no listener of this name; there are: %s", name, strings.Join(names, ", "))
}

// request builds the request as the handshake would.
func (l *Listener) request(q Question) (*socks.Request, error) {
	commands := map[string]socks.Command{
		"connect": socks.Connect, "bind": socks.Bind, "associate": socks.Associate,
		"resolve": socks.Resolve, "resolve-ptr": socks.ResolvePTR,
	}
	r := &socks.Request{Command: commands[q.Command], User: q.User, Version: socks.V5}
	r.Listener, _ = l.requestAddress()
	if r.Command == 0 {
		return nil, fmt.Errorf("command %q: the words are connect, bind, associate, resolve, resolve-ptr", q.Command)
	}
	for _, likely := range []socks.Version{socks.V4, socks.HTTP, socks.V5} {
		if l.speaks(likely, r.Command) {
			r.Version = likely
		}
	}
	if q.Client != "" || !strings.HasPrefix(l.Address, "unix:") {
		ip, err := netip.ParseAddr(cmp.Or(q.Client, "127.0.0.1"))
		if err != nil {
			return nil, fmt.Errorf("client %q: write an address such as 192.168.1.20", q.Client)
		}
		r.Client = netip.AddrPortFrom(ip.Unmap(), 0)
	}
	if q.User != "" {
		r.Auth = socks.Auth{Method: socks.UserPass, User: q.User}
	}
	var err error
	if r.Addr, err = explainedTarget(q.Target); err != nil {
		return nil, err
	}
	if r.Literal = r.Addr.IP.IsValid(); r.Command == socks.Resolve || r.Command == socks.ResolvePTR {
		r.Addr.Port = 0
	}
	return r, r.Validate()
}

// requestAddress returns the listener's address as requests have it, and whether it is
// known yet.
func (l *Listener) requestAddress() (at string, known bool) {
	if l.At != "" {
		return l.At, true
	}
	switch {
	case strings.HasPrefix(l.Address, "unix:"):
		return l.Address, true
	case strings.HasPrefix(l.Address, "systemd:"):
		return "unix:" + l.Name, false // wherever
	}
	host, port, _ := strings.Cut(l.Address, ":")
	switch host {
	case "localhost":
		return "127.0.0.1:" + port, port != "0"
	case "":
		return "[::]:" + port, port != "0"
	}
	return l.Address, !strings.HasSuffix(l.Address, ":0")
}

// explainedTarget parses a URL, host:port, or a host alone, for port 443.
func explainedTarget(text string) (socks.Addr, error) {
	const port = 443
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		if strings.Contains(text, "://") {
			return socks.Addr{}, errors.New("this is not a URL that can be read: check its host and port")
		}
		return via.ParseTarget(text, port)
	}
	a, err := via.ParseHost(u.Hostname())
	if err != nil {
		return a, fmt.Errorf("%s: %w", u.Redacted(), err)
	}
	switch n, err := strconv.ParseUint(u.Port(), 10, 16); {
	case err == nil:
		a.Port = uint16(n)
	case u.Port() != "":
		return a, fmt.Errorf("%s: the port is not a number from 0 to 65535", u.Redacted())
	default:
		a.Port = port
		if n, err := net.LookupPort("tcp", u.Scheme); err == nil { // from /etc/services: no lookup
			a.Port = uint16(n)
		}
	}
	return a, nil
}

// OfflineLeak is the State.Leak of a hosier that has answered no lookup before.
func OfflineLeak(m leaks.Mode, r *socks.Request) (leaks.Verdict, error) {
	_, err := leaks.New(slog.New(slog.DiscardHandler), nil).Judge(m, r)
	return leaks.Verdict{}, err
}
