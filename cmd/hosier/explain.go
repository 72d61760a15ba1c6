package main

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"hosier/egress/tor"
	"hosier/internal/config"
	"hosier/internal/daemon"
	"hosier/internal/policy"
	"hosier/internal/users"
)

func explainCommand() *cobra.Command {
	var s daemon.Source
	var q policy.Question
	cmd := &cobra.Command{
		Use:   "explain [--config FILE] [--listener NAME] [--client ADDR] [--user NAME] URL",
		Short: "Tell what would happen to a request, and why",
		Long: `explain tells, without connecting to anything or looking anything up, what serve would do
with a request for URL (a URL, host:port, or a host alone): by which listener it comes, who
asks, what keeps it apart from others in Tor, which rule decides and why those before it do
not, through which egresses it goes and where its name is looked up. It takes serve's flags, too.
The exit code is 1 if the request would be refused.`,
		Example: `  hosier explain --config /etc/hosier/hosier.toml --user ann https://www.example/
  hosier explain --via tor 192.0.2.1:443`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s.Flags, q.Target = flagsOf(cmd.Flags()), args[0]
			c, err := s.Load()
			if err != nil {
				return err
			}
			e := policy.Explainer{Config: c, State: policy.State{HasUser: hasUser, Leak: policy.OfflineLeak, Pool: offlinePool(c)}}
			text, refusal, err := e.Explain(q)
			if err != nil {
				return usageError{err}
			}
			if _, err := io.WriteString(cmd.OutOrStdout(), text); err != nil || refusal == nil {
				return err
			}
			return refused{refusal}
		},
	}
	f := cmd.Flags()
	configFlag(f, &s.File, "read the configuration `FILE`")
	f.StringVar(&q.Listener, "listener", "", "by the listener of this `NAME` or address (default the first)")
	f.StringVar(&q.Client, "client", "", "asked by a client at this `ADDR` (default 127.0.0.1)")
	f.StringVar(&q.User, "user", "", "asked by this user, who has logged in")
	f.StringVar(&q.Command, "command", "connect", "a `WORD` of connect, resolve, resolve-ptr, bind, associate")
	configFlags(f)
	return cmd
}

// refused is the outcome of an explanation that was printed already.
type refused struct{ error }

func (r refused) Unwrap() error { return r.error }

// hasUser judges by what stands in the file.
func hasUser(file, user string) error {
	list, err := users.Load(file)
	if err != nil {
		return err
	}
	return policy.HasUser(list, file, user)
}

// offlinePool makes pools of what is written, as a running hosier would have them.
func offlinePool(c *config.Config) func(*config.Egress) (*tor.Pool, error) {
	return func(e *config.Egress) (*tor.Pool, error) {
		spec := e.Via.Tor()
		p := &tor.Pool{Members: daemon.Members(spec.Members)}
		for i := range spec.Daemons {
			p.Members = append(p.Members, tor.Member{Daemon: &tor.Daemon{Name: fmt.Sprint("tor", i)}})
		}
		dir, err := daemon.StateDirPath(c.StateDir)
		if err == nil {
			p.Key, err = tor.ReadKey(filepath.Join(dir, daemon.KeyFile))
		}
		if err != nil {
			err = fmt.Errorf("which cannot be known here: %w", err)
		}
		return p, err
	}
}
