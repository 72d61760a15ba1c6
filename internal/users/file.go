package users

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const maxFile = 16 << 20 // bytes

// List is the users of one file. It does not change.
type List struct {
	users map[string]*secret
	dummy *secret           // for unknown users
	sum   [sha256.Size]byte // of the file

	// Warnings are what the operator should know of the file though it can be used.
	Warnings []string
}

// LineError is a mistake in a line of the file. It shows nothing of a hash or password.
type LineError struct {
	File string
	Line int // from 1
	Text string
}

func (e *LineError) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Text) }

// Load reads the file. Every bad line is in the error, each as a *[LineError]. A file that
// anybody may write is an error; one that anybody may read is a warning, since secrets
// are often mounted so.
func Load(file string) (*List, error) {
	info, err := os.Stat(file) // before opening, which waits where nobody writes a pipe
	if err != nil {
		return nil, fmt.Errorf("file of users: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("file of users: %s is not a regular file", file)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("file of users: %w", err)
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, fmt.Errorf("file of users: %w", err)
	}
	l, err := parse(f, file)
	if err != nil {
		return nil, err
	}
	warning, err := judgeMode(file, info.Mode())
	if warning != "" {
		l.Warnings = append(l.Warnings, warning)
	}
	return l, err
}

func parse(r io.Reader, file string) (*List, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("file of users: %w", err)
	case len(text) > maxFile:
		return nil, fmt.Errorf("file of users: %s is larger than %d MiB", file, maxFile>>20)
	}
	if bytes.HasPrefix(text, []byte{0xff, 0xfe}) || bytes.HasPrefix(text, []byte{0xfe, 0xff}) {
		return nil, &LineError{file, 1, "this file is UTF-16, and must be UTF-8: save it as UTF-8"}
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff")) // the byte order mark of editors of Windows
	l, lines, errs, n := &List{users: map[string]*secret{}, sum: sha256.Sum256(text)}, map[string]int{}, []error(nil), 0
	for line := range bytes.Lines(text) {
		n++
		name, s, err := parseLine(strings.TrimSpace(string(line)))
		switch first := lines[name]; {
		case err == nil && name == "": // a comment
		case err == nil && first > 0:
			err = fmt.Errorf("user %q stands in line %d already: delete one of the two", name, first)
		case name != "":
			lines[name] = n
			l.users[name] = s
		}
		if err != nil {
			errs = append(errs, &LineError{file, n, err.Error()})
		}
	}
	if len(errs) == 0 && len(l.users) == 0 {
		errs = append(errs, fmt.Errorf("file of users: %s has no user: add a line with %q", file, "hosier hash-password --user NAME"))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	l.dummy = commonCost(l.users).dummy()
	return l, nil
}

// parseLine returns no name for a blank line or a comment. With an error there may be one.
func parseLine(line string) (name string, s *secret, err error) {
	if line == "" || line[0] == '#' {
		return "", nil, nil
	}
	name, hash, ok := strings.Cut(line, ":")
	if !ok { // it may be a password
		return "", nil, errors.New(`not "name:hash": make the line with "hosier hash-password --user NAME"`)
	}
	if err := CheckName(name); err != nil {
		return "", nil, err
	}
	if s, err = parseHash(hash); err != nil {
		return name, nil, fmt.Errorf("user %q: %w", name, err)
	}
	return name, s, nil
}

// CheckName reports whether a user may have this name: 1 to 255 bytes that can be printed,
// no colon, no space at either end.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("user has no name")
	case len(name) > maxPassword:
		return fmt.Errorf("name of the user has %d bytes; SOCKS5 carries at most %d", len(name), maxPassword)
	case strings.Contains(name, ":"):
		return errors.New("name of the user has a colon in it, which ends a name in the file and in HTTP")
	case strings.TrimSpace(name) != name:
		return fmt.Errorf("user %q: the name has a space at its beginning or end", name)
	case name[0] == '#':
		return fmt.Errorf("user %q: a line that begins with # is a comment", name)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsGraphic(r) }):
		return fmt.Errorf("user %q: the name has a character that cannot be printed", name)
	}
	return nil
}

// commonCost returns what most of the users cost; of equally many, the most work.
func commonCost(users map[string]*secret) (common cost) {
	counts := map[cost]int{}
	for _, s := range users {
		counts[s.cost]++
	}
	for c, n := range counts {
		if n > counts[common] || n == counts[common] && c.work() > common.work() {
			common = c
		}
	}
	return common
}

// work orders costs.
func (c cost) work() uint64 {
	return uint64(c.bcrypt)<<48 + uint64(c.memory)*uint64(c.time)<<8 + uint64(c.threads)
}

// Has reports whether there is a user of this name.
func (l *List) Has(name string) bool { return l.users[name] != nil }

// Names returns the names of the users, in order.
func (l *List) Names() []string { return slices.Sorted(maps.Keys(l.users)) }

// memory is what matches takes for the name, in KiB.
func (l *List) memory(name string) uint32 {
	if s, known := l.users[name]; known {
		return s.cost.memory
	}
	return l.dummy.cost.memory
}

// matches computes one hash, whatever the name is.
func (l *List) matches(name, password string) bool {
	s, known := l.users[name]
	if !known {
		s = l.dummy
	}
	return s.matches(password) && known
}
