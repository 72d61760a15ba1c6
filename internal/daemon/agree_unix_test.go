//go:build unix

package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"hosier/egress"
	"hosier/internal/console"
	"hosier/internal/policy"
	"hosier/internal/tcptest"
	"hosier/socks"
)

// agreeConfigs is how many configurations TestExplainIsServe tries, and agreeRequests how many
// requests of each.
const agreeConfigs, agreeRequests = 12, 10

// What check takes, serve starts with, and what explain says of a request is what serve does
// with it. A target that is up is one of this test's own; nothing is looked up elsewhere.
func TestExplainIsServe(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	up := tcptest.Listen(t, tcptest.Echo)
	answered, refused := 0, 0
	for range agreeConfigs {
		text := randomConfig(random, up)
		d, g, err := startText(t, text)
		if _, checked := (Source{File: d.source.File}).Load(); (checked == nil) != (err == nil) {
			t.Fatalf("check says %v, and serve %v of\n%s", checked, err, text)
		}
		if err != nil {
			continue
		}
		_, port, _ := net.SplitHostPort(up)
		for range agreeRequests {
			q := policy.Question{
				Command: one(random, "connect", "connect", "resolve", "bind", "associate"),
				Target:  one(random, "127.0.0.1:"+port, "localhost:"+port, "127.0.0.2:9", "0.0.0.0:9", "check.hosier.invalid:80", "check.hosier.invalid:81", "a.check.hosier.invalid:80"),
				User:    one(random, "", "ann"),
			}
			explained, refusal, err := policy.Explainer{Config: g.config, At: g.at, State: policy.State{
				HasUser: g.hasUser, Leak: policy.OfflineLeak, Pool: g.pool,
			}}.Explain(q)
			if err != nil {
				continue
			}
			if strings.HasPrefix(q.Target, "0.") && strings.Contains(text, "socks4") {
				continue // SOCKS4 cannot say it
			}
			if strings.HasPrefix(q.Target, "localhost") && strings.Contains(text, "127.0.0.") {
				continue // the hosts file may have ::1 for it as well, of which explain does not know
			}
			if got := served(t, g.at["lan"], text, q); (got == nil) != (refusal == nil) {
				t.Errorf("%+v of\n%s\nexplain says %v, and serve %v:\n%s", q, text, refusal, got, explained)
			} else if got == nil {
				answered++
			} else {
				refused++
			}
			if q.Command == "connect" {
				shown, err := d.explain(console.Question{URL: q.Target, User: q.User})
				if err != nil || shown.Text != explained {
					t.Errorf("the console says %v\n%s\nnot\n%s", err, shown.Text, explained)
				}
			}
		}
	}
	if answered == 0 || refused == 0 {
		t.Errorf("%d requests were answered and %d refused: the configurations show too little", answered, refused)
	}
}

func one(random *rand.Rand, values ...string) string { return values[random.IntN(len(values))] }

// randomConfig returns the text of a configuration whose listener is called lan. Some have a
// mistake.
func randomConfig(random *rand.Rand, up string) string {
	_, port, _ := net.SplitHostPort(up)
	var b strings.Builder
	b.WriteString("via = \"direct\"\n")
	b.WriteString("[listener.lan]\nlisten = \"localhost:0\"\n")
	b.WriteString(one(random, "", "users = \"users\"\n"))
	b.WriteString(one(random, "", "", "dialects = [\"socks5\"]\n", "dialects = [\"socks4\", \"connect\"]\n"))
	b.WriteString(one(random, "", "unsafe = \"refuse\"\n"))
	for range random.IntN(3) {
		fmt.Fprintf(&b, "[[rule]]\nto = %q\n", one(random, "127.0.0.0/8", "127.0.0.2", "localhost", ".invalid", "*"))
		b.WriteString(one(random, "", "command = \"resolve\"\n", "port = "+port+"\n"))
		b.WriteString(one(random, "refuse = true\n", "via = \"direct\"\n", "via = \"direct\"\n"))
	}
	return b.String()
}

// startText starts a daemon in a directory of its own.
func startText(t *testing.T, text string) (*Daemon, *generation, error) {
	t.Helper()
	dir, err := os.MkdirTemp("", "hosier") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	hash, err := bcrypt.GenerateFromPassword([]byte("one"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	text = fmt.Sprintf("state-dir = %q\n", filepath.Join(dir, "state")) + text
	s := Source{File: filepath.Join(dir, "hosier.toml")}
	for name, text := range map[string]string{s.File: text, filepath.Join(dir, "users"): "ann:" + string(hash) + "\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := s.Load()
	if err != nil {
		return &Daemon{source: s}, nil, err
	}
	d := New(c, io.Discard, Options{Source: s, Text: []byte(text)})
	err = d.Start(t.Context(), c)
	t.Cleanup(func() { d.Close() })
	return d, d.current.Load(), err
}

// served returns the error with which a hosier refuses the request. That a target which was
// asked refuses a connection is no refusal of hosier's.
func served(t *testing.T, at, text string, q policy.Question) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	host, port, _ := net.SplitHostPort(q.Target)
	r := &socks.Request{Command: map[string]socks.Command{
		"connect": socks.Connect, "resolve": socks.Resolve, "bind": socks.Bind, "associate": socks.Associate,
	}[q.Command]}
	var err error
	if r.Addr, err = socks.ParseHost(host); err != nil {
		t.Fatal(err)
	}
	fmt.Sscan(port, &r.Addr.Port)
	auth := socks.Auth{}
	if q.User != "" {
		auth = socks.Auth{Method: socks.UserPass, User: q.User, Password: "one"}
	}
	var out egress.Egress = &egress.SOCKS{Dialer: socks.Dialer{Proxy: at, Auth: auth}}
	onlySOCKS4 := strings.Contains(text, "socks4")
	switch {
	case onlySOCKS4 && r.Command == socks.Connect:
		out = &egress.HTTP{Proxy: at, Auth: auth}
	case onlySOCKS4 && r.Command != socks.Associate:
		out = &egress.SOCKS{Dialer: socks.Dialer{Proxy: at, Version: socks.V4, Auth: socks.Auth{User: auth.User}}}
	}
	if r.Command == socks.Resolve {
		if r.Addr.IP.IsValid() {
			r.Addr = socks.Addr{Name: r.Addr.IP.String()} // or it is its own answer
		}
		_, err = out.Resolve(ctx, r)
		return err
	}
	c, _, err := out.Dial(ctx, r)
	if err == nil {
		c.Close()
	}
	if errors.Is(err, socks.ConnectionRefused) && !strings.Contains(q.Target, "invalid") {
		return nil
	}
	return err
}
