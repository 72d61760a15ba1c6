package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"hosier/egress/tor"
	"hosier/internal/config"
	"hosier/internal/rules"
	"hosier/internal/users"
	"hosier/socks"
)

// question is a request that somebody thinks of, in their words.
type question struct {
	target   string // a URL, host:port or a host
	listener string // "" for the first
	client   string // "" for this host
	user     string
	command  string
}

func explainCommand() *cobra.Command {
	var s source
	var q question
	cmd := &cobra.Command{
		Use:   "explain [--config FILE] [--listener NAME] [--client ADDR] [--user NAME] URL",
		Short: "Tell what would happen to a request, and why",
		Long: `explain tells, without connecting to anything or looking anything up, what serve would do
with a request for URL (a URL, host:port, or a host alone): by which listener it comes, who
asks, what keeps it apart from others in Tor, which rule decides and why those before it do
not, by which ways out it goes and where its name is looked up. It takes serve's flags, too.
The exit code is 1 if the request would be refused.`,
		Example: `  hosier explain --config /etc/hosier/hosier.toml --user ann https://www.example/
  hosier explain --via tor 192.0.2.1:443`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s.flags, q.target = flagsOf(cmd.Flags()), args[0]
			c, err := s.load()
			if err != nil {
				return err
			}
			e := explainer{config: c, users: users.Load}
			return e.explain(cmd.OutOrStdout(), q)
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.file, "config", "", "read the configuration `FILE`")
	f.StringVar(&q.listener, "listener", "", "by the listener of this `NAME` or address (default the first)")
	f.StringVar(&q.client, "client", "", "asked by a client at this `ADDR` (default 127.0.0.1)")
	f.StringVar(&q.user, "user", "", "asked by this user, who has logged in")
	f.StringVar(&q.command, "command", "connect", "a `WORD` of connect, resolve, resolve-ptr, bind, associate")
	configFlags(f)
	return cmd
}

// explainer tells what a configuration has become of requests.
type explainer struct {
	config *config.Config
	at     map[string]string // where listeners are, by their names; not needed
	users  func(file string) (*users.List, error)
}

// explain writes what would happen. An error is a usageError if there is no such request,
// and refused if that is the outcome.
func (e explainer) explain(w io.Writer, q question) error {
	c := e.config
	l, err := e.listener(q.listener)
	if err != nil {
		return usageError{err}
	}
	r, err := explainedRequest(q)
	if err != nil {
		return usageError{err}
	}
	r.Listener = e.place(l)
	fmt.Fprintf(w, "request:   %v %s\n", r.Command, r.Target())
	fmt.Fprintf(w, "listener:  %s%s\n", l.Name, e.listenerPlace(l))
	fmt.Fprintf(w, "identity:  %s\n", identity(l, r))
	if refusal := e.notServed(l, r); refusal != nil {
		fmt.Fprintf(w, "refused:   %v\n", refusal)
		return refused{refusal}
	}
	decision, trail := c.Rules.Explain(l.Name, r)
	for i, line := range trail {
		label := ""
		if i == 0 {
			label = "rules:"
		}
		fmt.Fprintf(w, "%-10s %s\n", label, line)
	}
	if decision.Err != nil {
		fmt.Fprintf(w, "refused:   %v\n", decision.Err)
		return refused{decision.Err}
	}
	for _, name := range decision.Via {
		explainEgress(w, c, l, r, name)
	}
	return nil
}

// refused is the outcome of an explanation that was printed already.
type refused struct{ error }

func (r refused) Unwrap() error { return r.error }

func (e explainer) listener(name string) (*config.Listener, error) {
	var names []string
	for i := range e.config.Listeners {
		l := &e.config.Listeners[i]
		if name == "" || name == l.Name || name == l.Address || name == e.at[l.Name] {
			return l, nil
		}
		names = append(names, l.Name)
	}
	return nil, fmt.Errorf("listener %q: there is no listener of this name; there are: %s", name, strings.Join(names, ", "))
}

// place is how requests know the listener.
func (e explainer) place(l *config.Listener) string {
	switch {
	case e.at[l.Name] != "":
		return e.at[l.Name]
	case l.Address == "" || strings.HasPrefix(l.Address, "systemd:"):
		return "unix:" + l.Name // nobody knows yet where it is
	}
	return l.Address
}

func (e explainer) listenerPlace(l *config.Listener) string {
	address := l.Address
	if at := e.at[l.Name]; at != "" {
		address = at
	}
	switch {
	case l.Name != address && l.At.Line > 0:
		return fmt.Sprintf(" at %s (%v)", address, l.At)
	case l.Name != address:
		return " at " + address
	case l.At.Line > 0:
		return fmt.Sprintf(" (%v)", l.At)
	}
	return ""
}

