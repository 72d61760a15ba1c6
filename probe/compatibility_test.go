package probe_test

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"hosier/probe"
)

var updateCompatibility = flag.Bool("update-compatibility", false, "write docs/compatibility.md anew from the programs themselves")

const compatibilityFile = "../docs/compatibility.md"

// column is one server of the matrix.
type column struct {
	name, version string
	report        *probe.Report
}

// TestCompatibility writes the matrix when asked to. Otherwise it holds the file that is
// there against the list of checks, so that it is not forgotten when checks change.
func TestCompatibility(t *testing.T) {
	if *updateCompatibility {
		t.Setenv("CI", "true") // a program that is missing must not leave a hole
		if err := os.WriteFile(compatibilityFile, []byte(matrix(probeAll(t))), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(compatibilityFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range probe.Checks() {
		if !strings.Contains(string(text), "| "+c.ID+" |") {
			t.Errorf("%s does not stand in docs/compatibility.md: run make compatibility", c.ID)
		}
	}
}

// probeAll probes all servers at once, each with the full patience.
func probeAll(t *testing.T) []column {
	dns := serveDNS(t)
	torSOCKS, torHTTP, torNames := tor(t)
	debian := func(pkg string) string { return said(t, "dpkg-query", "-W", "-f", "${Version}", pkg) }
	torVersion := "tor " + debian("tor")
	type server struct {
		column
		cfg probe.Config
	}
	servers := []server{
		{column{name: "hosier", version: "this tree"}, probe.Config{Proxy: hosierProgram(t, dns.Addr()), DNS: dns, Names: localhost()}},
		{column{name: "tor SOCKSPort", version: torVersion}, probe.Config{Proxy: torSOCKS, Names: torNames}},
		{column{name: "tor HTTPTunnelPort", version: torVersion}, probe.Config{Proxy: torHTTP, Names: torNames}},
		{column{name: "microsocks", version: "microsocks " + debian("microsocks")}, probe.Config{Proxy: microsocks(t), Names: localhost()}},
		{column{name: "dante", version: "dante-server " + debian("dante-server")}, probe.Config{Proxy: dante(t), Names: localhost()}},
		{column{name: "ssh -D", version: "openssh-client " + debian("openssh-client")}, probe.Config{Proxy: sshD(t), Names: localhost()}},
		{column{name: "go-socks5", version: "github.com/things-go/go-socks5 " + goSOCKS5Version(t)}, probe.Config{Proxy: goSOCKS5(t), Names: localhost()}},
	}
	columns := make([]column, len(servers))
	var all sync.WaitGroup
	for i, s := range servers {
		columns[i] = s.column
		all.Go(func() {
			r, err := probe.Run(t.Context(), s.cfg)
			if err != nil {
				t.Errorf("%s: %v", s.name, err)
			}
			columns[i].report = r
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for _, x := range columns[0].report.Results { // what is published of this tree is what it promises
		if x.Outcome == probe.Failed {
			t.Errorf("hosier fails %s: %s", x.Check.ID, x.Reason)
		}
	}
	return columns
}

// matrix words the columns as a page.
func matrix(columns []column) string {
	var b strings.Builder
	b.WriteString(`# What the servers do

Written by "make compatibility", which runs the servers and probes them: all on one host,
on loopback, each as it comes. Do not edit it.

* **pass**: it holds. **FAIL**: a must that does not hold. **fail**: a should or a hint that does not.
* **refused**: the server does not have it, and says so properly, which is no fault.
* **–**: not checked: the server has not claimed it, or what the check needs was not there. Names leak
  only where a DNS server can be watched; of these servers hosier alone can be told which one to ask.

Tor ran in a private network on loopback, where it answers a refused port with code 01: its exits
cannot tell. hosier runs with --via direct.

| server | version |
|---|---|
`)
	for _, c := range columns {
		fmt.Fprintf(&b, "| %s | %s |\n", c.name, c.version)
	}
	b.WriteString("\n## By group: pass / fail (of these musts)\n\n| group |")
	for _, c := range columns {
		fmt.Fprintf(&b, " %s |", c.name)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(columns)) + "\n")
	for i, g := range append(columns[0].report.Groups(), probe.Count{Group: "**all**"}) {
		fmt.Fprintf(&b, "| %s |", g.Group)
		for _, c := range columns {
			n := c.report.Total()
			if groups := c.report.Groups(); i < len(groups) {
				n = groups[i]
			}
			fmt.Fprintf(&b, " %d / %d (%d) |", n.Passed, n.Failed, n.Musts)
		}
		b.WriteByte('\n')
	}
	writeChecks(&b, columns)
	return b.String()
}

func writeChecks(b *strings.Builder, columns []column) {
	b.WriteString("\n## By check\n\n| check | what holds when it passes | weight |")
	for _, c := range columns {
		fmt.Fprintf(b, " %s |", c.name)
	}
	b.WriteString("\n|---|---|---|" + strings.Repeat("---|", len(columns)) + "\n")
	for _, c := range probe.Checks() {
		fmt.Fprintf(b, "| %s | %s | %v |", c.ID, strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(c.Title), c.Severity)
		for _, col := range columns {
			fmt.Fprintf(b, " %s |", word(col.report.Find(c.ID)))
		}
		b.WriteByte('\n')
	}
}

func word(r *probe.Result) string {
	switch {
	case r.Outcome == probe.Skipped:
		return "–"
	case r.Outcome == probe.Failed && r.Check.Severity == probe.Must:
		return "**FAIL**"
	}
	return r.Outcome.String()
}

// said returns what a program prints.
func said(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return strings.TrimSpace(string(out))
}

// hosierProgram builds hosier and runs it.
func hosierProgram(t *testing.T, dns string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hosier")
	said(t, "go", "build", "-o", path, "hosier/cmd/hosier")
	return startPeer(t, func(port uint16) *exec.Cmd {
		return exec.Command(path, "serve", "--listen", fmt.Sprintf("127.0.0.1:%d", port), "--dns", dns)
	})
}

// goSOCKS5 builds the server that is a module of its own, and runs it.
func goSOCKS5(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gosocks5")
	cmd := exec.Command("go", "build", "-o", path, ".")
	cmd.Dir = "../bench/gosocks5"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go-socks5: %v\n%s", err, out)
	}
	return startPeer(t, func(port uint16) *exec.Cmd { return exec.Command(path, fmt.Sprintf("127.0.0.1:%d", port)) })
}

func goSOCKS5Version(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../bench/gosocks5/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`go-socks5 (v\S+)`).FindSubmatch(text)
	if m == nil {
		t.Fatal("bench/gosocks5/go.mod does not name go-socks5")
	}
	return string(m[1])
}

const sshdConfig = `ListenAddress 127.0.0.1:%d
HostKey %s/host
AuthorizedKeysFile %s/client.pub
PidFile none
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
`

// sshD runs an sshd of its own, and an ssh that goes out by it.
func sshD(t *testing.T) string {
	t.Helper()
	sshd, ssh := program(t, "sshd", "openssh-server"), program(t, "ssh", "openssh-client")
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, key := range []string{"host", "client"} {
		said(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, key))
	}
	os.MkdirAll("/run/sshd", 0o755) // sshd as root wants it; where we may not make it, it is not wanted
	far := startPeer(t, func(port uint16) *exec.Cmd {
		config := filepath.Join(dir, "sshd_config")
		if err := os.WriteFile(config, fmt.Appendf(nil, sshdConfig, port, dir, dir), 0o600); err != nil {
			t.Fatal(err)
		}
		return exec.Command(sshd, "-D", "-f", config)
	})
	_, farPort, err := net.SplitHostPort(far)
	if err != nil {
		t.Fatal(err)
	}
	return startPeer(t, func(port uint16) *exec.Cmd {
		return exec.Command(ssh, "-F", "none", "-N", "-D", fmt.Sprintf("127.0.0.1:%d", port), "-p", farPort, "-i", filepath.Join(dir, "client"),
			"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "ExitOnForwardFailure=yes", "-o", "BatchMode=yes",
			me.Username+"@127.0.0.1")
	})
}
