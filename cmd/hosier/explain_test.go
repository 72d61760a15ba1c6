//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"hosier/internal/daemon"
	"hosier/internal/sockstest"
	"hosier/internal/tcptest"
	"hosier/proxy"
	"hosier/socks"
)

// explained runs hosier explain and returns what it prints.
func explained(t *testing.T, code int, args ...string) string {
	t.Helper()
	var out, problems bytes.Buffer
	if got := run(t.Context(), append([]string{"explain"}, args...), &out, &problems); got != code {
		t.Errorf("explain %q ends with %d, want %d: %s%s", args, got, code, out.String(), problems.String())
	}
	return out.String()
}

// fakeTor is a SOCKS server that leads everything to the same place, and knows what it was asked.
func fakeTor(t *testing.T, place string) (address string, asked *sockstest.Egress) {
	t.Helper()
	asked = &sockstest.Egress{DialFunc: func(ctx context.Context, _ *socks.Request) (net.Conn, socks.Addr, error) {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", place)
		return c, socks.Addr{}, err
	}}
	return sockstest.Serve(t, &proxy.Server{}, asked), asked
}

// The tor that explain names is the one that gets the request: the key file and the
// configuration are all that decides.
func TestExplainNamesTheMember(t *testing.T) {
	t.Parallel()
	echo := tcptest.Listen(t, tcptest.Echo)
	a, ofA := fakeTor(t, echo)
	b, ofB := fakeTor(t, echo)
	args := []string{"--via", "tor://" + a + "," + b, "--isolate", "destination", "--state-dir", t.TempDir()}
	if got := explained(t, 0, append(args, "--listen", "127.0.0.1:1080", "a.test:80")...); !strings.Contains(got, "member:    one of "+a+","+b+", chosen by the isolation key; which cannot be known here") {
		t.Errorf("without a key file: %s", got)
	}
	h := start(t, args...)
	byA, byB := 0, 0
	for i := range 16 {
		target := fmt.Sprintf("host%d.test:80", i)
		member := regexp.MustCompile(`(?m)^member: +(\S+), chosen by the isolation key out of `).FindStringSubmatch(
			explained(t, 0, append(args, "--listen", h.addr(), target)...))
		if member == nil {
			t.Fatal("no member is named")
		}
		c, err := (&socks.Dialer{Proxy: h.addr()}).DialContext(t.Context(), "tcp", target)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		got := a
		if len(ofB.Requests()) > byB {
			got = b
		}
		if byA, byB = len(ofA.Requests()), len(ofB.Requests()); byA+byB != i+1 || got != member[1] {
			t.Errorf("%s went to %s, and explain says %s", target, got, member[1])
		}
	}
	if byA == 0 || byB == 0 {
		t.Errorf("%d and %d requests: the key does not choose", byA, byB)
	}
}

// What keeps explain from knowing the key is said, and not guessed.
func TestExplainUnknownKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, daemon.KeyFile), []byte(strings.Repeat("ab", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	users := filepath.Join(dir, "users")
	if err := os.WriteFile(users, []byte(quickUser), 0o600); err != nil {
		t.Fatal(err)
	}
	base := []string{"--via", "tor://127.0.0.1:9050,127.0.0.1:9060", "--state-dir", dir}
	for _, tt := range []struct{ args, want string }{
		{"", `127\.0\.0\.1:90[56]0, chosen by`},
		{"--client 192.0.2.7", `127\.0\.0\.1:90[56]0, chosen by`},
		{"--listen unix:/run/s", `127\.0\.0\.1:90[56]0, chosen by`},
		{"--listen systemd:lan", `one of .*; which depends on where systemd:lan will be`},
		{"--listen 127.0.0.1:0", `one of .*; which depends on where 127\.0\.0\.1:0 will be`},
		{"--listen 127.0.0.1:0 --no-isolate listener", `127\.0\.0\.1:90[56]0, chosen by`},
		{"--user ann", `one of .*; which depends on the password that comes with the user name`},
		{"--user ann --no-isolate credentials", `127\.0\.0\.1:90[56]0, chosen by`},
		{"--user ann --users " + users, `127\.0\.0\.1:90[56]0, chosen by`},
		{"--via tor+spawn://?daemons=3", `tor[012], chosen by the isolation key out of tor0,tor1,tor2`},
		{"--via tor", `the tor that runs here`},
	} {
		args := append([]string{}, base...)
		if strings.Contains(tt.args, "--via") {
			args = args[2:]
		}
		got := explained(t, 0, append(append(args, strings.Fields(tt.args)...), "www.test:443")...)
		if !regexp.MustCompile(`(?m)^member: +` + tt.want).MatchString(got) {
			t.Errorf("%s: %s\nwant %s", tt.args, got, tt.want)
		}
	}
}

// quickUser is ann in a file of users, at a cost that no password should have.
const quickUser = "ann:$2a$04$abcdefghijklmnopqrstuuGGpuRLQpXfNVIPCmnOyrVGSBPUDCL6W\n"

// What serve would refuse, explain says it refuses.
func TestExplainRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	users := filepath.Join(dir, "users")
	if err := os.WriteFile(users, []byte(quickUser), 0o600); err != nil {
		t.Fatal(err)
	}
	lan := "--listen 192.0.2.1:1080 --allow-client 192.0.2.0/24 "
	for _, tt := range []struct {
		args string
		code int
		want string
	}{
		{"--unsafe refuse 198.18.0.1:80", 1, "refused: .*it may have looked one up outside the proxy"},
		{"--unsafe refuse 10.0.0.1:80", 0, "egress: +direct"}, // private: typed more often than looked up
		{"--unsafe warn 198.18.0.1:80", 0, "egress: +direct"},
		{"--unsafe refuse --command resolve 198.18.0.1", 0, "egress: +direct"},
		{lan + "--client 192.0.2.9 10.0.0.1:80", 1, `refused: +10\.0\.0\.1: address is not public`},
		{lan + "--client 192.0.2.9 --command resolve 10.0.0.1", 0, "egress: +direct"},
		{lan + "--client 192.0.2.9 --command resolve localhost", 1, `refused: +127\.0\.0\.1: address is not public`},
		{"0.0.0.0:80", 1, `refused: +0\.0\.0\.0: .*host unreachable`},
		{"[::]:80", 1, "refused: .*host unreachable"},
		{"localhost:80", 0, "dns: +no lookup"},
		{"check.hosier.invalid:80", 0, "egress: +none: hosier answers by itself"},
		{"a.check.hosier.invalid:80", 1, "refused: .*host unreachable"},
		{"check.hosier.invalid:443", 1, "refused: .*connection refused"},
		{"--command resolve check.hosier.invalid", 1, "refused: .*has no address"},
		{"--command bind www.test:80", 1, "refused: .*BIND: unsupported"},
		{"--command associate www.test:80", 1, "refused: .*unsupported"},
		{"--via http://127.0.0.1:8080 --command resolve www.test", 1, "refused: .*unsupported"},
		{"--via socks4a://127.0.0.1:1080 --command resolve-ptr 192.0.2.1", 1, "refused: .*unsupported"},
		{lan + "--client 192.0.2.9 www.test:80", 0, "dns: .*must be public"},
		{lan + "--client 198.51.100.9 www.test:80", 1, "refused: .*not in allow-client"},
		{lan + "www.test:80", 1, "refused: .*not in allow-client"},
		{"--listen localhost:1080 10.0.0.1:80", 0, "egress: +direct"},
		{"--listen unix:/run/s www.test:80", 0, "identity: +a program of this host$"},
		{"--dialects connect --command resolve www.test", 1, "refused: .*dialect.*has RESOLVE"},
		{"--dialects socks4,connect --command resolve-ptr 192.0.2.7", 1, "refused: .*dialect.*has RESOLVE_PTR"},
		{"--dialects socks4 --command resolve www.test", 0, "egress: +direct"},
		{"--users " + users + " www.test:80", 1, "refused: .*is for users"},
		{"--users " + users + " --user bob www.test:80", 1, `refused: .*no user "bob"`},
		{"--users " + users + " --user ann www.test:80", 0, `identity: +user "ann", client 127\.0\.0\.1$`},
	} {
		got := explained(t, tt.code, strings.Fields(tt.args)...)
		if !regexp.MustCompile("(?m)^" + tt.want).MatchString(got) {
			t.Errorf("%s: %s\nwant %s", tt.args, got, tt.want)
		}
	}
}

