package packaging_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"hosier/internal/tcptest"
	"hosier/socks"
)

// life is a package's on a machine, from its installation to its end.
type life struct {
	*machine
	deb    string
	origin netip.AddrPort // echoes; at every address of the machine
}

// lives boots a machine and has the package there go through all that may happen to it.
func lives(t *testing.T, deb string) {
	l := &life{machine: boot(t, deb), deb: "/" + deb[strings.LastIndexByte(deb, '/')+1:]}
	l.openOrigin(t)
	for _, step := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"install", l.install},
		{"start", l.start},
		{"users", l.users},
		{"gateway", l.gateway},
		{"program", l.program},
		{"spawned-tor", l.spawnedTor},
		{"reload", l.reload},
		{"killed", l.killed},
		{"mistake", l.mistake},
		{"late-address", l.lateAddress},
		{"late-tor", l.lateTor},
		{"socket", l.socket},
		{"socket-mistake", l.socketMistake},
		{"late-socket-address", l.lateSocket},
		{"removed", l.removed},
	} {
		t.Run(step.name, step.run)
		l.run("systemctl", "stop", "hosier.socket", "hosier.service")
	}
}

func (l *life) openOrigin(t *testing.T) {
	var echo net.Listener
	var err error
	l.inside(t, func() { echo, err = net.Listen("tcp4", ":0") })
	if err != nil {
		t.Fatal(err)
	}
	tcptest.Serve(t, echo, tcptest.Echo)
	l.origin = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), echo.Addr().(*net.TCPAddr).AddrPort().Port())
}

// ask has bytes echoed through the proxy.
func (l *life) ask(d socks.Dialer) error { return l.askAt(d, l.origin) }

func (l *life) askAt(d socks.Dialer, origin netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := d.DialContext(ctx, "tcp", origin.String())
	if err != nil {
		return err
	}
	defer c.Close()
	return echoes(c)
}

func echoes(c net.Conn) error {
	c.SetDeadline(time.Now().Add(time.Minute))
	sent := bytes.Repeat([]byte("hosier"), 100)
	if _, err := c.Write(sent); err != nil {
		return err
	}
	got := make([]byte, len(sent))
	_, err := io.ReadFull(c, got)
	if err == nil && !bytes.Equal(got, sent) {
		err = errors.New("what came back is not what was sent")
	}
	return err
}

// serves fails the test unless the proxy of the machine serves.
func (l *life) serves(t *testing.T, proxy string) {
	t.Helper()
	var err error
	l.inside(t, func() { err = l.ask(socks.Dialer{Proxy: proxy}) })
	if err != nil {
		t.Fatalf("%v\n%s", err, l.journal())
	}
}

// cursor returns the end of the journal, and since what hosier and systemd about it have
// written after that.
func (l *life) cursor(t *testing.T) string {
	return strings.TrimSpace(l.sh(t, "journalctl --show-cursor --lines=0 --quiet | sed 's/^-- cursor: //'"))
}

func (l *life) since(t *testing.T, cursor string) string {
	return l.sh(t, "journalctl --sync; journalctl --output=cat --unit=hosier.service --after-cursor='"+cursor+"'")
}

const loopback = `listen = "127.0.0.1:1080"
via = "direct"
`

// begin starts the service with the configuration.
func (l *life) begin(t *testing.T, lines string) {
	t.Helper()
	l.configure(t, lines)
	l.sh(t, "systemctl start hosier.service")
}

func (l *life) install(t *testing.T) {
	l.sh(t, "apt-get install --yes "+l.deb)
	if got, _ := l.run("systemctl", "is-active", "hosier.service", "hosier.socket"); got != "inactive\ninactive\n" {
		t.Errorf("after the installation the service and its socket are %q", got)
	}
	if got, _ := l.run("systemctl", "is-enabled", "hosier.service", "hosier.socket"); got != "disabled\ndisabled\n" {
		t.Errorf("after the installation the service and its socket are %q", got)
	}
	want := "2750 root:hosier /etc/hosier\n644 root:root /etc/hosier/hosier.toml\n640 root:hosier /etc/hosier/users\n"
	if got := l.sh(t, "stat --format='%a %U:%G %n' /etc/hosier /etc/hosier/hosier.toml /etc/hosier/users"); got != want {
		t.Errorf("the package made\n%swant\n%s", got, want)
	}
	l.sh(t, "hosier check /etc/hosier/hosier.toml; setpriv --reuid=hosier --regid=hosier --clear-groups hosier check /etc/hosier/hosier.toml")
	l.sh(t, "systemd-analyze verify --man=no hosier.service hosier.socket")
}

