package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"hosier/internal/config"
	"hosier/internal/users"
)

// Source is where the configuration is read from, repeatedly. It can be read again and
// again.
type Source struct {
	File    string // "" for the command line alone
	Flags   []config.Flag
	Verbose bool
}

// Load reads and checks the configuration. Mistakes are a UsageError. What is wrong with
// it is a UsageError.
func (s Source) Load() (*config.Config, error) {
	text, err := s.Read()
	if err != nil {
		return nil, err
	}
	return s.Parse(text)
}

// Read returns the text of the file; none without a file.
func (s Source) Read() ([]byte, error) {
	if s.File == "" {
		return nil, nil
	}
	text, err := os.ReadFile(s.File)
	if bad := (*fs.PathError)(nil); errors.As(err, &bad) {
		err = bad.Err
	}
	if err != nil {
		return nil, UsageError{fmt.Errorf("configuration file %s: %w", s.File, err)}
	}
	return text, nil
}

// Parse checks the text of the file. Its error is [Mistakes]. What is wrong with it is
// [Mistakes].
func (s Source) Parse(text []byte) (*config.Config, error) {
	c, err := config.Parse(s.File, text, config.Options{
		Readable: readable, Users: userNames, TLS: func(cert, key, clientCA string) error {
			_, err := loadTLS(cert, key, clientCA)
			return err
		}, Flags: s.Flags, Verbose: s.Verbose,
	})
	if err != nil {
		return nil, Mistakes{err}
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

// readable opens regular files only: opening a pipe could block forever.
func readable(path string) error {
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		return errors.New("it is a directory")
	}
	if err == nil && info.Mode().IsRegular() {
		var f *os.File
		if f, err = os.Open(path); err == nil {
			return f.Close()
		}
	}
	if bad := (*fs.PathError)(nil); errors.As(err, &bad) {
		err = bad.Err
	}
	return err
}

// userNames returns the names in a users file, or its mistakes with their positions.
func userNames(file string) ([]string, error) {
	list, err := users.Load(file)
	if err == nil {
		return list.Names(), nil
	}
	all := []error{err}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		all = many.Unwrap()
	}
	var placed config.Errors
	for _, err := range all {
		line := (*users.LineError)(nil)
		if !errors.As(err, &line) {
			return nil, err
		}
		placed = append(placed, &config.Error{File: line.File, Line: line.Line, Column: 1, Text: line.Text})
	}
	return nil, placed
}

// UsageError is a mistake of the operator, on the command line or in a file.
type UsageError struct{ error }

func (e UsageError) Unwrap() error { return e.error }

// Mistakes is the text of a configuration's mistakes: one a line, with its position in
// front.
type Mistakes struct{ error }

func (e Mistakes) Unwrap() error { return e.error }

// NewMistakes returns the text of a Mistakes as one again.
func NewMistakes(text string) error { return Mistakes{errors.New(text)} }
