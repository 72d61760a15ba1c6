package probe

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// FuzzAnswers lets a proxy answer anything to any check: data is said in pieces, each at
// the beginning of a connection or after something was read. No answer may crash a
// check, hold it up or make it take more than it wants.
func FuzzAnswers(f *testing.F) {
	for i, answer := range []string{
		"", "\x05", "\x05\x00", "\x05\x02\x01\x00", "\x05\xff", "\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00",
		"\x05\x00\x05\x00\x00\x03\xff", "\x05\x00\x05\x04\x00\x00\x00\x00\x00\x00\x00\x00", "\x00\x5a\x00\x00\x00\x00\x00\x00",
		"\x00\x5b", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 501 No\r\nContent-Length: 99999999999999\r\n\r\n",
		"HTTP/1.1 501 No\r\nContent-Length: -1\r\n\r\nx", "HTTP/9.9 \xff\r\n: \r\n\r\n", strings.Repeat("\x05\x00", 600),
	} {
		f.Add(uint16(i*17), []byte(answer), byte(i))
	}
	dns, err := ListenDNS("127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { dns.Close() })
	f.Fuzz(func(t *testing.T, which uint16, data []byte, piece byte) {
		data = data[:min(len(data), 4096)] // what is longer is of no further interest
		checks := Checks()
		c := checks[int(which)%len(checks)]
		p := fuzzProber(t, dns, data, int(piece)%64)
		start := time.Now()
		r := p.runOne(t.Context(), c)
		if r.Outcome == Failed && r.Reason == "" {
			t.Errorf("%s fails without a reason", c.ID)
		}
		// A check may wait for several answers, but not for ever.
		if d := time.Since(start); d > 30*time.Second {
			t.Errorf("%s took %v", c.ID, d)
		}
		var b strings.Builder
		if err := r.WriteExchange(&b); err != nil || strings.ContainsFunc(b.String(), unprintable) {
			t.Errorf("%s: the exchange has control characters: %v", c.ID, err)
		}
	})
}

func unprintable(r rune) bool { return r < ' ' && r != '\n' || r == 0x7F }

// fuzzProber believes that the proxy has everything, so that no check is skipped.
func fuzzProber(t *testing.T, dns *DNS, data []byte, piece int) *prober {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			answerAnything(c.(*net.TCPConn), slices.Clone(data), piece)
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	cfg := Config{
		Proxy: l.Addr().String(), DNS: dns, Login: &Login{"user", "password"},
		Timeout: 20 * time.Millisecond, Quiet: time.Millisecond, Patience: 20 * time.Millisecond, Pace: time.Nanosecond,
	}.withDefaults()
	return &prober{cfg: cfg, seed: "fuzz", unmet: map[need]string{}, targets: newLocalTargets(netip.MustParseAddr("127.0.0.1"))}
}

func answerAnything(c *net.TCPConn, data []byte, piece int) {
	defer c.Close()
	c.SetLinger(0)
	c.SetDeadline(time.Now().Add(50 * time.Millisecond))
	buf := make([]byte, 4096)
	for len(data) > 0 {
		n := len(data)
		if piece > 0 {
			n = min(n, piece)
		}
		c.Write(data[:n])
		data = data[n:]
		if _, err := c.Read(buf); err != nil {
			return
		}
	}
}

// TestEveryCheckAgainstAnything runs what the fuzzer seeds with against all checks.
func TestEveryCheckAgainstAnything(t *testing.T) {
	dns, err := ListenDNS("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer dns.Close()
	for _, answer := range []string{"", "\x05", "\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00", "HTTP/1.1 200 OK\r\n\r\n", strings.Repeat("\x00\x5a\x05\x02\x01\x00", 300)} {
		p := fuzzProber(t, dns, []byte(answer), 2)
		for _, r := range p.runAll(t.Context(), Checks()) {
			if r.Outcome == Failed && r.Reason == "" {
				t.Errorf("%s fails without a reason", r.Check.ID)
			}
		}
	}
}