func (l *life) start(t *testing.T) {
	l.sh(t, "systemctl enable --now hosier.service")
	l.serves(t, "127.0.0.1:1080")
	pid := l.show(t, "MainPID")
	if got := l.sh(t, "stat --format=%U:%G /proc/"+pid+"; stat --format='%a %U %n' /var/lib/hosier"); got != "hosier:hosier\n700 hosier /var/lib/hosier\n" {
		t.Errorf("it runs as, and keeps its state in, %q", got)
	}
	// Root has no home directory here, and names none.
	l.sh(t, "hosier status; hosier reload")
	l.configure(t, "admin = \"127.0.0.1:9180\"\n"+loopback)
	l.sh(t, "systemctl restart hosier.service")
	if got := l.sh(t, "hosier console; HOME=/root hosier console"); strings.Count(got, "http://127.0.0.1:9180/signin?code=") != 2 {
		t.Errorf("hosier console says %q", got)
	}
	if _, code := l.fails(t, "setpriv --reuid=nobody --clear-groups hosier console"); code != 1 {
		t.Errorf("hosier console of nobody ends with %d", code)
	}
}

// addUser is a line of README, typed by root.
const addUser = "hosier hash-password --user ann >>/etc/hosier/users"

func (l *life) users(t *testing.T) {
	l.begin(t, loopback)
	l.sh(t, "echo right | "+addUser)
	l.sh(t, "umask 022; echo right | hosier hash-password --user ann >/etc/hosier/others; chmod o-r /etc/hosier/others")
	for _, file := range []string{"/etc/hosier/users", "/etc/hosier/others"} {
		l.configure(t, "users = \""+file+"\"\n"+loopback)
		since := l.cursor(t)
		l.sh(t, "hosier check /etc/hosier/hosier.toml; systemctl reload hosier.service")
		d := socks.Dialer{Proxy: "127.0.0.1:1080", Auth: socks.Auth{Method: socks.UserPass, User: "ann", Password: "right"}}
		var right, wrong error
		l.inside(t, func() {
			right = l.ask(d)
			d.Auth.Password = "wrong"
			wrong = l.ask(d)
		})
		if refused := (*socks.ProxyError)(nil); right != nil || !errors.As(wrong, &refused) {
			t.Errorf("%s: the right password: %v, the wrong one: %v\n%s", file, right, wrong, l.journal())
		}
		if said := l.since(t, since); strings.Contains(said, file) {
			t.Errorf("of the file that the package made it says %s", said)
		}
	}
}

// gateway is that of README, word for word.
func (l *life) gateway(t *testing.T) {
	readme := read(t, "../README.md")
	shown := regexp.MustCompile("(?s)```toml\n(.*?)```").FindStringSubmatch(readme)
	if shown == nil || !strings.Contains(readme, addUser) {
		t.Fatalf("README has no gateway, or not %q", addUser)
	}
	l.sh(t, "ip address add 192.168.1.1/24 dev lo; systemctl start tor.service")
	l.begin(t, shown[1])
	origin := netip.AddrPortFrom(netip.MustParseAddr("192.168.1.1"), l.origin.Port())
	d := socks.Dialer{Proxy: "192.168.1.1:1080", Auth: socks.Auth{Method: socks.UserPass, User: "ann", Password: "right"}}
	var err error
	l.inside(t, func() { err = l.askAt(d, origin) })
	if err != nil {
		t.Errorf("%v\n%s", err, l.journal())
	}
	l.sh(t, "systemctl stop tor.service tor@default.service; ip address delete 192.168.1.1/24 dev lo")
}

