package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hosier/egress"
	"hosier/egress/tor"
	"hosier/proxy"
	"hosier/socks"
)

type serveOptions struct {
	listen    []string
	via       string
	dns       string
	clients   []string
	extended  bool
	maxConns  int
	drain     time.Duration
	handshake time.Duration
	connect   time.Duration
	idle      time.Duration
	verbose   bool
	stateDir  string
	tor       torOptions
}

func serveCommand() *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the proxy",
		Long: `serve runs the proxy until it is interrupted. Each listener takes SOCKS4, 4A and 5,
Tor's RESOLVE and RESOLVE_PTR, and HTTP CONNECT. Names travel to the way out (--via) as
they are, and nothing goes any other way.`,
		Example: `  hosier serve
  hosier serve --via socks5://user:password@proxy.example:1080
  hosier serve --via tor
  hosier serve --via tor+spawn://?daemons=2 --isolate destination
  hosier serve --via tor://127.0.0.1:9050?control=127.0.0.1:9051 --listen unix:/run/hosier.sock
  hosier serve --listen 192.168.1.1:1080 --allow-client 192.168.1.0/24`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			spareProcessor()
			return serve(cmd.Context(), o, cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.listen, "listen", []string{"127.0.0.1:1080"}, "where clients come in: `ADDR` is host:port or unix:/path; may repeat")
	f.StringVar(&o.via, "via", "direct", "the way out: direct, socks5://[USER:PASSWORD@]HOST:PORT, socks4a://…, http://…, tor (one that runs here), tor://HOST:PORT[,HOST:PORT…][?control=ADDR…], tor+spawn://[?daemons=N] (hosier starts it)")
	f.StringVar(&o.dns, "dns", "", "the DNS server that --via direct asks: `IP:PORT` (default the system's)")
	f.StringArrayVar(&o.clients, "allow-client", nil, "clients that may use a listener beyond loopback: `PREFIX` such as 192.168.1.0/24; may repeat")
	f.BoolVar(&o.extended, "extended-errors", false, "pass Tor's error codes F0 to F7 on to SOCKS5 clients (default with tor://)")
	f.IntVar(&o.maxConns, "max-conns", 0, "connections served at once (default what the limit of open files allows)")
	f.DurationVar(&o.drain, "drain", 30*time.Second, "how long open connections may go on after an interrupt")
	f.DurationVar(&o.handshake, "handshake-timeout", 10*time.Second, "how long a client may take for its request")
	f.DurationVar(&o.connect, "connect-timeout", 150*time.Second, "how long the way out may take to connect")
	f.DurationVar(&o.idle, "idle-timeout", 0, "end a connection in which nothing moves for so long (default never)")
	f.StringSliceVar(&o.tor.isolate, "isolate", nil, "let requests share a Tor circuit only if this is equal, too: `WORDS` of destination, port, protocol, beside listener, client and credentials")
	f.StringSliceVar(&o.tor.noIsolate, "no-isolate", nil, "let requests share a Tor circuit though this differs: `WORDS` of listener, client, credentials")
	f.StringVar(&o.tor.torrc, "torrc", "", "further configuration of the tor that --via tor+spawn:// starts: `FILE`")
	f.StringVar(&o.stateDir, "state-dir", "", stateDirUsage)
	f.BoolVarP(&o.verbose, "verbose", "v", false, "log a line a connection, with its target")
	return cmd
}

// spareProcessor lets Go run one thread more than there are processors. An event loop
// of the relay that sleeps in the kernel holds one; without a spare, whatever wakes it
// waits for Go's scheduler to notice.
func spareProcessor() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
	}
}

// serve runs until ctx ends, and then for the drain.
func serve(ctx context.Context, o serveOptions, stderr io.Writer) error {
	stderr, show := newBootstraps(stderr)
	log := slog.New(slog.NewTextHandler(stderr, nil))
	out, err := openVia(ctx, o, log)
	if err != nil {
		return err
	}
	srv, err := build(o, out, log)
	if err != nil {
		return usageError{err}
	}
	listeners, err := openAll(ctx, o)
	if err != nil {
		return err
	}
	stop, err := startTor(ctx, out, o, show(log), log)
	if err != nil {
		closeAll(listeners)
		return err
	}
	defer stop()
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		fmt.Fprintf(stderr, "listening on %s\n", proxy.ListenerName(l.Addr()))
		go func() { failed <- srv.Serve(l) }()
	}
	select {
	case err = <-failed:
		srv.Close()
		return err
	case <-ctx.Done():
	}
	fmt.Fprintf(stderr, "hosier: stopping; open connections may go on for %v\n", o.drain)
	drain, cancel := context.WithTimeout(context.Background(), o.drain)
	defer cancel()
	if srv.Shutdown(drain) != nil {
		fmt.Fprintf(stderr, "hosier: ending the connections that are left\n")
	}
	return srv.Close()
}

