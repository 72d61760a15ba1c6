package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"hosier/internal/daemon"

	"github.com/spf13/cobra"
)

func reloadCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "reload [--state-dir DIR]",
		Short: "Have a running hosier read its configuration anew",
		Long: `reload has the hosier that serves with the same state directory read its configuration
file again, as SIGHUP does, and waits for the outcome. A file with mistakes changes nothing:
they are printed, and the exit code is 2, as it is where there is no file. Connections that are open go on as they began,
unless the new file says reload-drain = "now".`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return reload(cmd.Context(), dir)
		},
	}
	cmd.Flags().StringVar(&dir, "state-dir", "", runningDirUsage)
	return cmd
}

func reload(ctx context.Context, dir string) error {
	dir, err := runningStateDir(dir, serviceStateDir)
	if err != nil {
		return fmt.Errorf("state directory (--state-dir): %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, daemon.ReloadTimeout)
	defer cancel()
	resp, err := askControl(ctx, dir, http.MethodPost, "/api/v1/reload")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxStatus))
	if err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	return daemon.NewMistakes(strings.TrimSpace(string(text)))
}
