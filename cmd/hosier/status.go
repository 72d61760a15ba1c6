package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"hosier/egress/tor"
	"hosier/internal/listen"
)

const (
	statusTimeout = 5 * time.Second
	reloadTimeout = time.Minute // tors may have to be looked for
	maxStatus     = 1 << 20     // bytes of an answer

	// maxSocketPath is the least limit of the systems for the path of a Unix socket.
	maxSocketPath = 103
)

// statusReport is what hosier status is told.
type statusReport struct {
	Tor []tor.Status `json:"tor"`
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
	f.StringVar(&dir, "state-dir", "", stateDirUsage)
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

const stateDirUsage = "where hosier keeps its isolation key, its tors' data and the socket of hosier status: `DIR` " +
	"(default $STATE_DIRECTORY, $XDG_STATE_HOME/hosier or ~/.local/state/hosier)"

func statusSocket(dir string) string { return filepath.Join(dir, "hosier.sock") }

// serveControl answers hosier status and hosier reload on a Unix socket in the state
// directory, which belongs to its owner alone. Where nobody will ask, and no other hosier
// could harm this one by the same directory, that it cannot is no reason not to serve.
func (d *daemon) serveControl(ctx context.Context, g *generation) error {
	tors, spawned := false, false
	for _, x := range g.exits {
		tors, spawned = tors || x.pool != nil, spawned || x.dir != ""
	}
	if !tors && d.source.file == "" {
		return nil
	}
	l, err := listenControl(ctx, g.config.StateDir)
	if err != nil {
		if spawned {
			return err // another hosier may run daemons in the same directories
		}
		d.log.Warn("hosier status and hosier reload will not find this one", "error", err)
		return nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), statusTimeout/2)
		defer cancel()
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(d.report(ctx)) // the client sees it if it fails
	})
	mux.HandleFunc("POST /reload", func(w http.ResponseWriter, _ *http.Request) {
		if err := d.reload(context.WithoutCancel(ctx)); err != nil {
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		}
	})
	srv := &http.Server{Handler: mux, ReadTimeout: statusTimeout, WriteTimeout: reloadTimeout}
	go srv.Serve(l)
	d.control = srv
	return nil
}

// listenControl makes the socket. Its error says what to do.
func listenControl(ctx context.Context, asked string) (net.Listener, error) {
	dir, err := stateDir(asked)
	if err != nil {
		return nil, err
	}
	path := statusSocket(dir)
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("state directory: %s has %d bytes, and the path of a Unix socket at most %d: choose a shorter --state-dir",
			path, len(path), maxSocketPath)
	}
	if err := listen.RemoveStale(path); err != nil {
		return nil, fmt.Errorf("%s: %w; give each hosier a --state-dir of its own", path, err)
	}
	return listen.Privately(func() (net.Listener, error) { return new(net.ListenConfig).Listen(ctx, "unix", path) })
}

// report is what hosier status is told.
func (d *daemon) report(ctx context.Context) (r statusReport) {
	g := d.current.Load()
	for _, e := range g.config.Egresses {
		if p := g.exits[e.Name].pool; p != nil {
			r.Tor = append(r.Tor, p.Status(ctx)...)
		}
	}
	return r
}

// askStatus asks the hosier of the state directory.
func askStatus(ctx context.Context, dir string) (report statusReport, err error) {
	if dir, err = stateDirPath(dir); err != nil {
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

// askControl asks the hosier that serves with the state directory.
func askControl(ctx context.Context, dir, method, path string) (*http.Response, error) {
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", statusSocket(dir))
		},
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://hosier"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := transport.RoundTrip(req)
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		return nil, fmt.Errorf("no hosier with a configuration file or a way out through Tor serves with the state directory %s (%w); name its --state-dir", dir, op.Err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s of %s: %w", path, statusSocket(dir), err)
	}
	return resp, nil
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