// program has the log name a program that sends addresses, by the lines of docs/packaging.md.
func (l *life) program(t *testing.T) {
	shown := regexp.MustCompile(`(?m)^      (\[Service\]\n(?:      .+\n)+)`).FindStringSubmatch(read(t, "../docs/packaging.md"))
	if shown == nil {
		t.Fatal("docs/packaging.md does not show what the log needs to name programs")
	}
	l.sh(t, "mkdir -p /etc/systemd/system/hosier.service.d; cat >/etc/systemd/system/hosier.service.d/program.conf <<'END'\n"+
		regexp.MustCompile(`(?m)^      `).ReplaceAllString(shown[1], "")+"END\nsystemctl daemon-reload")
	l.begin(t, loopback)
	since := l.cursor(t)
	await(t, l.journal, "bash to be named", func() bool {
		// SOCKS5, CONNECT 203.0.113.10:80, and the beginning of the reply. On a busy machine the
		// look for the program may end before it is found.
		l.sh(t, `bash -c 'exec 3<>/dev/tcp/127.0.0.1/1080; printf "\005\001\000\005\001\000\001\313\000\161\012\000\120" >&3; head -c 6 <&3 >/dev/null'`)
		return strings.Contains(l.since(t, since), "program=bash")
	})
	l.sh(t, "rm /etc/systemd/system/hosier.service.d/program.conf; systemctl daemon-reload")
}

func (l *life) spawnedTor(t *testing.T) {
	l.begin(t, "listen = \"127.0.0.1:1080\"\nvia = \"tor+spawn://\"\n")
	await(t, l.journal, "a tor in the sandbox", func() bool {
		said, _ := l.run("hosier", "status")
		return regexp.MustCompile(`tor0 +starting +0\.`).MatchString(said)
	})
}

func (l *life) reload(t *testing.T) {
	l.begin(t, loopback)
	l.configure(t, loopback+fmt.Sprintf("[[rule]]\nport = %d\nrefuse = true\n", l.origin.Port()))
	l.sh(t, "systemctl reload hosier.service")
	refused := func() bool {
		var err error
		l.inside(t, func() { err = l.ask(socks.Dialer{Proxy: "127.0.0.1:1080"}) })
		return errors.Is(err, socks.NotAllowed)
	}
	if !refused() {
		t.Error("the rule is not in force")
	}
	pid := l.show(t, "MainPID")
	for _, bad := range []string{"", loopback + "[[rule]]\nbad = 1\n"} {
		l.configure(t, bad)
		since := l.cursor(t)
		l.fails(t, "systemctl reload hosier.service")
		if said := l.since(t, since); !strings.Contains(said, "hosier.toml") {
			t.Errorf("of %q the journal says %s", bad, said)
		}
		if said, code := l.fails(t, "hosier reload"); code != 2 || !strings.Contains(said, "hosier.toml") {
			t.Errorf("of %q hosier reload ends with %d: %s", bad, code, said)
		}
		if !refused() || l.show(t, "MainPID") != pid {
			t.Errorf("after %q what was in force is not", bad)
		}
	}
	l.configure(t, loopback)
	l.sh(t, "hosier reload")
	l.serves(t, "127.0.0.1:1080")
}

func (l *life) killed(t *testing.T) {
	if got := l.show(t, "RestartUSec"); got != "2s" {
		t.Errorf("it is tried again after %s", got)
	}
	l.begin(t, loopback)
	pid := l.show(t, "MainPID")
	l.sh(t, "kill -9 "+pid)
	await(t, l.journal, "another process", func() bool {
		now := l.show(t, "MainPID")
		return now != pid && now != "0"
	})
	l.awaitActive(t)
	l.serves(t, "127.0.0.1:1080")
	// From here on it is tried again at once: how long it waits was seen.
	l.sh(t, "mkdir -p /etc/systemd/system/hosier.service.d; "+
		"printf '[Service]\\nRestartSec=50ms\\n' >/etc/systemd/system/hosier.service.d/soon.conf; systemctl daemon-reload")
}

