package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const sample = `do does it. .onion names
too.

  as    it stands

Usage:
  hosier do THING [flags]
  hosier do [command]

Examples:
  hosier do --all

Available Commands:
  less        Do less

Flags:
  -a, --all             everything
      --some-file FILE   a FILE (default "x")

Global Flags:
  -h, --help   help for do

Use "hosier do [command] --help" for more information about a command.
`

func TestParse(t *testing.T) {
	t.Parallel()
	got, err := parse(sample)
	want := help{
		about:    "do does it. .onion names\ntoo.\n\n  as    it stands",
		usage:    []string{"hosier do THING [flags]", "hosier do [command]"},
		examples: []string{"hosier do --all"},
		commands: []command{{"less", "Do less"}},
		flags:    []flag{{"a", "all", "", "everything"}, {"", "some-file", "FILE", `a FILE (default "x")`}, {"h", "help", "", "help for do"}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(help{}, command{}, flag{})); diff != "" || err != nil {
		t.Error(err, diff)
	}
}

// What the parser does not understand must not vanish from the pages.
func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"nothing":          "",
		"no usage":         "about\n",
		"no description":   "Usage:\n  hosier\n",
		"a second line":    strings.Replace(sample, "everything", "everything\nand more", 1),
		"a flag without -": strings.Replace(sample, "-a, --all", "all", 1),
		"a lone command":   strings.Replace(sample, "less        Do less", "less", 1),
	} {
		if got, err := parse(text); err == nil {
			t.Errorf("%s: parsed as %+v", name, got)
		}
	}
}

func TestMdoc(t *testing.T) {
	t.Parallel()
	h, err := parse(sample)
	if err != nil {
		t.Fatal(err)
	}
	p := page{names: []string{"hosier", "do"}, brief: "Do it", date: time.Unix(0, 0).UTC(), help: h}
	want := `.\" Made of what the program says with --help.
.Dd January 1, 1970
.Dt HOSIER-DO 1
.Os
.Sh NAME
.Nm hosier-do
.Nd do it
.Sh SYNOPSIS
hosier do THING [flags]
.br
hosier do [command]
.Sh DESCRIPTION
do does it.
\&.onion names too.
.Bd -literal -offset indent
as    it stands
.Ed
.Pp
The commands:
.Bl -tag -width Ds
.It Ic less
Do less.
.El
.Pp
The options:
.Bl -tag -width Ds
.It Fl a , Fl \-all
everything.
.It Fl \-some\-file Ar FILE
a FILE (default \(dqx\(dq).
.It Fl h , Fl \-help
help for do.
.El
.Sh EXAMPLES
.Bd -literal -offset indent
hosier do \-\-all
.Ed
.Sh SEE ALSO
.Xr hosier 1 ,
.Xr hosier-do-less 1 ,
.Xr hosier.toml 5
`
	if diff := cmp.Diff(want, string(p.mdoc())); diff != "" {
		t.Error(diff)
	}
}

func TestPageDate(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	for epoch, want := range map[string]int64{"": 1e9, "86400": 86400, "-1": -1} {
		if got, err := pageDate(epoch, now); err != nil || got.Unix() != want {
			t.Errorf("%q: %v, %v", epoch, got, err)
		}
	}
	if _, err := pageDate("yesterday", now); err == nil {
		t.Error("yesterday was taken for a number")
	}
}
