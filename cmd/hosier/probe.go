package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hosier/internal/via"
	"hosier/probe"
)

type probeOptions struct {
	user     string
	profile  string
	only     []string
	names    []string
	dns      string
	target   string
	host     string
	serve    string
	jobs     int
	timeout  time.Duration
	patience time.Duration
	json     bool
	junit    string
	markdown bool
	verbose  bool
}

func probeCommand() *cobra.Command {
	var o probeOptions
	cmd := &cobra.Command{
		Use:   "probe ADDR",
		Short: "Check any SOCKS server, clause by clause",
		Long: `probe checks the SOCKS or HTTP CONNECT proxy at an address, hosier or not, and says
what is wrong with it and why that matters. What a proxy lacks and properly refuses is no
fault. It exits with 0 if all that must hold holds, 1 if not, 2 if it could not be run.

The far side are targets that probe opens on 127.0.0.1. A proxy that must not connect
there, or runs elsewhere, needs a second probe on a host that it reaches:
there run hosier probe --serve ADDR, here give --target with that address.

To see whether names leak, let probe serve DNS with --dns-listen, and point the proxy's
resolver at it.`,
		Example: `  hosier probe 127.0.0.1:1080
  hosier probe --dns-listen 127.0.0.1:5300 127.0.0.1:1080   # hosier serve --dns 127.0.0.1:5300
  hosier probe --user alice:secret --profile rfc1928 --junit probe.xml proxy.example:1080
  hosier probe explain early/socks5 127.0.0.1:1080`,
		Args: func(cmd *cobra.Command, args []string) error {
			if o.serve != "" {
				return cobra.NoArgs(cmd, args)
			}
			return cobra.ExactArgs(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.serve != "" {
				return serveTargets(cmd.Context(), o.serve, cmd.ErrOrStderr())
			}
			return runProbe(cmd.Context(), o, args[0], cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.addFlags(cmd)
	cmd.AddCommand(probeExplainCommand(&o), probeListCommand())
	return cmd
}

func (o *probeOptions) addFlags(cmd *cobra.Command) {
	p, f := cmd.PersistentFlags(), cmd.Flags()
	p.StringVar(&o.user, "user", "", "log in as `USER:PASSWORD`")
	p.StringArrayVar(&o.names, "name", nil, "a name that the proxy's resolver knows: `HOST=ADDR`; may repeat (a proxy on this host: localhost=127.0.0.1)")
	p.StringVar(&o.dns, "dns-listen", "", "serve DNS on `IP:PORT`, where the proxy's resolver points, and watch it")
	p.StringVar(&o.target, "target", "", "use the targets of the probe that serves them at `HOST:PORT`")
	p.StringVar(&o.host, "target-ip", "127.0.0.1", "the address of this host at which to open the targets")
	p.DurationVar(&o.timeout, "timeout", 5*time.Second, "how long one answer may take")
	p.DurationVar(&o.patience, "patience", 45*time.Second, "how long the proxy may put up with a silent client")
	f.StringVar(&o.serve, "serve", "", "check nothing, but serve targets at `HOST:PORT` to a probe elsewhere")
	f.StringVar(&o.profile, "profile", "all", "what counts: rfc1928, tor or all")
	f.StringSliceVar(&o.only, "only", nil, "checks or groups to run, such as early or reply/refused; may repeat")
	f.IntVar(&o.jobs, "jobs", 8, "checks at once")
	f.BoolVar(&o.json, "json", false, "write the results as JSON")
	f.StringVar(&o.junit, "junit", "", "also write them as JUnit XML to `FILE`")
	f.BoolVar(&o.markdown, "markdown", false, "write the results as Markdown")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "list the checks that passed or were skipped, too")
}

func probeListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List all checks",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var b strings.Builder
			for _, c := range probe.Checks() {
				fmt.Fprintf(&b, "%-30s %-6v %s\n", c.ID, c.Severity, c.Title)
			}
			_, err := io.WriteString(cmd.OutOrStdout(), b.String())
			return err
		},
	}
}

// runProbe probes and writes what it found. A must that fails is an error.
func runProbe(ctx context.Context, o probeOptions, addr string, stdout, stderr io.Writer) error {
	cfg, done, err := o.config(addr)
	if err != nil {
		return err
	}
	defer done()
	if isTerminal(stderr) && !o.verbose {
		cfg.Progress = progress(stderr)
	}
	r, err := probe.Run(ctx, cfg)
	if cfg.Progress != nil {
		fmt.Fprint(stderr, clearLine)
	}
	if err != nil {
		return usageError{err} // exit 2: it says nothing about the proxy
	}
	if err := o.write(r, stdout); err != nil {
		return usageError{err}
	}
	if n := r.Total().Musts; n > 0 {
		return fmt.Errorf("proxy %s: of what must hold, %d checks fail", addr, n)
	}
	return nil
}

