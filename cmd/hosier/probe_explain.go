package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"

	"github.com/spf13/cobra"

	"hosier/egress"
	"hosier/internal/printable"
	"hosier/probe"
	"hosier/proxy"
	"hosier/resolver"
	"hosier/socks"
)

func probeExplainCommand(o *probeOptions) *cobra.Command {
	return &cobra.Command{
		Use:   "explain ID [ADDR]",
		Short: "Show the exchange of one check, field by field",
		Long: `explain says what a check is about and shows the exchange as it should be, which is
that with a hosier of its own. With an address it also runs the check there, and shows
what was sent and seen.`,
		Example: "  hosier probe explain resolve/missing-form 127.0.0.1:9050",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := probe.Find(args[0])
			if err != nil {
				return usageError{fmt.Errorf("%w: hosier probe list names them", err)}
			}
			return explainCheck(cmd.Context(), *o, c, args[1:], cmd.OutOrStdout())
		},
	}
}

func explainCheck(ctx context.Context, o probeOptions, c probe.Check, addr []string, w io.Writer) error {
	fmt.Fprintf(w, "%s (%v, %s)\n%s.\n%s\n", c.ID, c.Severity, c.Clause, c.Title, c.Why)
	for _, need := range c.Needs() {
		fmt.Fprintf(w, "needs %s\n", need)
	}
	expected, err := expectedResult(ctx, c)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "\nexpected, as hosier does it:\n")
	if err := writeExplained(w, expected); err != nil || len(addr) == 0 {
		return err
	}
	o.only = []string{c.ID}
	cfg, done, err := o.config(addr[0])
	if err != nil {
		return err
	}
	defer done()
	r, err := probe.Run(ctx, cfg)
	if err != nil {
		return usageError{err}
	}
	fmt.Fprintf(w, "\nseen at %s:\n", addr[0])
	return writeExplained(w, &r.Results[0])
}

func writeExplained(w io.Writer, r *probe.Result) error {
	if err := r.WriteExchange(w); err != nil {
		return err
	}
	text := r.Outcome.String()
	if r.Reason != "" {
		text += ": " + r.Reason
	}
	if r.Note != "" {
		text += " (" + r.Note + ")"
	}
	_, err := fmt.Fprintln(w, printable.String(text))
	return err
}

// expectedResult runs the check against a hosier in this process. The second try is for
// the checks that need a login.
func expectedResult(ctx context.Context, c probe.Check) (*probe.Result, error) {
	var login *probe.Login
	if slices.ContainsFunc(c.Needs(), func(n string) bool { return n == probe.NeedsLogin || n == probe.NeedsGuard }) {
		login = &probe.Login{User: "user", Password: "password"}
	}
	dns, err := probe.ListenDNS("127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer dns.Close()
	addr, stop, err := serveModel(dns.Addr(), login)
	if err != nil {
		return nil, err
	}
	defer stop()
	r, err := probe.Run(ctx, probe.Config{Proxy: addr, DNS: dns, Login: login, Only: []string{c.ID}})
	if err != nil {
		return nil, err
	}
	return &r.Results[0], nil
}

// serveModel runs a hosier that goes out directly and asks the DNS server given.
func serveModel(dns string, login *probe.Login) (addr string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	names := new(resolver.Resolver)
	if dns != "" {
		server, err := resolver.ParseServer(dns)
		if err != nil {
			return "", nil, err
		}
		names.Servers = []resolver.Server{server}
	}
	out := &egress.Direct{Resolver: names}
	srv := &proxy.Server{
		Policy: proxy.Policy{
			Route: func(context.Context, *proxy.Session) (proxy.Route, error) { return proxy.Route{Egress: out}, nil },
		},
		Log: slog.New(slog.DiscardHandler),
	}
	if login != nil {
		srv.Policy.Verify = func(_ *proxy.Session, a socks.Auth) (string, error) {
			if a.Method == socks.UserPass && a.User == login.User && a.Password == login.Password {
				return a.User, nil
			}
			return "", errors.New("user name or password is wrong")
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv.Serve(l)
	}()
	return l.Addr().String(), func() { srv.Close(); <-done; names.Close() }, nil
}
