package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/pflag"

	"hosier/internal/config"
	"hosier/internal/via"
)

// source is where the configuration comes from. It can be read again and again.
type source struct {
	file    string // "" for the command line alone
	flags   []config.Flag
	verbose bool
}

// configFlag adds --config. An empty name is an error, since it is mostly a variable that is
// not set, and without a file requests go directly.
func configFlag(f *pflag.FlagSet, to *string, usage string) {
	f.Func("config", usage, func(file string) error {
		if *to = file; file == "" {
			return errors.New("it is empty, as if from a variable that is not set; name a file, or leave it out")
		}
		return nil
	})
}

// load reads and checks the configuration. What is wrong with it is a usageError.
func (s source) load() (*config.Config, error) {
	text, err := s.read()
	if err != nil {
		return nil, err
	}
	return s.parse(text)
}

// read returns the text of the file; none without a file.
func (s source) read() ([]byte, error) {
	if s.file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(s.file)
	if bad := (*fs.PathError)(nil); errors.As(err, &bad) {
		err = bad.Err
	}
	if err != nil {
		return nil, usageError{fmt.Errorf("configuration file %s: %w", s.file, err)}
	}
	return text, nil
}

func (s source) parse(text []byte) (*config.Config, error) {
	c, err := config.Parse(s.file, text, config.Options{
		Via: via.Kind, Readable: readable, Users: userNames, TLS: func(cert, key, clientCA string) error {
			_, err := loadTLS(cert, key, clientCA)
			return err
		}, Flags: s.flags, Verbose: s.verbose,
	})
	if err != nil {
		return nil, mistakes{err}
	}
	return c, nil
}

// cut reports whether text is a beginning of the text in force: what a full disk or a
// write that is not over yet leaves. Lines is how many lines are missing, and inLine
// whether the last one that is there is half of a line. White space at the end is no text.
func cut(before, text []byte) (lines int, inLine bool) {
	rest, ok := bytes.CutPrefix(before, text)
	if !ok || len(bytes.TrimSpace(rest)) == 0 {
		return 0, false
	}
	inLine = len(text) > 0 && text[len(text)-1] != '\n' && rest[0] != '\n' && rest[0] != '\r'
	return bytes.Count(bytes.TrimSpace(rest), []byte("\n")) + 1, inLine
}
