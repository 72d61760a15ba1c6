package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"hosier/internal/users"
)

func hashPasswordCommand() *cobra.Command {
	var user string
	cmd := &cobra.Command{
		Use:   "hash-password [--user NAME]",
		Short: "Make a line for the file of users",
		Long: `hash-password reads a password and prints its argon2id hash, with --user as a line for
the file of users. It asks for the password on the terminal, twice, without showing it;
where standard input is no terminal, it reads one line of it. It takes no password as
an argument: other programs could read it there.`,
		Example: `  hosier hash-password --user alice >> /etc/hosier/users
  pass show proxy/alice | hosier hash-password --user alice`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("user") {
				if err := users.CheckName(user); err != nil {
					return usageError{fmt.Errorf("--user: %w", err)}
				}
			}
			password, err := readPassword(cmd.Context(), cmd.InOrStdin(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			hash, err := users.Hash(password)
			if err != nil {
				return err
			}
			if user != "" {
				hash = user + ":" + hash
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), hash)
			return err
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "print a whole line, for the user of this `NAME`")
	return cmd
}

// readPassword asks whoever sits at a terminal, or takes the line that in has.
func readPassword(ctx context.Context, in io.Reader, prompts io.Writer) (string, error) {
	if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return askPassword(ctx, int(f.Fd()), prompts)
	}
	text, err := io.ReadAll(io.LimitReader(in, 4096)) // more than any password has
	if err != nil {
		return "", fmt.Errorf("standard input: %w", err)
	}
	line, rest, _ := strings.Cut(string(text), "\n")
	if rest != "" {
		return "", errors.New("standard input has more than one line: it must have the password alone")
	}
	return strings.TrimSuffix(line, "\r"), nil
}

func askPassword(ctx context.Context, terminal int, prompts io.Writer) (string, error) {
	first, err := askOnce(ctx, terminal, prompts, "Password: ")
	if err != nil {
		return "", err
	}
	second, err := askOnce(ctx, terminal, prompts, "The same again: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", errors.New("the two passwords are not the same: nothing was made")
	}
	return first, nil
}

// askOnce gives the terminal its echo back also when ctx ends. What waits for the terminal
// then goes on until the program ends, which it is about to: no read of a terminal can be
// called off.
func askOnce(ctx context.Context, terminal int, prompts io.Writer, prompt string) (string, error) {
	before, err := term.GetState(terminal)
	if err != nil {
		return "", fmt.Errorf("terminal: %w", err)
	}
	type answer struct {
		text []byte
		err  error
	}
	answers := make(chan answer, 1)
	fmt.Fprint(prompts, prompt)
	defer fmt.Fprintln(prompts)
	go func() {
		text, err := term.ReadPassword(terminal)
		answers <- answer{text, err}
	}()
	select {
	case a := <-answers:
		if errors.Is(a.err, io.EOF) {
			return "", errors.New("no password was given")
		}
		return string(a.text), a.err
	case <-ctx.Done():
		term.Restore(terminal, before)
		return "", errors.New("interrupted, so nothing was made")
	}
}