// At level debug the log of a connection has what explain tells, with its id, and nothing of
// clients and targets unless these may be told.
func TestDecisionIsExplained(t *testing.T) {
	t.Parallel()
	echo := tcptest.Listen(t, tcptest.Echo)
	a, _ := fakeTor(t, echo)
	b, _ := fakeTor(t, echo)
	for _, redact := range []bool{true, false} {
		t.Run(fmt.Sprint("redact=", redact), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			h := startConfig(t, dir, fmt.Sprintf("via = \"tor://%s,%s\"\n", a, b)+
				fmt.Sprintf("isolate = \"destination\"\n[log]\nformat = \"json\"\nlevel = \"debug\"\nredact = %v\n", redact)+
				"[[rule]]\nclient = \"192.0.2.0/24\"\nvia = \"direct\"\n"+
				"[[rule]]\nto = \"bad.test\"\nrefuse = true\n", 0)
			for i, target := range []string{"www.test:443", "bad.test:443", "198.18.7.7:443"} {
				code := 0
				if target == "bad.test:443" {
					code = 1
				}
				if c, err := (&socks.Dialer{Proxy: h.addr()}).DialContext(t.Context(), "tcp", target); err == nil {
					c.Close()
				}
				want := trailOf(explained(t, code, "--config", filepath.Join(dir, "hosier.toml"),
					"--state-dir", filepath.Join(dir, "state"), "--listen", h.addr(), target))
				if redact {
					host, port, _ := net.SplitHostPort(target)
					want = strings.NewReplacer(host+":"+port, "[scrubbed]", host+" is", "[scrubbed] is", "client 127.0.0.1", "client [scrubbed]",
						"destination "+host, "destination [scrubbed]").Replace(want)
				}
				var got string
				await(t, "the trail", func() bool {
					got = decisionOf(t, h, i+1)
					return strings.Count(got, "\n") >= strings.Count(want, "\n")
				})
				if got != want {
					t.Errorf("the log has\n%s\nand explain says\n%s", got, want)
				}
			}
		})
	}
}

// trailOf is what explain prints, each line with its label, without the name of the listener:
// the one that runs has another, since it chose its port.
func trailOf(text string) (trail string) {
	last := ""
	for line := range strings.Lines(text) {
		label, said, _ := strings.Cut(line, " ")
		if label == "" {
			label = last
		}
		if last = label; label != "listener:" {
			trail += label + " " + strings.TrimSpace(said) + "\n"
		}
	}
	return trail
}

// decisionOf is the trail of a connection in the log.
func decisionOf(t *testing.T, h *process, id int) (trail string) {
	t.Helper()
	for line := range strings.Lines(h.log.String()) {
		var one struct {
			Msg, Text string
			ID        int
		}
		if !strings.HasPrefix(line, "{") || !strings.HasSuffix(line, "\n") {
			continue
		}
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatal(err)
		}
		if one.Msg == "decision" && one.ID == id && !strings.HasPrefix(one.Text, "listener: ") {
			trail += one.Text + "\n"
		}
	}
	return trail
}
