package main

import (
	"fmt"
	"regexp"
	"strings"
)

// help is what a command of cobra says with --help.
type help struct {
	about           string // paragraphs, with blank lines between them
	usage, examples []string
	commands        []command
	flags           []flag
}

// command is a command below another one.
type command struct{ name, short string }

// flag is an option. The letter and the value may be "".
type flag struct{ letter, name, value, use string }

var (
	commandLine = regexp.MustCompile(`^  (\S+) +(\S.*)$`)
	// A usage begins three spaces or more after the longest flag, and a value has no two.
	flagLine = regexp.MustCompile(`^ {2,}(?:-(\w), )?--([\w-]+)(?: (\S+))? {3,}(\S.*)$`)
)

// parse takes the help apart. A line of which it can make nothing is an error: it would
// be missing in the page.
func parse(text string) (h help, err error) {
	section := "" // before the first title
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch line {
		case "Usage:", "Examples:", "Available Commands:", "Flags:", "Global Flags:":
			section = line
			continue
		}
		if strings.HasPrefix(line, `Use "hosier `) && section != "" {
			continue
		}
		if section == "" {
			h.about += line + "\n"
		} else if line != "" {
			if err := h.add(section, line); err != nil {
				return h, err
			}
		}
	}
	if h.about = strings.TrimSpace(h.about); h.about == "" || h.usage == nil {
		return h, fmt.Errorf("no description or no usage in %q", text)
	}
	return h, nil
}

func (h *help) add(section, line string) error {
	switch section {
	case "Usage:":
		h.usage = append(h.usage, strings.TrimSpace(line))
	case "Examples:":
		h.examples = append(h.examples, strings.TrimPrefix(line, "  "))
	case "Available Commands:":
		m := commandLine.FindStringSubmatch(line)
		if m == nil {
			return fmt.Errorf("not a command: %q", line)
		}
		h.commands = append(h.commands, command{m[1], m[2]})
	default:
		m := flagLine.FindStringSubmatch(line)
		if m == nil {
			return fmt.Errorf("not a flag: %q", line)
		}
		h.flags = append(h.flags, flag{m[1], m[2], m[3], m[4]})
	}
	return nil
}