// A file that is empty, or has a mistake, is not tried again.
func (l *life) mistake(t *testing.T) {
	for _, bad := range []string{"", "listen = 1\n"} {
		l.configure(t, bad)
		since := l.cursor(t)
		l.fails(t, "systemctl start hosier.service")
		if got := l.show(t, "ActiveState") + l.show(t, "ExecMainStatus") + l.show(t, "NRestarts"); got != "failed20" {
			t.Errorf("after a start with %q: %s", bad, got)
		}
		if said := l.since(t, since); !strings.Contains(said, "/etc/hosier/hosier.toml") {
			t.Errorf("of %q the journal says %s", bad, said)
		}
	}
}

// tries is more than systemd's five, and more than a second takes by RestartSec=50ms.
const tries = 8

func (l *life) awaitTries(t *testing.T) {
	t.Helper()
	await(t, l.journal, "it to be tried again", func() bool {
		n, err := strconv.Atoi(l.show(t, "NRestarts"))
		return err == nil && n >= tries
	})
}

func (l *life) lateAddress(t *testing.T) {
	l.configure(t, "listen = \"10.77.0.1:1080\"\nallow-client = \"10.77.0.0/24\"\nvia = \"direct\"\n[[rule]]\nto = \"127.0.0.1\"\nvia = \"direct\"\n")
	l.sh(t, "systemctl start --no-block hosier.service")
	l.awaitTries(t)
	l.sh(t, "ip address add 10.77.0.1/24 dev lo")
	l.awaitActive(t)
	l.serves(t, "10.77.0.1:1080")
}

// Started along with a tor, the service begins after it; without one it serves, and leads
// there as soon as there is one.
func (l *life) lateTor(t *testing.T) {
	l.configure(t, "listen = \"127.0.0.1:1080\"\nvia = \"tor\"\n")
	l.sh(t, "systemctl start tor.service hosier.service")
	times := strings.Fields(l.sh(t, "systemctl show --value --property=ActiveEnterTimestampMonotonic tor@default.service; "+
		"systemctl show --value --property=ExecMainStartTimestampMonotonic hosier.service"))
	tor, terr := strconv.ParseUint(times[0], 10, 64) // microseconds
	hosier, herr := strconv.ParseUint(times[1], 10, 64)
	if terr != nil || herr != nil || tor == 0 || hosier < tor {
		t.Errorf("tor was ready at, and hosier began at, %s", times)
	}
	if got := l.sh(t, "hosier status"); !strings.Contains(got, "127.0.0.1:9050") {
		t.Errorf("hosier status says %s", got)
	}
	l.sh(t, "systemctl stop hosier.service tor.service tor@default.service; systemctl start hosier.service")
	ask := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		d := socks.Dialer{Proxy: "127.0.0.1:1080"}
		var err error
		l.inside(t, func() { _, err = d.DialContext(ctx, "tcp", "name.test:80") })
		return err
	}
	if err := ask(); !errors.Is(err, socks.GeneralFailure) {
		t.Errorf("without a tor: %v", err)
	}
	l.sh(t, "systemctl start tor.service")
	await(t, l.journal, "the tor to have a request", func() bool { return errors.Is(ask(), context.DeadlineExceeded) })
	l.sh(t, "systemctl stop tor.service tor@default.service")
}

func (l *life) removed(t *testing.T) {
	l.sh(t, "apt-get remove --yes hosier")
	var err error
	l.inside(t, func() { err = l.ask(socks.Dialer{Proxy: "10.78.0.1:1080"}) })
	if err == nil {
		t.Error("after the removal it serves")
	}
	if got := l.sh(t, "ls /etc/hosier; ls -d /var/lib/hosier; test ! -e /usr/bin/hosier"); got != "hosier.toml\nothers\nusers\n/var/lib/hosier\n" {
		t.Errorf("after the removal there is %s", got)
	}
	l.sh(t, "apt-get purge --yes hosier")
	if got := l.sh(t, "ls /etc/hosier"); got != "others\n" { // which is not the package's
		t.Errorf("after the purge there is %s", got)
	}
	if got, _ := l.run("ls", "-d", "/var/lib/hosier", "/usr/share/doc/hosier", "/usr/lib/systemd/system/hosier.service"); strings.Count(got, "No such file") != 3 {
		t.Errorf("after the purge: %s", got)
	}
	if got, _ := l.run("systemctl", "--failed", "--quiet"); got != "" {
		t.Errorf("failed units: %s", got)
	}
}