// openVia makes the way out.
func openVia(ctx context.Context, o serveOptions, log *slog.Logger) (proxy.Egress, error) {
	if isTor(o.via) && o.dns == "" {
		return openTor(ctx, o, log)
	}
	err := o.tor.onlyTor(o.via)
	if err == nil {
		var out proxy.Egress
		if out, err = parseVia(o.via, o.dns, publicForOthers); err == nil {
			return out, nil
		}
	}
	return nil, usageError{err}
}

// build makes the server of the options. It opens nothing.
func build(o serveOptions, out proxy.Egress, log *slog.Logger) (*proxy.Server, error) {
	for name, d := range map[string]time.Duration{
		"drain": o.drain, "handshake-timeout": o.handshake, "connect-timeout": o.connect, "idle-timeout": o.idle,
	} {
		if d < 0 {
			return nil, fmt.Errorf("--%s %v: a time cannot be negative", name, d)
		}
	}
	if o.maxConns < 0 {
		return nil, fmt.Errorf("--max-conns %d: a number cannot be negative; 0 means what the limit of open files allows", o.maxConns)
	}
	clients, err := parseClients(o.clients)
	if err != nil {
		return nil, err
	}
	_, isTor := out.(*tor.Pool)
	srv := &proxy.Server{
		Policy: proxy.Policy{
			Route: func(_ context.Context, ses *proxy.Session) (proxy.Egress, error) {
				if !clients.admit(ses.Request) {
					return nil, fmt.Errorf("client %v is in no --allow-client: %w", ses.Client.Addr(), socks.NotAllowed)
				}
				return out, nil
			},
			ExtendedErrors:   o.extended || isTor,
			HandshakeTimeout: o.handshake,
			ConnectTimeout:   o.connect,
			IdleTimeout:      o.idle,
		},
		MaxConns: maxConns(o.maxConns),
		Log:      log,
	}
	if o.verbose {
		srv.Closed = func(ses *proxy.Session) { logSession(log, ses) }
	}
	return srv, nil
}

// maxConns leaves some descriptors to everything else; a connection takes two.
func maxConns(asked int) int {
	const rest = 64
	if asked > 0 {
		return asked
	}
	return max(descriptors()-rest, 2*rest) / 2
}

// clientRule names the clients that may use a listener beyond loopback.
type clientRule []netip.Prefix

func parseClients(list []string) (clientRule, error) {
	var rule clientRule
	for _, text := range list {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			ip, iperr := netip.ParseAddr(text)
			if iperr != nil {
				return nil, fmt.Errorf("--allow-client %s: write a prefix such as 192.168.1.0/24, or an address", text)
			}
			p = netip.PrefixFrom(ip, ip.BitLen())
		}
		rule = append(rule, p.Masked())
	}
	return rule, nil
}

func (rule clientRule) admit(r *socks.Request) bool {
	if cameLocally(r) {
		return true
	}
	for _, p := range rule {
		if p.Contains(r.Client.Addr()) {
			return true
		}
	}
	return false
}

// cameLocally reports whether the request came by a listener that only programs of this
// host can reach. The client's address would not do: a forwarder on this host lends its own.
func cameLocally(r *socks.Request) bool {
	ap, err := netip.ParseAddrPort(r.Listener)
	return strings.HasPrefix(r.Listener, "unix:") || err == nil && ap.Addr().IsLoopback()
}

// publicForOthers keeps clients of other hosts away from what only this host can reach.
func publicForOthers(r *socks.Request, ip netip.Addr) error {
	if cameLocally(r) {
		return nil
	}
	return egress.PublicOnly(r, ip)
}

// openAll opens every listener, or none.
func openAll(ctx context.Context, o serveOptions) (all []net.Listener, err error) {
	defer func() {
		if err != nil {
			closeAll(all)
		}
	}()
	for _, address := range o.listen {
		l, err := listen(ctx, address)
		if err != nil {
			return all, err
		}
		all = append(all, l)
		if leadsBack(o.via, l.Addr()) {
			return all, usageError{fmt.Errorf("--via %s leads back to --listen %s: every connection would go in a circle", redacted(o.via), proxy.ListenerName(l.Addr()))}
		}
		if !isLocal(l.Addr()) && len(o.clients) == 0 {
			return all, usageError{fmt.Errorf("--listen %s: other hosts could reach it, and anyone there could use it: "+
				"name the clients that may with --allow-client PREFIX, or listen on 127.0.0.1", address)}
		}
	}
	if len(all) == 0 {
		return nil, usageError{errors.New("--listen: there is no address to listen on")}
	}
	return all, nil
}

func closeAll(all []net.Listener) {
	for _, l := range all {
		l.Close()
	}
}
