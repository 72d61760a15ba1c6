// Command man writes the manual pages of hosier's commands. It makes them of what the
// program itself says with --help, so that it knows no command and no flag by name.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: go run ./packaging/man PROGRAM DIR")
		os.Exit(2)
	}
	date, err := pageDate(os.Getenv("SOURCE_DATE_EPOCH"), time.Now())
	if err == nil {
		w := writer{program: os.Args[1], dir: os.Args[2], date: date}
		err = w.write(nil, "A SOCKS proxy that has names looked up on the far side")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "man:", err)
		os.Exit(1)
	}
}

// pageDate is the date of the sources, if they have one (reproducible-builds.org).
func pageDate(epoch string, now time.Time) (time.Time, error) {
	if epoch == "" {
		return now.UTC(), nil
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH=%q: write seconds since 1970", epoch)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// writer writes the pages of a program into a directory that exists.
type writer struct {
	program, dir string
	date         time.Time
}

// write writes the page of a command, of which brief says what it does, and the pages of
// the commands below it. The names are those of the command and of the ones above it.
func (w writer) write(names []string, brief string) error {
	h, err := w.ask(names)
	if err != nil {
		return fmt.Errorf("%s --help: %w", strings.Join(append([]string{w.program}, names...), " "), err)
	}
	p := page{names: append([]string{"hosier"}, names...), brief: brief, date: w.date, help: h}
	if err := os.WriteFile(filepath.Join(w.dir, p.name()+".1"), p.mdoc(), 0o644); err != nil {
		return err
	}
	for _, c := range h.commands {
		if err := w.write(append(slices.Clone(names), c.name), c.short); err != nil {
			return err
		}
	}
	return nil
}

func (w writer) ask(names []string) (help, error) {
	text, err := exec.Command(w.program, append(slices.Clone(names), "--help")...).Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return help{}, fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	if err != nil {
		return help{}, err
	}
	return parse(string(text))
}