// config checks the options. Done ends what it has begun.
func (o *probeOptions) config(addr string) (cfg probe.Config, done func(), err error) {
	done = func() {}
	cfg = probe.Config{
		Proxy: addr, Only: o.only, Remote: o.target,
		Jobs: o.jobs, Timeout: o.timeout, Patience: o.patience,
	}
	if o.jobs <= 0 || o.timeout <= 0 || o.patience <= 0 {
		return cfg, done, usageError{errors.New("--jobs, --timeout and --patience must be more than 0")}
	}
	if o.json && o.markdown {
		return cfg, done, usageError{errors.New("--json and --markdown: choose one")}
	}
	if cfg.Profile, err = probe.ParseProfile(orAll(o.profile)); err != nil {
		return cfg, done, usageError{fmt.Errorf("--profile: %w", err)}
	}
	if _, err := probe.Select(cfg.Profile, o.only); err != nil {
		return cfg, done, usageError{fmt.Errorf("--only: %w: hosier probe list names them", err)}
	}
	if cfg.Proxy, err = via.ParseServer(addr); err != nil {
		return cfg, done, usageError{fmt.Errorf("%s: %w", addr, err)}
	}
	if cfg.Host, err = netip.ParseAddr(o.host); err != nil {
		return cfg, done, usageError{fmt.Errorf("--target-ip %s: this is no IP address", o.host)}
	}
	if err := o.login(&cfg); err != nil {
		return cfg, done, err
	}
	if err := o.named(&cfg); err != nil {
		return cfg, done, err
	}
	if o.dns == "" {
		return cfg, done, nil
	}
	if cfg.DNS, err = probe.ListenDNS(o.dns); err != nil {
		return cfg, done, usageError{fmt.Errorf("--dns-listen %s: %w", o.dns, err)}
	}
	return cfg, func() { cfg.DNS.Close() }, nil
}

func orAll(profile string) string {
	if profile == "" {
		return "all"
	}
	return profile
}

func (o *probeOptions) login(cfg *probe.Config) error {
	if o.user == "" {
		return nil
	}
	user, password, ok := strings.Cut(o.user, ":")
	if !ok || user == "" || password == "" {
		return usageError{errors.New("--user: write USER:PASSWORD")}
	}
	cfg.Login = &probe.Login{User: user, Password: password}
	return nil
}

func (o *probeOptions) named(cfg *probe.Config) error {
	for _, text := range o.names {
		host, address, _ := strings.Cut(text, "=")
		ip, err := netip.ParseAddr(address)
		if err != nil || host == "" {
			return usageError{fmt.Errorf("--name %s: write HOST=ADDR, such as www.example=127.0.0.1", text)}
		}
		cfg.Names = append(cfg.Names, probe.Name{Host: host, IP: ip})
	}
	host, _, err := net.SplitHostPort(cfg.Proxy)
	ip, _ := netip.ParseAddr(host)
	if err != nil || ip.IsLoopback() || host == "localhost" {
		cfg.Names = append(cfg.Names, probe.Name{Host: "localhost", IP: netip.AddrFrom4([4]byte{127, 0, 0, 1})})
	}
	return nil
}

// serveTargets serves targets until it is interrupted.
func serveTargets(ctx context.Context, address string, stderr io.Writer) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return usageError{fmt.Errorf("--serve %s: %w", address, err)}
	}
	fmt.Fprintf(stderr, "listening on %s\n", l.Addr())
	return probe.ServeTargets(ctx, l)
}

func (o *probeOptions) write(r *probe.Report, stdout io.Writer) error {
	if o.junit != "" {
		f, err := os.Create(o.junit)
		if err != nil {
			return fmt.Errorf("--junit: %w", err)
		}
		err = r.WriteJUnit(f)
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return fmt.Errorf("--junit: %w", err)
		}
	}
	switch {
	case o.json:
		return r.WriteJSON(stdout)
	case o.markdown:
		return r.WriteMarkdown(stdout)
	}
	return writeProbeTable(stdout, r, o.verbose, colours(stdout))
}
