package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hosier/internal/printable"
	"hosier/internal/rules"
	"hosier/internal/via"
	"hosier/socks"
)

type resolveOptions struct {
	proxy   string
	v4, v5  bool
	reverse bool
	timeout time.Duration
	auth    socks.Auth // of the proxy's URL

	all, flush, json bool // of a running hosier
	stateDir         string
}

func resolveCommand() *cobra.Command {
	var o resolveOptions
	cmd := &cobra.Command{
		Use:   "resolve [-4|-5] [-x] [--proxy ADDR] NAME|ADDRESS | --all [--json] NAME|ADDRESS | --flush",
		Short: "Look a name up through a proxy, on its far side",
		Long: `resolve asks a proxy that knows Tor's RESOLVE, such as hosier or Tor itself, for the
address of a name, or with -x for the name of an address. Nothing is looked up here.
The answer is one address: RESOLVE has no more. Of a name with both families hosier answers
with an IPv4 address.

With --all it asks a running hosier on this host, by its state directory, for all that its direct
egresses know of a name or an address: each answer, for how long it holds, which DNS server or
file it is from, and whether it was cached. The cached answers are those that clients share
(dns-cache = "shared"), never those of one user or client. What is not cached is asked of the DNS
server, whatever rules say of the name; a hosier without a direct egress asks nobody. --flush has
it forget all cached answers, also those of users.`,
		Example: `  hosier resolve example.com
  hosier resolve --proxy 127.0.0.1:9050 -x 192.0.2.1
  hosier resolve --proxy socks5://user:password@proxy.example example.com
  hosier resolve --all example.com
  hosier resolve --flush`,
		Args: func(cmd *cobra.Command, args []string) error {
			if o.flush {
				return cobra.NoArgs(cmd, args)
			}
			return cobra.ExactArgs(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.all || o.flush {
				if err := checkRunning(cmd.Flags()); err != nil {
					return usageError{err}
				}
				return resolveRunning(cmd.Context(), cmd.OutOrStdout(), o, args)
			}
			answer, err := resolve(cmd.Context(), o, args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), answer)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.proxy, "proxy", "127.0.0.1:1080", "the proxy to ask: `ADDR` is host:port, unix:/path, socks5://[USER:PASSWORD@]HOST[:PORT] or socks4a://…")
	f.BoolVarP(&o.v4, "socks4a", "4", false, "speak SOCKS4A")
	f.BoolVarP(&o.v5, "socks5", "5", false, "speak SOCKS5 (the default)")
	f.BoolVarP(&o.reverse, "reverse", "x", false, "look up the name of an address")
	f.DurationVar(&o.timeout, "timeout", 150*time.Second, "how long to wait for the answer")
	f.BoolVar(&o.all, "all", false, "print all that a running hosier's direct egresses know of the name")
	f.BoolVar(&o.flush, "flush", false, "have a running hosier forget its cached answers")
	f.BoolVar(&o.json, "json", false, "print JSON, with --all")
	f.StringVar(&o.stateDir, "state-dir", "", "with --all and --flush, "+runningDirUsage)
	return cmd
}

// check judges the options, and makes what is written of the proxy ready to be dialled.
func (o *resolveOptions) check() (err error) {
	if strings.Contains(o.proxy, "://") {
		if err := o.readURL(); err != nil {
			return err
		}
	}
	switch {
	case o.v4 && o.v5:
		return errors.New("-4 and -5: choose one")
	case o.v4 && o.reverse:
		return errors.New("-4 and -x: SOCKS4A cannot look up the name of an address; leave out -4")
	case o.timeout <= 0:
		return fmt.Errorf("--timeout %v: write a time above 0s", o.timeout)
	}
	written := o.proxy
	if o.proxy, err = via.ParseServer(written); err != nil {
		return fmt.Errorf("--proxy %s: %w", written, err)
	}
	return nil
}

// readURL reads the proxy's URL, of which the scheme is as good as -4 or -5. Its errors repeat
// no password.
func (o *resolveOptions) readURL() error {
	u, err := socks.ParseURL(o.proxy)
	if err == nil {
		u.Host, err = rules.ToASCII(u.Host)
	}
	if err != nil {
		return fmt.Errorf("--proxy: %w", err)
	}
	d, err := u.Dialer()
	if err != nil {
		return fmt.Errorf("--proxy %v: %w", u, err)
	}
	o.proxy, o.auth = d.Proxy, d.Auth
	if d.Version == socks.V4 {
		o.v4 = true
	} else {
		o.v5 = true
	}
	return nil
}

func resolve(ctx context.Context, o resolveOptions, target string) (answer string, err error) {
	if err := o.check(); err != nil {
		return "", usageError{err}
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	d := socks.Dialer{Proxy: o.proxy, Version: socks.V5, Auth: o.auth}
	if o.v4 {
		d.Version = socks.V4
	}
	if o.reverse {
		ip, err := netip.ParseAddr(target)
		if err != nil {
			return "", usageError{fmt.Errorf("-x looks up the name of an address, and %q is none", target)}
		}
		answer, err = d.ResolvePTR(ctx, ip)
		if err != nil {
			return "", explain(err, o, target)
		}
		return printable.String(answer), nil
	}
	host, err := via.ParseHost(target)
	if err != nil {
		return "", usageError{fmt.Errorf("%q is neither a name nor an address: %w", target, err)}
	}
	ip, err := d.Resolve(ctx, host.Host())
	if err != nil {
		return "", explain(err, o, target)
	}
	return ip.String(), nil
}

// explain makes one clear line of why there is no answer.
func explain(err error, o resolveOptions, target string) error {
	status, proxy := socks.Status(0), (*socks.ProxyError)(nil)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return fmt.Errorf("proxy %s does not know Tor's RESOLVE: ask a hosier or a Tor (--proxy ADDR)", o.proxy)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: no answer from proxy %s within %v (--timeout)", target, o.proxy, o.timeout)
	case errors.As(err, &proxy):
		return fmt.Errorf("%w: is a hosier or a Tor there? (--proxy ADDR)", err)
	case errors.Is(err, socks.HostUnreachable), errors.As(err, &status) && o.v4:
		return fmt.Errorf("%s does not resolve (proxy %s)", target, o.proxy)
	case errors.As(err, &status):
		return fmt.Errorf("%s: proxy %s says: %w", target, o.proxy, status)
	}
	return err
}
