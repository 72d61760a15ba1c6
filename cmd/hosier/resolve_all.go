package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"hosier/internal/daemon"
	"hosier/internal/printable"
)

// checkRunning returns an error if there are flags that make no sense with --all or --flush.
func checkRunning(f *pflag.FlagSet) error {
	if f.Changed("all") && f.Changed("flush") {
		return errors.New("--all and --flush: choose one")
	}
	for _, other := range []string{"proxy", "socks4a", "socks5", "reverse", "timeout"} {
		if f.Changed(other) {
			return fmt.Errorf("--%s: --all and --flush ask no proxy, but a running hosier by its state directory; leave it out", other)
		}
	}
	return nil
}

// resolveRunning asks the hosier of a state directory what its direct egresses know of a name,
// or has it forget what it knows.
func resolveRunning(ctx context.Context, w io.Writer, o resolveOptions, args []string) error {
	if o.flush {
		var answer daemon.Flushed
		if err := askNames(ctx, o.stateDir, http.MethodPost, "/resolve/flush", &answer); err != nil {
			return err
		}
		_, err := fmt.Fprintf(w, "flushed %d cached answers\n", answer.Flushed)
		return err
	}
	var report daemon.NameReport
	if err := askNames(ctx, o.stateDir, http.MethodGet, "/resolve?name="+url.QueryEscape(args[0]), &report); err != nil {
		return err
	}
	if err := printNames(w, report, o.json); err != nil {
		return err
	}
	for _, a := range report.Answers {
		if len(a.Values) > 0 {
			return nil
		}
	}
	return fmt.Errorf("%s does not resolve", printable.String(report.Name))
}

// askNames asks the hosier of a state directory, and reads its answer.
func askNames(ctx context.Context, dir, method, path string, answer any) error {
	dir, err := runningStateDir(dir, serviceStateDir)
	if err != nil {
		return fmt.Errorf("state directory (--state-dir): %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, daemon.LookupTimeout+time.Second)
	defer cancel()
	resp, err := askControl(ctx, dir, method, path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body := io.LimitReader(resp.Body, maxStatus)
	if resp.StatusCode == http.StatusOK {
		if err := json.NewDecoder(body).Decode(answer); err != nil {
			return fmt.Errorf("%s from %s: %w", method, daemon.ControlSocket(dir), err)
		}
		return nil
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	err = errors.New(printable.String(strings.TrimSpace(string(text))))
	if resp.StatusCode == http.StatusBadRequest {
		return usageError{err}
	}
	return err
}

// printNames writes a line for each value, or for why there is none, or JSON.
func printNames(w io.Writer, report daemon.NameReport, asJSON bool) error {
	if asJSON {
		text, err := json.MarshalIndent(report, "", "  ")
		if err != nil {
			return err
		}
		_, err = w.Write(append(printable.JSON(text), '\n'))
		return err
	}
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "TYPE\tANSWER\tTTL\tCACHED\tFROM")
	for _, a := range report.Answers {
		values := a.Values
		if len(values) == 0 {
			values = []string{"- " + a.Error}
		}
		for _, v := range values {
			fmt.Fprintf(table, "%s\t%s\t%v\t%s\t%s\n", a.Type, v, time.Duration(a.TTL)*time.Second, map[bool]string{true: "yes", false: "no"}[a.Cached], orDash(a.From))
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, printable.Lines(b.String()))
	return err
}
