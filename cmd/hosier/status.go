package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"hosier/egress/tor"
	"hosier/internal/daemon"
	"hosier/internal/printable"
)

const (
	maxStatus = 1 << 20 // bytes of an answer
)

func statusCommand() *cobra.Command {
	var dir string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status [--state-dir DIR] [--json]",
		Short: "Show how a running hosier is, and its tors",
		Long: `status asks the hosier that serves with the same state directory whether it can serve,
since when it runs, its listeners, its egresses and how many connections are open; of each tor,
whether it is ready, its version, how far it has bootstrapped, whether it can build circuits, its
open streams, and its last error. A dash is what is not known, such as without a control port.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			answer, err := askStatus(cmd.Context(), dir)
			if err != nil {
				return err
			}
			return report{answer}.print(cmd.OutOrStdout(), asJSON)
		},
	}
	f := cmd.Flags()
	f.StringVar(&dir, "state-dir", "", runningDirUsage)
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

const stateDirUsage = "where hosier keeps its isolation key, admin token, tors' data and socket of hosier status: `DIR` " +
	"(default $STATE_DIRECTORY, $XDG_STATE_HOME/hosier or ~/.local/state/hosier)"

// askStatus asks the hosier of the state directory.
func askStatus(ctx context.Context, dir string) (answer daemon.Report, err error) {
	if dir, err = runningStateDir(dir, serviceStateDir); err != nil {
		return answer, fmt.Errorf("state directory (--state-dir): %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, daemon.StatusTimeout)
	defer cancel()
	resp, err := askControl(ctx, dir, http.MethodGet, "/api/v1/report")
	if err != nil {
		return answer, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxStatus)).Decode(&answer); err != nil {
		return answer, fmt.Errorf("status from %s: %w", daemon.ControlSocket(dir), err)
	}
	return answer, nil
}

// report is a [daemon.Report] for people.
type report struct{ daemon.Report }

// print writes the report as a table, or as JSON. Nothing in it drives a terminal: root may ask a
// service that it does not trust.
func (r report) print(w io.Writer, asJSON bool) error {
	var b bytes.Buffer
	if !asJSON {
		if err := r.printTables(&b); err != nil {
			return err
		}
		_, err := io.WriteString(w, printable.Lines(b.String()))
		return err
	}
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	if err := e.Encode(r.Report); err != nil {
		return err
	}
	_, err := w.Write(printable.JSON(b.Bytes()))
	return err
}

// printTables writes what is true of every hosier, and the tors below it.
func (r report) printTables(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	r.printProcess(table)
	if len(r.Tor) == 0 {
		return table.Flush()
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(table, "TOR\tSTATE\tVERSION\tBOOTSTRAP\tCIRCUITS\tSTREAMS\tLAST ERROR")
	for _, s := range r.Tor {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.Name, s.State, orDash(s.Version), amount(s.Bootstrap, "%"),
			known(s.Circuits), amount(s.Streams, ""), lastError(s))
	}
	return table.Flush()
}

// printProcess writes what is true of every hosier, a line each.
func (r report) printProcess(w io.Writer) {
	word := map[bool]string{true: "ready", false: "cannot serve"}
	fmt.Fprintf(w, "hosier\t%s, %s, pid %d, since %s\n", word[r.Ready], r.Version, r.PID, r.Started.Local().Format(time.DateTime))
	if r.Config != "" {
		fmt.Fprintf(w, "configuration\t%s, read %s\n", r.Config, r.Loaded.Local().Format(time.DateTime))
	}
	for _, l := range r.Listeners {
		about := l.Traits
		if l.Name != l.Address {
			about = append([]string{l.Name}, about...)
		}
		fmt.Fprintf(w, "listener\t%s\n", strings.Join(append([]string{l.Address}, about...), ", "))
	}
	for _, e := range r.Egresses {
		fmt.Fprintf(w, "egress\t%s, %s\n", e.Name, word[e.Ready])
	}
	if r.Admin != "" {
		fmt.Fprintf(w, "admin\t%s\n", r.Admin)
	}
	fmt.Fprintf(w, "connections\t%d\n", r.Connections)
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
