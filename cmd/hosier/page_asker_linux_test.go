package main

import (
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"hosier/internal/debiantest"
)

// TestPageNamesProgram: a lost program of this host is told that it was it, by whatever
// listener it came; who speaks for others is not taken for them.
func TestPageNamesProgram(t *testing.T) {
	curl := debiantest.Program(t, "curl", "curl")
	dir := t.TempDir()
	h := startConfig(t, dir, `
via = "direct"
[listener.all]
listen = "0.0.0.0:0"
allow-client = "127.0.0.0/8"
[listener.balanced]
listen = "127.0.0.2:0"
proxy-protocol-from = "127.0.0.0/8"
allow-client = "127.0.0.0/8"
[listener.socket]
listen = "unix:DIR/hosier.sock"
`, 3)
	var plain, all, balanced string
	for _, address := range h.addrs {
		switch {
		case strings.HasPrefix(address, "127.0.0.1:"):
			plain = address
		case strings.HasPrefix(address, "127.0.0.2:"):
			balanced = address
		case !strings.HasPrefix(address, "unix:"):
			all = reachable(address, "127.0.0.1")
		}
	}
	for name, args := range map[string][]string{
		"HTTP proxy":    {"-x", "http://" + plain, "http://www.example/"},
		"visit":         {"http://" + plain + "/"},
		"all addresses": {"-x", "http://" + all, "http://www.example/"},
		"as a browser":  {"-H", "Accept: text/html", "http://" + plain + "/"},
	} {
		await(t, name+": the page to name the program", func() bool { // a busy machine may not find it in time
			cmd := exec.Command(curl, append([]string{"-qsS", "-m", "30"}, args...)...)
			cmd.Env = withoutProxies(cmd.Environ())
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			want := fmt.Sprintf("curl (process %d on this computer)", cmd.Process.Pid)
			if name == "as a browser" {
				want = fmt.Sprintf("<strong>curl</strong>, process %d on this computer", cmd.Process.Pid)
			}
			return strings.Contains(string(out), want)
		})
	}

	other := dialOrFail(t, balanced) // whose address the header has
	defer other.Close()
	for address, header := range map[string]string{
		balanced:                            fmt.Sprintf("PROXY TCP4 127.0.0.1 127.0.0.2 %d %s\r\n", other.LocalAddr().(*net.TCPAddr).Port, portOf(t, balanced)),
		"unix:" + dir + "/" + "hosier.sock": "",
	} {
		c := dialOrFail(t, address)
		c.SetDeadline(time.Now().Add(patience))
		io.WriteString(c, header+"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
		page, err := io.ReadAll(c)
		if err != nil || !strings.Contains(string(page), "Your program spoke plain HTTP") || strings.Contains(string(page), "on this computer") {
			t.Errorf("%s: %v\n%s", address, err, page)
		}
		c.Close()
	}
}

func portOf(t *testing.T, address string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if n, e := strconv.Atoi(port); err != nil || e != nil || n == 0 {
		t.Fatalf("%s has no port", address)
	}
	return port
}
