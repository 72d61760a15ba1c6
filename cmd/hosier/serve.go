package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hosier/egress/tor"
	"hosier/internal/config"
	"hosier/internal/daemon"
	"hosier/internal/logging"
)

// serveOptions are what the command line says beside the keys of a configuration.
type serveOptions struct {
	config  string
	verbose bool
}

func serveCommand() *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the proxy",
		Long: `serve runs the proxy until it is interrupted. Each listener takes SOCKS4, 4A and 5,
Tor's RESOLVE and RESOLVE_PTR, and HTTP CONNECT. Names travel to the egress (--via) as
they are, and nothing leaves by an egress that you did not name.

The flags say what the keys of the same names say at the top of a configuration file
(--config, hosier.toml(5)), and win over it. SIGHUP, or hosier reload, reads the file again;
without a file SIGHUP, such as from a terminal that is closed, ends hosier in order.

On Linux nine tenths of the memory that the cgroup may have (that of a container, or of a unit
with MemoryMax=) count as GOMEMLIMIT, unless that is set.`,
		Example: `  hosier serve
  hosier serve --via socks5://user:password@proxy.example:1080
  hosier serve --via tor
  hosier serve --via tor+spawn://?daemons=2 --isolate destination
  hosier serve --via tor://127.0.0.1:9050?control=127.0.0.1:9051 --listen unix:/run/hosier.sock
  hosier serve --listen 192.168.1.1:1080 --allow-client 192.168.1.0/24
  hosier serve --config /etc/hosier/hosier.toml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			spareProcessor()
			manageHeap()
			s := daemon.Source{File: o.config, Flags: flagsOf(cmd.Flags()), Verbose: o.verbose}
			return serve(cmd.Context(), s, cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	configFlag(f, &o.config, "read the configuration `FILE`; the flags below win over it")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "log a line a connection, with its target")
	configFlags(f)
	return cmd
}

// configFlag adds --config. An empty name is an error, since it is mostly a variable that is
// not set, and without a file requests go directly.
func configFlag(f *pflag.FlagSet, to *string, usage string) {
	f.Func("config", usage, func(file string) error {
		if *to = file; file == "" {
			return errors.New("it is empty, as if from a variable that is not set; name a file, or leave it out")
		}
		return nil
	})
}

// configFlags are the flags that stand for keys of the same name at the top of a file.
// What they say by default is the affair of package config.
func configFlags(f *pflag.FlagSet) {
	f.StringArray("listen", nil, "where clients come in: `ADDR` is host:port or unix:/path; may repeat (default 127.0.0.1:1080)")
	f.StringArray("via", nil, "the egress: `EGRESS` is direct, socks5://[USER:PASSWORD@]HOST:PORT, socks4a://…, http://…, tor (one that runs here), tor://HOST:PORT[,HOST:PORT…][?control=ADDR…], tor+spawn://[?daemons=N] (hosier starts it); may repeat: the first that works (default direct)")
	f.StringArray("dns", nil, "the DNS server that --via direct asks: `SERVER` is IP[:PORT], tcp://IP, tls://IP#NAME or https://IP/PATH#NAME; may repeat (default the system's)")
	f.String("dns-cache", "", "whose cached answers a client gets: `WORD` is shared (all clients'), user (the same user's, or client's) or off (default user for users and clients on other hosts)")
	f.Duration("dns-stale", 0, "how long past its time a cached answer serves while no DNS server answers (default not at all)")
	f.StringArray("allow-client", nil, "clients that may use the listeners: `PREFIX` such as 192.168.1.0/24; may repeat")
	f.String("users", "", "who may use the listeners: a `FILE` of lines that hosier hash-password makes")
	f.StringSlice("dialects", nil, "serve only these: `WORDS` of socks4, socks5, connect")
	f.String("unsafe", "", "what becomes of requests with an address where a name was possible: `WORD` is allow, warn (the default) or refuse")
	f.Bool("extended-errors", false, "pass Tor's error codes F0 to F7 on to SOCKS5 clients (default with tor://)")
	f.Bool("defer-accept", false, "have Linux keep connections to itself until they have said something")
	f.Int("max-conns", 0, "connections served at once (default what the limit of open files allows)")
	f.Duration("drain", 30*time.Second, "how long open connections may go on after an interrupt")
	f.String("reload-drain", "", "what a reload does to connections that began before it: `WORD` is keep (the default) or now, which ends them")
	f.Duration("handshake-timeout", 10*time.Second, "how long a client may take for its request")
	f.Duration("connect-timeout", 150*time.Second, "how long the egress may take to connect, and each of several for itself")
	f.Duration("idle-timeout", 0, "end a connection in which nothing moves for so long (default never)")
	f.Duration("total-timeout", 0, "end a connection after so long, whatever moves (default never)")
	f.StringSlice("isolate", nil, "let requests share a Tor circuit only if this is equal, too: `WORDS` of destination, port, protocol, beside listener, client and credentials")
	f.StringSlice("no-isolate", nil, "let requests share a Tor circuit though this differs: `WORDS` of listener, client, credentials")
	f.String("torrc", "", "further configuration of the tor that --via tor+spawn:// starts: `FILE`")
	f.String("state-dir", "", stateDirUsage)
	f.String("admin", "", "where metrics and health are served: `ADDR` is host:port on loopback or unix:/path (default nowhere)")
}

// flagsOf returns the flags that were given, as keys of a configuration.
func flagsOf(f *pflag.FlagSet) (all []config.Flag) {
	keys := pflag.NewFlagSet("", pflag.ContinueOnError)
	configFlags(keys)
	f.Visit(func(one *pflag.Flag) {
		if keys.Lookup(one.Name) == nil {
			return
		}
		values := []string{one.Value.String()}
		if list, ok := one.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		all = append(all, config.Flag{Key: one.Name, Values: values})
	})
	return all
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
func serve(ctx context.Context, s daemon.Source, stderr io.Writer) error {
	text, err := s.Read()
	if err != nil {
		return err
	}
	c, err := s.Parse(text)
	if err != nil {
		return err
	}
	surviveBrokenPipes()
	queue := logging.NewQueue(stderr, logging.Notice(c.Log.JSON))
	defer queue.Close(flushTime)
	lines := screenOn(stderr, queue)
	d := daemon.New(c, lines, daemon.Options{
		Source: s, Text: text, Version: version(),
		Bootstraps: func(log *slog.Logger) func(string, tor.Status) { return newBootstraps(lines, log).changed },
	})
	// Whoever sees that it listens may send a SIGHUP, which would otherwise end it.
	hangup := make(chan os.Signal, 1)
	notifyHangup(hangup, s.File != "")
	defer signal.Stop(hangup)
	if err := d.Start(ctx, c); err != nil {
		return errors.Join(err, d.Close())
	}
	limitMemory(os.DirFS("/"), d.Log())
	// What was only needed to start goes, and the collector's own books, which it begins in
	// its first two rounds, are there before a client is.
	runtime.GC()
	runtime.GC()
	err = d.Run(ctx, hangup)
	if err = errors.Join(err, d.Close()); err != nil {
		fmt.Fprintf(lines, "hosier: %v\n", err)
		return printed{err}
	}
	return nil
}

// flushTime is how long the end of hosier waits for what reads its log.
const flushTime = time.Second

// screenOn returns what to write to in the place of stderr, which queue leads to: a screen
// if that is a terminal.
func screenOn(stderr io.Writer, queue *logging.Queue) io.Writer {
	if isTerminal(stderr) && os.Getenv("TERM") != "dumb" {
		return &screen{w: queue}
	}
	return queue
}
