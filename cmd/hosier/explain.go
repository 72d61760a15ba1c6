package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"hosier/internal/config"
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
			e := explainer{config: c, users: users.Load, leak: offlineLeak, pool: offlinePool(c)}
			return e.explain(cmd.OutOrStdout(), q)
		},
	}
	f := cmd.Flags()
	configFlag(f, &s.file, "read the configuration `FILE`")
	f.StringVar(&q.listener, "listener", "", "by the listener of this `NAME` or address (default the first)")
	f.StringVar(&q.client, "client", "", "asked by a client at this `ADDR` (default 127.0.0.1)")
	f.StringVar(&q.user, "user", "", "asked by this user, who has logged in")
	f.StringVar(&q.command, "command", "connect", "a `WORD` of connect, resolve, resolve-ptr, bind, associate")
	configFlags(f)
	return cmd
}

// explain writes what would happen. An error is a usageError if there is no such request,
// and refused if that is the outcome.
func (e explainer) explain(w io.Writer, q question) error {
	l, err := e.listener(q.listener)
	if err != nil {
		return usageError{err}
	}
	r, err := e.request(l, q)
	if err != nil {
		return usageError{err}
	}
	steps, refusal := e.trail(l, r)
	for i, s := range steps {
		label := s.label + ":"
		if i > 0 && steps[i-1].label == s.label {
			label = ""
		}
		fmt.Fprintf(w, "%-10s %s\n", label, s.text)
	}
	if refusal != nil {
		fmt.Fprintf(w, "refused:   %v\n", refusal)
		return refused{refusal}
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

// request makes the request as the handshake would.
func (e explainer) request(l *config.Listener, q question) (*socks.Request, error) {
	commands := map[string]socks.Command{
		"connect": socks.Connect, "bind": socks.Bind, "associate": socks.Associate,
		"resolve": socks.Resolve, "resolve-ptr": socks.ResolvePTR,
	}
	r := &socks.Request{Command: commands[q.command], User: q.user, Version: socks.V5}
	r.Listener, _ = e.place(l)
	if r.Command == 0 {
		return nil, fmt.Errorf("command %q: the words are connect, bind, associate, resolve, resolve-ptr", q.command)
	}
	if dialects := dialectsFor(l, r.Command); len(dialects) > 0 {
		r.Version = dialects[0]
	}
	if q.client != "" || !strings.HasPrefix(l.Address, "unix:") {
		ip, err := netip.ParseAddr(cmp.Or(q.client, "127.0.0.1"))
		if err != nil {
			return nil, fmt.Errorf("client %q: write an address such as 192.168.1.20", q.client)
		}
		r.Client = netip.AddrPortFrom(ip.Unmap(), 0)
	}
	if q.user != "" {
		r.Auth = socks.Auth{Method: socks.UserPass, User: q.user}
	}
	var err error
	if r.Addr, err = explainedTarget(q.target); err != nil {
		return nil, err
	}
	if r.Literal = r.Addr.IP.IsValid(); r.Command == socks.Resolve || r.Command == socks.ResolvePTR {
		r.Addr.Port = 0
	}
	return r, r.Validate()
}

// explainedTarget reads a URL, host:port, or a host alone, whose port is taken to be 443.
func explainedTarget(text string) (socks.Addr, error) {
	const port = 443
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		if strings.Contains(text, "://") {
			return socks.Addr{}, errors.New("this is not a URL that can be read: check its host and port")
		}
		return parseTarget(text, port)
	}
	a, err := parseHost(u.Hostname())
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
		if n, err := net.LookupPort("tcp", u.Scheme); err == nil { // of /etc/services: asks nobody
			a.Port = uint16(n)
		}
	}
	return a, nil
}