// explainedRequest makes the request as the handshake would.
func explainedRequest(q question) (*socks.Request, error) {
	commands := map[string]socks.Command{
		"connect": socks.Connect, "bind": socks.Bind, "associate": socks.Associate,
		"resolve": socks.Resolve, "resolve-ptr": socks.ResolvePTR,
	}
	r := &socks.Request{Version: socks.V5, Command: commands[q.command], User: q.user}
	if r.Command == 0 {
		return nil, fmt.Errorf("command %q: the words are connect, bind, associate, resolve, resolve-ptr", q.command)
	}
	client := q.client
	if client == "" {
		client = "127.0.0.1"
	}
	ip, err := netip.ParseAddr(client)
	if err != nil {
		return nil, fmt.Errorf("client %q: write an address such as 192.168.1.20", client)
	}
	r.Client = netip.AddrPortFrom(ip.Unmap(), 0)
	if q.user != "" {
		r.Auth = socks.Auth{Method: socks.UserPass, User: q.user}
	}
	if r.Addr, err = explainedTarget(q.target); err != nil {
		return nil, err
	}
	if r.Command == socks.Resolve || r.Command == socks.ResolvePTR {
		r.Addr.Port = 0
	}
	return r, r.Validate()
}

// explainedTarget reads a URL, host:port, or a host alone, whose port is taken to be 443.
func explainedTarget(text string) (socks.Addr, error) {
	const port = 443
	if u, err := url.Parse(text); err == nil && u.Host != "" {
		a, err := socks.ParseHost(u.Hostname())
		if err != nil {
			return a, fmt.Errorf("%s: %w", u.Redacted(), err)
		}
		a.Port = port
		if n, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
			a.Port = uint16(n)
		} else if n, err := net.LookupPort("tcp", u.Scheme); err == nil { // of /etc/services: asks nobody
			a.Port = uint16(n)
		}
		return a, nil
	}
	if a, err := socks.ParseAddr(text); err == nil {
		return a, nil
	}
	a, err := socks.ParseHost(text)
	if err != nil {
		return a, fmt.Errorf("%q is neither a URL nor host:port: %w", text, err)
	}
	a.Port = port
	return a, nil
}

func identity(l *config.Listener, r *socks.Request) string {
	switch {
	case r.User != "" && l.HasUsers():
		return fmt.Sprintf("user %q at %v", r.User, r.Client.Addr())
	case r.User != "":
		return fmt.Sprintf("client %v; this listener has no users, so the name %q proves nothing and only keeps apart", r.Client.Addr(), r.User)
	}
	return fmt.Sprintf("client %v", r.Client.Addr())
}

// notServed is what stands before the rules.
func (e explainer) notServed(l *config.Listener, r *socks.Request) error {
	switch {
	case l.Users != "" && r.User == "":
		return fmt.Errorf("the listener %s is for users, and the question names none", l.Name)
	case !admits(l, r):
		return fmt.Errorf("%w (%v)", errNotClient, r.Client.Addr())
	case l.Users == "":
		return nil
	}
	list, err := e.users(l.Users)
	if err == nil && !list.Has(r.User) {
		err = fmt.Errorf("there is no user %q in %s", r.User, l.Users)
	}
	return err
}

func explainEgress(w io.Writer, c *config.Config, l *config.Listener, r *socks.Request, name string) {
	var e config.Egress
	for _, e = range c.Egresses {
		if e.Name == name {
			break
		}
	}
	fmt.Fprintf(w, "egress:    %s", name)
	if e.Via.String() != name {
		fmt.Fprintf(w, " = %v", e.Via)
	}
	if e.At.Line > 0 {
		fmt.Fprintf(w, " (%v)", e.At)
	}
	fmt.Fprintln(w)
	if e.Kind == rules.Tor {
		words := e.Isolation
		if l.Isolation != nil {
			words = *l.Isolation
		}
		if i, err := isolationOf(words); err == nil {
			fmt.Fprintf(w, "isolation: %s\n", strings.Join(isolationWords(i, r), ", "))
		}
		if spec, err := parseTor(e.Via.Reveal()); err == nil {
			fmt.Fprintf(w, "member:    %s\n", torMember(spec))
		}
	}
	if e.Kind == rules.Direct && r.Addr.Name != "" {
		server := "this system's resolver"
		if c.DNS != "" {
			server = c.DNS
		}
		fmt.Fprintf(w, "dns:       %s; what it answers is judged by the rules again\n", server)
	}
}

// isolationWords are what keeps the request from sharing a circuit.
func isolationWords(i tor.Isolation, r *socks.Request) (words []string) {
	add := func(on bool, format string, args ...any) {
		if on {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	add(!i.NoListener, "listener %s", r.Listener)
	add(!i.NoClient, "client %v", r.Client.Addr())
	add(!i.NoAuth, "credentials")
	add(i.Destination, "destination %s", r.Addr.Host())
	add(i.Port, "port %d", r.Addr.Port)
	add(i.Protocol, "protocol %v", r.Version)
	if len(words) == 0 {
		words = []string{"nothing: it may share a circuit with everybody"}
	}
	return words
}

func torMember(spec torSpec) string {
	switch {
	case spec.find:
		return "the tor that runs here"
	case spec.daemons > 0:
		return fmt.Sprintf("one of %d that hosier runs, chosen by the isolation key", spec.daemons)
	case len(spec.members) == 1:
		return spec.members[0].SOCKS
	}
	var names []string
	for _, m := range spec.members {
		names = append(names, m.SOCKS)
	}
	return "one of " + strings.Join(names, ", ") + ", chosen by the isolation key"
}
