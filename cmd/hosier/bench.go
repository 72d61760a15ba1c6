package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"hosier/internal/load"
)

type benchOptions struct {
	load        load.Options
	modes       []string
	run         []string
	pids        []string
	socks       string
	name        string
	user        string
	origin      string
	remote      bool
	noForwarder bool
	json        bool
	quiet       bool
}

func benchCommand() *cobra.Command {
	o := benchOptions{load: load.Defaults()}
	cmd := &cobra.Command{
		Use:   "bench [LABEL=]ADDR...",
		Short: "Measure what SOCKS servers cost, side by side",
		Long: `bench puts a load on the SOCKS servers at the addresses, hosier or not, and says what
relays through them cost in time, processor, memory and descriptors. The servers take
turns (A B A B), beside a raw forwarder without SOCKS as the yardstick; medians and the
ratios within a round are reported, since the times alone tell more about the machine.

  rate   connect, handshake, one byte there and back, close
  down   bytes from the far side to the client
  up     bytes from the client to the far side
  rtt    small messages there and back on one relay
  idle   many silent relays, and then messages across all of them

The far side is an origin that bench opens on loopback. Before the load, one connection goes
through each server, and one that cannot lead it ends bench. Costs are those of the processes
that listen at the address on this host (Linux; those of other users for root alone), or that
--pid or --run names. Memory of idle relays is best measured on a server that did
nothing before: --run starts it anew for that.`,
		Example: `  hosier bench 127.0.0.1:1080
  hosier bench --run 'hosier serve --listen 127.0.0.1:1085' hosier=127.0.0.1:1085
  hosier bench --mode rate,rtt new=127.0.0.1:1080 old=127.0.0.1:1081
  hosier bench --mode idle --relays 9000 --run 'microsocks -i 127.0.0.1 -p 1086' 127.0.0.1:1086`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("cpu") {
				o.load.CPU = autoCPU
			}
			return runBench(cmd.Context(), o, args, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.addFlags(cmd)
	cmd.AddCommand(forwardCommand())
	return cmd
}

// autoCPU stands for the last processor, if every server can be moved there.
const autoCPU = -2

func (o *benchOptions) addFlags(cmd *cobra.Command) {
	f, l := cmd.Flags(), &o.load
	f.StringSliceVar(&o.modes, "mode", modeNames(), "what to do: `MODE,...`")
	f.StringArrayVar(&o.run, "run", nil, "start the server with `COMMAND`; may repeat, in the order of the addresses, '' for none")
	f.StringArrayVar(&o.pids, "pid", nil, "the server's process, if it is not found by its address: `PID`, or PID,PID; may repeat, in the order of the addresses, '' for none")
	f.StringVar(&o.socks, "socks", "5", "the dialect to speak: 4, 4a, 5 or connect (HTTP)")
	f.StringVar(&o.name, "name", "", "ask for the origin by `NAME`, which the server must look up to the origin's address (4a: localhost)")
	f.StringVar(&o.user, "user", "", "log in as `USER:PASSWORD`; with 4 and 4a the user id")
	f.IntVar(&l.Rounds, "rounds", l.Rounds, "turns of each server in each mode")
	f.DurationVar(&l.Time, "time", l.Time, "how long a turn takes")
	f.DurationVar(&l.Timeout, "timeout", l.Timeout, "how long a server may take to answer")
	f.IntVar(&l.Conns, "conns", l.Conns, "rate: relays in flight")
	f.IntVar(&l.Count, "count", l.Count, "rate: relays a turn at most")
	f.IntVar(&l.Streams, "streams", l.Streams, "down, up: streams at once")
	f.IntVar(&l.Relays, "relays", l.Relays, "idle: relays to hold open")
	f.IntVar(&l.Message, "message", l.Message, "rtt, idle: bytes of a message")
	f.IntVar(&l.Hold, "hold", l.Hold, "the other modes: silent relays to hold open meanwhile")
	f.IntVar(&l.CPU, "cpu", l.CPU, "rtt: run everything on processor `N`, -1 for all (default the last, if the processes of all servers are known)")
	f.BoolVar(&o.noForwarder, "no-forwarder", false, "leave the yardstick out; ratios are then to the first server")
	f.StringVar(&o.origin, "origin", "127.0.0.1", "the `IP` of this host on which the origin listens, as the servers reach it")
	f.BoolVar(&o.remote, "allow-remote", false, "allow servers and an origin beyond loopback: do so only where a load harms nobody")
	f.BoolVar(&o.json, "json", false, "print all there is as JSON")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "do not say what is being done")
}

func modeNames() (names []string) {
	for _, m := range load.Modes() {
		names = append(names, string(m))
	}
	return names
}

// runBench does what the command line asks for.
func runBench(ctx context.Context, o benchOptions, args []string, stdout, stderr io.Writer) (err error) {
	servers, err := o.prepare(ctx, args)
	if err != nil {
		return usageError{err}
	}
	if !o.quiet {
		o.load.Progress = func(text string) { fmt.Fprintf(stderr, "bench: %s\n", text) }
	}
	if !o.noForwarder {
		o.load.Yardstick = startForwarder
	}
	all, err := startAll(ctx, servers, o.run)
	defer func() { all.stop() }()
	if err != nil {
		return err
	}
	if err := find(ctx, o.load, servers); err != nil {
		return err
	}
	if !o.quiet {
		noteUnknown(servers, stderr)
	}
	if o.load.CPU == autoCPU {
		o.load.CPU = -1
		if allKnown(servers) {
			o.load.CPU = load.LastCPU()
		}
	}
	report, err := load.Run(ctx, o.load, servers)
	if err != nil {
		return err
	}
	if o.json {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		err = e.Encode(report)
	} else {
		err = report.Print(stdout)
	}
	if err == nil && report.Failed() {
		err = errors.New("a server did nothing of what it was asked: the report says why")
	}
	return err
}

func allKnown(servers []load.Server) bool {
	return !slices.ContainsFunc(servers, func(s load.Server) bool { return len(s.PIDs) == 0 })
}

// awaitServer is how long a server may take to listen.
const awaitServer = 15 * time.Second
