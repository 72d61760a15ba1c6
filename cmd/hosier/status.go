package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"hosier/egress/tor"
)

const (
	statusTimeout = 5 * time.Second
	maxStatus     = 1 << 20 // bytes of an answer
)

// statusReport is what hosier status is told.
type statusReport struct {
	Admin string       `json:"admin,omitempty"` // http://host:port or unix:/path
	Tor   []tor.Status `json:"tor"`
}

func statusCommand() *cobra.Command {
	var dir string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status [--state-dir DIR] [--json]",
		Short: "Show how the tors of a running hosier are",
		Long: `status asks the hosier that serves with the same state directory about its way out
through Tor: whether each tor is ready, its version, how far it has bootstrapped, whether it
can build circuits, its open streams, and its last error. A dash is what is not known, such
as without a control port.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			report, err := askStatus(cmd.Context(), dir)
			if err != nil {
				return err
			}
			return report.print(cmd.OutOrStdout(), asJSON)
		},
	}
	f := cmd.Flags()
	f.StringVar(&dir, "state-dir", "", runningDirUsage)
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

const stateDirUsage = "where hosier keeps its isolation key, admin token, tors' data and socket of hosier status: `DIR` " +
	"(default $STATE_DIRECTORY, $XDG_STATE_HOME/hosier or ~/.local/state/hosier)"

// report is what hosier status is told.
func (d *daemon) report(ctx context.Context) (r statusReport) {
	g := d.current.Load()
	r.Admin = d.adminAt
	for _, e := range g.config.Egresses {
		if p := g.exits[e.Name].pool; p != nil {
			r.Tor = append(r.Tor, p.Status(ctx)...)
		}
	}
	return r
}

// askStatus asks the hosier of the state directory.
func askStatus(ctx context.Context, dir string) (report statusReport, err error) {
	if dir, err = runningStateDir(dir, serviceStateDir); err != nil {
		return report, fmt.Errorf("state directory (--state-dir): %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	resp, err := askControl(ctx, dir, http.MethodGet, "/status")
	if err != nil {
		return report, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxStatus)).Decode(&report); err != nil {
		return report, fmt.Errorf("status from %s: %w", statusSocket(dir), err)
	}
	return report, nil
}

// print writes the report as a table, or as JSON.
func (r statusReport) print(w io.Writer, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "TOR\tSTATE\tVERSION\tBOOTSTRAP\tCIRCUITS\tSTREAMS\tLAST ERROR")
	for _, s := range r.Tor {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.Name, s.State, orDash(s.Version), amount(s.Bootstrap, "%"),
			known(s.Circuits), amount(s.Streams, ""), lastError(s))
	}
	return table.Flush()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func known(s string) string {
	if s == "unknown" {
		return "-"
	}
	return s
}

func amount(n int, unit string) string {
	if n < 0 {
		return "-"
	}
	return strconv.Itoa(n) + unit
}

func lastError(s tor.Status) string {
	if s.Error == "" {
		return "-"
	}
	return s.ErrorTime.Local().Format(time.TimeOnly) + " " + s.Error
}
