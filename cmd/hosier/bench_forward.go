package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"hosier/internal/load"
)

// forwardCommand is the yardstick of bench, which runs it as a process of its own. It ends
// when its standard input does, so also when bench was killed.
func forwardCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "forward TARGET...",
		Hidden: true,
		Args:   cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var targets []netip.AddrPort
			for _, arg := range args {
				at, err := netip.ParseAddrPort(arg)
				if err != nil {
					return usageError{err}
				}
				targets = append(targets, at)
			}
			var lc net.ListenConfig
			lc.SetMultipathTCP(false)
			l, err := lc.Listen(cmd.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			stop := context.AfterFunc(cmd.Context(), func() { l.Close() })
			defer stop()
			fmt.Fprintln(cmd.OutOrStdout(), l.Addr())
			go func() {
				io.Copy(io.Discard, cmd.InOrStdin())
				l.Close()
			}()
			return load.Forward(l, targets)
		},
	}
}

// startForwarder runs the yardstick, and returns where it listens and its process.
func startForwarder(targets []netip.AddrPort) (at netip.AddrPort, pid int, end func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return at, 0, nil, err
	}
	cmd := exec.Command(self, "bench", "forward")
	for _, t := range targets {
		cmd.Args = append(cmd.Args, t.String())
	}
	said, err := cmd.StdoutPipe()
	if err != nil {
		return at, 0, nil, err
	}
	life, err := cmd.StdinPipe()
	if err != nil {
		return at, 0, nil, err
	}
	p, err := load.Start(cmd)
	if err != nil {
		return at, 0, nil, err
	}
	stop := func() {
		life.Close()
		p.Stop()
	}
	line, err := bufio.NewReader(said).ReadString('\n')
	if err == nil {
		at, err = netip.ParseAddrPort(strings.TrimSpace(line))
	}
	if err != nil {
		stop()
		return at, 0, nil, fmt.Errorf("it did not say where it listens: %w", err)
	}
	return at, p.PID(), stop, nil
}
