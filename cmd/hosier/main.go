// Command hosier supplies SOCKS: a proxy of every dialect on one port that has names
// looked up on the far side, and the tools around it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"hosier/internal/daemon"
	"hosier/internal/printable"
)

func main() {
	os.Exit(run(untilSignal(), os.Args[1:], os.Stdout, os.Stderr))
}

// untilSignal returns a context that ends with the first signal to stop. By then the
// second one ends the program at once, as usual.
func untilSignal() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	first := make(chan os.Signal, 1)
	signal.Notify(first, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-first
		signal.Stop(first)
		cancel()
	}()
	return ctx
}

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// usageError is a mistake in the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// printed is a failure that stands on standard error already.
type printed struct{ error }

func (e printed) Unwrap() error { return e.error }

// run is the program: it ends when the command has, or soon after ctx, and returns the
// exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	started := false
	root := &cobra.Command{
		Use:   "hosier",
		Short: "A SOCKS proxy that has names looked up on the far side",
		Long: `hosier serves SOCKS4, 4A and 5, Tor's RESOLVE and HTTP CONNECT on one port, and
has names looked up where the egress ends: on this host, by another proxy, or in Tor.`,
		SilenceErrors:    true,
		SilenceUsage:     true,
		PersistentPreRun: func(*cobra.Command, []string) { started = true },
		Version:          versionLine(),
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.AddCommand(serveCommand(), resolveCommand(), statusCommand(), consoleCommand(), versionCommand())
	root.AddCommand(checkCommand(), explainCommand(), reloadCommand(), hashPasswordCommand())
	root.AddCommand(probeCommand())
	root.AddCommand(benchCommand())
	refuseUnknownTopics(root)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if no := (refused{}); errors.As(err, &no) {
		return exitFailed
	}
	if told := (printed{}); errors.As(err, &told) {
		return exitFailed
	}
	if wrong := (daemon.Mistakes{}); errors.As(err, &wrong) {
		fmt.Fprintln(stderr, printable.Lines(wrong.Error()))
		return exitUsage
	}
	fmt.Fprintf(stderr, "hosier: %s\n", printable.Lines(err.Error())) // it may quote another server
	usage, ofDaemon := usageError{}, daemon.UsageError{}
	if started && !errors.As(err, &usage) && !errors.As(err, &ofDaemon) {
		return exitFailed
	}
	fmt.Fprintln(stderr, "hosier: for the options, run it with --help")
	return exitUsage
}

// refuseUnknownTopics makes a mistake of what cobra answers with a page of help and success:
// a shell or a command that does not exist.
func refuseUnknownTopics(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "completion":
			c.RunE = func(c *cobra.Command, args []string) error {
				if len(args) > 0 {
					return usageError{fmt.Errorf("%q is not a shell that there is a completion for: write bash, zsh, fish or powershell", args[0])}
				}
				return c.Help()
			}
		case "help":
			c.Run = nil
			c.RunE = func(_ *cobra.Command, args []string) error {
				topic, rest, err := root.Find(args)
				if err != nil || len(rest) > 0 {
					return usageError{fmt.Errorf("there is no help on %q: hosier --help lists the commands", strings.Join(args, " "))}
				}
				topic.InitDefaultHelpFlag()
				return topic.Help()
			}
		}
	}
}
