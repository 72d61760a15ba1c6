package main

import (
	"errors"
	"fmt"

	"hosier/internal/daemon"

	"github.com/spf13/cobra"
)

func checkCommand() *cobra.Command {
	var quiet bool
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Check a configuration file",
		Long: `check reads a configuration file and reports every mistake in it at once, each with
file:line:column and the fix; then the exit code is 2. It opens nothing and asks nobody.
Of a file without a mistake it prints what is true of every request under its rules: who
decides about .onion names, where names are looked up, and what can reach this host's own
network.`,
		Example: "  hosier check /etc/hosier/hosier.toml",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] == "" {
				return usageError{errors.New("the name of the file is empty, as if from a variable that is not set")}
			}
			c, err := daemon.Source{File: args[0]}.Load()
			if err != nil || quiet {
				return err
			}
			for _, line := range c.Rules.Proof() {
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), line); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "say nothing of a file without a mistake")
	return cmd
}
