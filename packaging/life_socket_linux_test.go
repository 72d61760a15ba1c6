package packaging_test

import (
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"hosier/socks"
)

// crowd are clients that ask one after the other, until they are stopped.
type crowd struct {
	asked, failed atomic.Int64
	first         atomic.Pointer[error] // failure
	stop          chan struct{}
	all           sync.WaitGroup
}

func (l *life) newCrowd(t *testing.T, proxy string) *crowd {
	c := &crowd{stop: make(chan struct{})}
	for range 16 {
		c.all.Go(func() {
			l.inside(t, func() {
				for {
					select {
					case <-c.stop:
						return
					default:
					}
					if err := l.ask(socks.Dialer{Proxy: proxy}); err != nil {
						c.failed.Add(1)
						c.first.CompareAndSwap(nil, &err)
					}
					c.asked.Add(1)
				}
			})
		})
	}
	return c
}

// goesOn waits until the crowd has asked some hundred times more.
func (c *crowd) goesOn(t *testing.T, l *life) {
	t.Helper()
	n := c.asked.Load()
	await(t, l.journal, "clients to be served", func() bool { return c.asked.Load() > n+300 })
}

func (c *crowd) end(t *testing.T) {
	t.Helper()
	close(c.stop)
	c.all.Wait()
	if c.failed.Load() > 0 {
		t.Errorf("%d of %d requests failed: %v", c.failed.Load(), c.asked.Load(), *c.first.Load())
	}
	t.Logf("%d requests", c.asked.Load())
}

// A crowd that comes while nobody serves is served, and loses nothing by restarts and an
// upgrade.
func (l *life) socket(t *testing.T) {
	l.configure(t, "# mine\nlisten = \"systemd:socks\"\nvia = \"direct\"\ndrain = \"30s\"\n")
	l.sh(t, "systemctl enable --now hosier.socket")
	if got := l.show(t, "ActiveState"); got != "inactive" {
		t.Errorf("before the first client the service is %s", got)
	}
	c := l.newCrowd(t, "127.0.0.1:1080")
	c.goesOn(t, l)
	before := l.show(t, "MainPID")
	l.restartUnderRelay(t)
	c.goesOn(t, l)
	between := l.show(t, "MainPID")
	l.sh(t, "dpkg --force-confold --install "+l.deb)
	c.goesOn(t, l)
	after := l.show(t, "MainPID")
	if before == between || between == after || after == "0" {
		t.Errorf("before, after a restart and after an upgrade it was process %s, %s, %s", before, between, after)
	}
	c.end(t)
	if got := l.sh(t, "head -n 1 /etc/hosier/hosier.toml"); got != "# mine\n" {
		t.Errorf("after the upgrade the configuration begins with %q", got)
	}
}

// restartUnderRelay restarts the service while a relay stands, which must be able to end.
func (l *life) restartUnderRelay(t *testing.T) {
	t.Helper()
	var relay net.Conn
	var err error
	l.inside(t, func() {
		d := socks.Dialer{Proxy: "127.0.0.1:1080"}
		relay, err = d.DialContext(t.Context(), "tcp", l.origin.String())
	})
	if err != nil {
		t.Fatal(err)
	}
	pid := l.show(t, "MainPID")
	l.sh(t, "systemctl restart --no-block hosier.service")
	await(t, l.journal, "it to stop", func() bool { return l.show(t, "ActiveState") == "deactivating" })
	if err := echoes(relay); err != nil {
		t.Errorf("a relay, while it stops: %v", err)
	}
	relay.Close()
	await(t, l.journal, "it to be there again", func() bool {
		return l.show(t, "MainPID") != pid && l.show(t, "ActiveState") == "active"
	})
}

// socketMistake has systemd give up the socket, which the words of docs/packaging.md bring back.
func (l *life) socketMistake(t *testing.T) {
	const again = "systemctl restart hosier.socket hosier"
	if !strings.Contains(read(t, "../docs/packaging.md"), again) {
		t.Errorf("docs/packaging.md does not say %q", again)
	}
	l.configure(t, "")
	l.sh(t, "systemctl start hosier.socket")
	await(t, l.journal, "the socket to be given up", func() bool {
		l.inside(t, func() {
			if c, err := net.Dial("tcp", "127.0.0.1:1080"); err == nil {
				c.Close()
			}
		})
		said, _ := l.run("systemctl", "is-active", "hosier.socket")
		return said == "failed\n"
	})
	l.configure(t, "listen = \"systemd:socks\"\nvia = \"direct\"\n")
	l.sh(t, again)
	l.serves(t, "127.0.0.1:1080")
}

func (l *life) lateSocket(t *testing.T) {
	l.sh(t, "mkdir /etc/systemd/system/hosier.socket.d; "+
		"printf '[Socket]\\nListenStream=\\nListenStream=10.78.0.1:1080\\n' >/etc/systemd/system/hosier.socket.d/address.conf; systemctl daemon-reload")
	l.configure(t, "listen = \"systemd:socks\"\nallow-client = \"10.78.0.0/24\"\nvia = \"direct\"\n[[rule]]\nto = \"127.0.0.1\"\nvia = \"direct\"\n")
	l.sh(t, "systemctl start hosier.socket hosier.service; ip address add 10.78.0.1/24 dev lo")
	l.serves(t, "10.78.0.1:1080")
}
