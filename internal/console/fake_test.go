package console

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hosier/egress/tor"
	"hosier/internal/config"
	"hosier/internal/leaks"
	"hosier/internal/rules"
	"hosier/internal/telemetry"
)

func TestMain(m *testing.M) {
	// net/http waits half a second for the client of a body that it did not read.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// fake is a hosier that does as a test wants.
type fake struct {
	mu          sync.Mutex
	started     time.Time
	connections []telemetry.Entry
	history     []telemetry.Minute
	failures    []telemetry.Entry
	egresses    []Egress
	names       Names
	rules       []rules.Listed
	leaks       Leaks
	config      Config
	redacted    bool
	ended       []string // what End was asked
}

// source is what a console asks.
func (f *fake) source() Source {
	locked := func() func() { f.mu.Lock(); return f.mu.Unlock }
	return Source{
		Status: func() Status {
			defer locked()()
			s := Status{
				Version: "1.2.3", Started: f.started, Redacted: f.redacted, Ready: true, Open: len(f.connections), MaxConns: 20000,
				Listeners: []string{"127.0.0.1:1080", "unix:/run/hosier/socks.sock"}, Up: 123 << 20, Down: 45 << 30,
			}
			if len(f.egresses) > 0 {
				s.Ready = f.egresses[0].Ready
			}
			return s
		},
		Connections: func() []telemetry.Entry { defer locked()(); return append([]telemetry.Entry(nil), f.connections...) },
		History:     func() []telemetry.Minute { defer locked()(); return append([]telemetry.Minute(nil), f.history...) },
		Failures:    func() []telemetry.Entry { defer locked()(); return f.failures },
		Egresses:    func(context.Context) []Egress { defer locked()(); return f.egresses },
		Names:       func() Names { defer locked()(); return f.names },
		Rules:       func() []rules.Listed { defer locked()(); return f.rules },
		Leaks:       func() Leaks { defer locked()(); return f.leaks },
		Config:      func() Config { defer locked()(); return f.config },
		End:         f.end,
		Explain: func(q Question) (Explanation, error) {
			if strings.Contains(q.URL, "bad") {
				return Explanation{}, errors.New("\"bad\" is neither a URL nor host:port: write https://www.example/")
			}
			return Explanation{Refused: strings.Contains(q.URL, "smtp"), Text: explanation(q)}, nil
		},
	}
}

func (f *fake) end(id uint64, user string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = append(f.ended, fmt.Sprintf("%d %s", id, user))
	var stay []telemetry.Entry
	for _, c := range f.connections {
		if id != 0 && c.ID == id || id == 0 && c.User == user {
			n++
		} else {
			stay = append(stay, c)
		}
	}
	f.connections = stay
	return n
}

func explanation(q Question) string {
	return "request:   CONNECT " + q.URL + "\nlistener:  lan at 192.168.1.1:1080 (hosier.toml:4)\n" +
		"identity:  user \"" + q.User + "\" at 192.168.1.20\nrules:     hosier.toml:8: no match: www.example is not .lan or 192.168.1.0/24\n" +
		"           hosier.toml:1: no rule matched; default: via tor\negress:    tor (hosier.toml:1)\n"
}

// evil are texts that somebody outside chose, with hope.
var evil = []string{
	`<script>alert(1)</script>`,
	`"><img src=x onerror=alert(1)>`,
	`' onfocus=alert(1) autofocus='`,
	`{{.}} ${alert(1)} javascript:alert(1)`,
	`</template></table></main><form action=//evil.test><button>Close`,
	"gpj.\u202eexe.evil.test",
	"שלום.עולם.example",
	"xn--e1afmkfd.🦊🏴‍☠️.example",
	"nul\x00esc\x1b[31mline\r\nSet-Cookie: a=b",
	"not\xff\xfeutf8",
	strings.Repeat("long-", 48) + ".example",
	strings.Repeat("W", 255),
}

// newFake is a hosier with n open connections, of which some have names that are evil.
func newFake(n int) *fake { return newNamedFake(n, evil) }

// newNamedFake has other names in their place.
func newNamedFake(n int, evil []string) *fake {
	now := time.Now()
	f := &fake{started: now.Add(-77 * time.Hour)}
	users, targets := []string{"", "ann", "bob", "ci"}, []string{"www.example:443", "deb.debian.org:443", "expyuzz4wqqyqhjn.onion:80", "imap.example.org:993", "[2001:db8::25]:443"}
	for i := range n {
		c := telemetry.Entry{
			ID: uint64(i + 1), Stage: "relay", Start: now.Add(-time.Duration(i*i) * time.Second / 7), Listener: "127.0.0.1:1080",
			Client: fmt.Sprintf("192.168.1.%d:%d", 20+i%9, 40000+i), User: users[i%4], Dialect: "SOCKS5", Command: "CONNECT",
			Target: targets[i%5], Rule: "hosier.toml:8", Egress: "tor", Member: "127.0.0.1:9050", Up: int64(i*i*i) * 119, Down: int64(i*i*i*i) * 37,
		}
		switch {
		case i%11 == 3:
			c.Stage, c.Up, c.Down = "connect", 0, 0
		case i%13 == 4:
			c = telemetry.Entry{ID: c.ID, Stage: "handshake", Start: now, Listener: "127.0.0.1:1080", Client: c.Client}
		case i%3 == 2:
			c.Dialect, c.Egress, c.Member, c.Rule = "HTTP", "direct", "", "hosier.toml:12"
		}
		if e := i - 6; e >= 0 && e < len(evil) {
			c.Target, c.User, c.Member = evil[e]+":443", evil[e], evil[e]
		}
		f.connections = append(f.connections, c)
	}
	for i := range 60 {
		wave := 1 + math.Sin(float64(i)/5)
		m := telemetry.Minute{At: now.UTC().Truncate(time.Minute).Add(time.Duration(i-59) * time.Minute), Connections: int(300*wave) + i*i%37, Failed: i * i % 23}
		m.Up, m.Down = int64(wave*3e6)+int64(i*7e4), int64(wave*wave*9e7)
		m.Handshake, m.Connect, m.FirstByte = telemetry.Quantiles{P50: 0.4 * wave, P95: 3.1 * wave}, telemetry.Quantiles{P50: 220 + 90*wave, P95: 900 * (1 + wave)}, telemetry.Quantiles{P50: 340 * wave, P95: 1700 * wave}
		if i > 20 && i < 26 {
			m.Connections, m.Failed, m.Handshake, m.Connect, m.FirstByte = 0, 0, telemetry.Quantiles{}, telemetry.Quantiles{}, telemetry.Quantiles{}
		}
		f.history = append(f.history, m)
	}
	f.fill(now, evil)
	return f
}

// fill adds what does not grow.
func (f *fake) fill(now time.Time, evil []string) {
	for i, e := range evil {
		f.failures = append(f.failures, telemetry.Entry{
			ID: uint64(9000 - i), End: now.Add(-time.Duration(i*i*i) * 7 * time.Second), Listener: "127.0.0.1:1080", Client: "192.168.1.20:5555",
			User: e, Dialect: "SOCKS5", Command: "CONNECT", Target: e + ":443", Rule: "hosier.toml:8", Egress: "tor",
			Status: "05 connection refused", Reason: "dial: connection refused: " + e,
		})
		f.leaks.Sources = append(f.leaks.Sources, leaks.Entry{
			Program: e, PID: 4000 + i, Client: "192.168.1.20", Unsafe: uint64(1 + i*i*99), First: now.Add(-20 * time.Hour),
			Last: now.Add(-time.Duration(i) * time.Minute), Fix: "use --socks5-hostname in place of --socks5, or socks5h:// in place of socks5:// " + e,
		})
	}
	f.failures[0].Target, f.failures[0].Reason, f.failures[0].User = "mail.example:25", "rule: neither mail nor file sharing", "ann"
	f.failures[1].Target, f.failures[1].Reason, f.failures[1].User = "www.example.org:443", "lookup: no such host", "bob"
	f.leaks.Sources[0].Program, f.leaks.Sources[0].Fix = "curl", "use --socks5-hostname in place of --socks5, or socks5h:// in place of socks5://"
	f.leaks.Mode, f.leaks.Unsafe, f.leaks.Refused, f.leaks.Private, f.leaks.Answered = "warn", 4213, 12, 99, 3
	circuits := []tor.Circuit{
		{ID: "12", State: "BUILT", Purpose: "GENERAL", Path: []string{"guard", "middle", "exit"}},
		{ID: "13", State: "EXTENDED", Purpose: "HS_CLIENT_REND", Path: []string{"guard", evil[0]}},
		{ID: "14", State: "LAUNCHED", Purpose: "CONFLUX_UNLINKED"},
	}
	f.egresses = []Egress{
		{Name: "tor", Via: "tor+spawn://?daemons=2", Kind: "Tor", Ready: true, Open: 4200, Tors: []Tor{
			{Status: tor.Status{Name: "tor-0", State: tor.Ready, Version: "0.4.8.16", Bootstrap: 100, Phase: "Done", Streams: 4190}, Ready: true, OpenCircuits: circuits, MoreCircuits: 1300},
			{Status: tor.Status{
				Name: "tor-1", State: tor.Starting, Version: "0.4.8.16", Bootstrap: 45, Phase: "Asking for relay descriptors", Streams: 0,
				Error: "Problem bootstrapping: connection refused " + evil[1], ErrorTime: now.Add(-90 * time.Second),
			}, OpenCircuits: []tor.Circuit{}},
			{Status: tor.Status{Name: "192.0.2.7:9050", State: tor.Out, Bootstrap: -1, Streams: -1}},
		}},
		{Name: "direct", Via: "direct", Kind: "direct", Ready: true, Open: 777},
		{Name: evil[1], Via: "socks5://proxy.example:1080", Kind: "proxy", Open: 0},
	}
	f.names = Names{Used: true, Hits: 912_345, Asked: 43_210, Coalesced: 1234, Failures: 12, Entries: 4200, Bytes: 1 << 20, Servers: []NameServer{
		{Server: "192.0.2.53:53", Questions: 43_200, Answers: 43_100, Failures: 99, Latency: 12.4},
		{Server: "tls://192.0.2.54:853#" + evil[0], Questions: 10},
	}}
	f.rules = []rules.Listed{
		{At: "hosier.toml:3", If: []string{"port is 25 or 6881-6999"}, Then: "refuse: neither mail nor file sharing", Hits: 1412},
		{At: "hosier.toml:8", If: []string{"client is 192.168.1.0/24", "user is alice", "to is .printers.example or 192.168.1.128/25"}, Then: "via direct", Hits: 7},
		{At: "hosier.toml:14", If: []string{"to is " + evil[0]}, Then: "via " + evil[1], Hits: 0},
		{At: "hosier.toml:1", Then: "via tor, then office", Hits: 123456, Default: true},
	}
	f.config = Config{File: "/etc/hosier/hosier.toml", Loaded: now.Add(-3 * time.Hour), Settings: []config.Setting{
		{Key: "via", Value: "tor", At: "hosier.toml:1"},
		{Key: "listener.lan.users", Value: "/etc/hosier/users", At: "hosier.toml:6"},
		{Key: "listener.lan.listen", Value: evil[0], At: "--listen"},
		{Key: "egress.office.via", Value: "socks5://gateway:***@proxy.example:1080", At: "hosier.toml:20"},
		{Key: "drain", Value: "30s"},
		{Key: "connect-timeout", Value: "150s"},
		{Key: "dialects", Value: "socks4, socks5, connect"},
		{Key: "idle-timeout", Value: ""},
	}}
}
