package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"hosier/egress/tor"
	"hosier/internal/config"
	"hosier/internal/leaks"
	"hosier/socks"
)

// The worlds of the property tests are small, so that configurations and requests meet often.
const someOnion = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion"

var (
	someHosts   = []string{"a.test", "b.a.test", "localhost", "check.hosier.invalid", "x.check.hosier.invalid", someOnion, "bad.onion", "10.1.2.3", "198.51.100.7", "0.0.0.0", "127.0.0.1", "2001:db8::1"}
	someDests   = []string{"a.test", ".a.test", ".onion", "*", "10.0.0.0/8", "127.0.0.0/8", "0.0.0.0/0", "198.51.100.7"}
	someVias    = []string{"direct", "tor://127.0.0.1:9050", "tor://127.0.0.1:1,127.0.0.1:2", "socks5://192.0.2.1:1080", "socks4a://192.0.2.1:1080", "http://192.0.2.1:8080"}
	someClients = []string{"127.0.0.1", "192.0.2.9", "198.51.100.9", "2001:db8::9"}
	errFull     = errors.New("full")
)

// genConfig draws a configuration with one listener, "lan". Rules that would be a mistake, such
// as one that never matches, are left out.
func genConfig(t *rapid.T) (*config.Config, string) {
	pick := func(label string, values ...string) string { return rapid.SampledFrom(values).Draw(t, label) }
	var b strings.Builder
	fmt.Fprintf(&b, "via = [\"%s\"]\n", strings.Join(rapid.SliceOfNDistinct(rapid.SampledFrom(someVias), 1, 2, rapid.ID).Draw(t, "via"), `", "`))
	b.WriteString("[listener.lan]\n")
	fmt.Fprintf(&b, "listen = %q\nallow-client = %s\n", pick("listen", "127.0.0.1:1080", "192.0.2.1:1080", "unix:/run/s"), pick("allow", `["0.0.0.0/0", "::/0"]`, `["192.0.2.0/24"]`))
	b.WriteString(pick("dialects", "", "dialects = [\"socks5\"]\n", "dialects = [\"connect\"]\n", "dialects = [\"socks4\", \"connect\"]\n"))
	b.WriteString(pick("unsafe", "", "unsafe = \"refuse\"\n", "unsafe = \"allow\"\n"))
	b.WriteString(pick("users", "", "", "users = \"users\"\n"))
	text := b.String()
	c, err := parse(text)
	for i := range rapid.IntRange(0, 3).Draw(t, "rules") {
		label := fmt.Sprint("rule", i)
		b.Reset()
		fmt.Fprintf(&b, "[[rule]]\nto = %q\n", pick(label+"to", someDests...))
		b.WriteString(pick(label+"client", "", "client = \"192.0.2.0/24\"\n"))
		b.WriteString(pick(label+"command", "", "command = \"resolve\"\n", "command = \"connect\"\n"))
		b.WriteString(pick(label+"then", "refuse = true\n", fmt.Sprintf("via = %q\n", pick(label+"via", someVias...))))
		if more, err := parse(text + b.String()); err == nil {
			c, text = more, text+b.String()
		}
	}
	if err != nil {
		t.Fatalf("%s\n%v", text, err)
	}
	return c, text
}

func parse(text string) (*config.Config, error) {
	return config.Parse("f", []byte(text), config.Options{Users: func(string) ([]string, error) { return []string{"ann"}, nil }})
}

func genRequest(t *rapid.T, l *config.Listener) *socks.Request {
	r := &socks.Request{
		Version: rapid.SampledFrom([]socks.Version{socks.V4, socks.V5, socks.HTTP}).Draw(t, "version"),
		Command: rapid.SampledFrom([]socks.Command{socks.Connect, socks.Connect, socks.Bind, socks.Associate, socks.Resolve, socks.ResolvePTR}).Draw(t, "command"),
		User:    rapid.SampledFrom([]string{"", "ann", "bob"}).Draw(t, "user"),
	}
	host := rapid.SampledFrom(someHosts).Draw(t, "host")
	if ip, err := netip.ParseAddr(host); err == nil {
		r.Addr, r.Literal = socks.Addr{IP: ip}, true
	} else {
		r.Addr.Name = host
	}
	r.Addr.Port = rapid.SampledFrom([]uint16{80, 443}).Draw(t, "port")
	r.Listener = l.Address
	if !strings.HasPrefix(l.Address, "unix:") {
		r.Client = netip.AddrPortFrom(netip.MustParseAddr(rapid.SampledFrom(someClients).Draw(t, "client")), 1)
	}
	return r
}

// The last line of a trace and the outcome agree, and what asks for no trace gets the same.
func TestTraceAgrees(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c, text := genConfig(t)
		l := &Listener{Listener: &c.Listeners[slices.IndexFunc(c.Listeners, func(l config.Listener) bool { return l.Name == "lan" })], Config: c}
		r := genRequest(t, l.Listener)
		look := rapid.Bool().Draw(t, "look")
		full := rapid.IntRange(0, 5).Draw(t, "full") == 0
		state := State{
			HasUser: func(_, user string) error {
				if user == "bob" {
					return socks.NotAllowed
				}
				return nil
			},
			Login: func(string) error {
				if full {
					return errFull
				}
				return nil
			},
			Leak: func(m leaks.Mode, r *socks.Request) (leaks.Verdict, error) {
				v, err := OfflineLeak(m, r)
				v.Look = look
				return v, err
			},
			Pool: func(*config.Egress) (*tor.Pool, error) { return &tor.Pool{}, nil },
		}
		trace := &Trace{Hidden: rapid.SampledFrom([]string{"", "[hidden]"}).Draw(t, "hidden")}
		traced, bare := l.Decide(r, state, trace), l.Decide(r, state, nil)
		if textOf(traced) != textOf(bare) {
			t.Fatalf("%s%v\nwith a trace:    %s\nwithout a trace: %s", text, r, textOf(traced), textOf(bare))
		}
		checkOutcome(t, &traced)
		last := trace.Steps[len(trace.Steps)-1]
		if (last.Label == Refused) != (traced.Err != nil) || traced.Err != nil && last.Text != traced.Err.Error() {
			t.Fatalf("%s%v: %v, and the trace ends with %q", text, r, traced.Err, last)
		}
		refusal, silent := l.Foresee(r, &traced, state, trace), l.Foresee(r, &traced, state, nil)
		last = trace.Steps[len(trace.Steps)-1]
		if fmt.Sprint(refusal) != fmt.Sprint(silent) || (last.Label == Refused) != (refusal != nil) || refusal != nil && last.Text != refusal.Error() {
			t.Fatalf("%s%v: foreseen %v, without a trace %v, and the trace ends with %q", text, r, refusal, silent, last)
		}
		for _, name := range traced.Egresses {
			if traced.Err == nil && !slices.ContainsFunc(trace.Steps, func(s Step) bool { return s.Label == "egress" && strings.HasPrefix(s.Text, name) }) {
				t.Fatalf("%s%v: %s is an egress, and not in %q", text, r, name, trace.Steps)
			}
		}
		if trace.Hidden != "" && r.Addr.Name != "" && !traced.Own && traced.Err == nil && refusal == nil {
			for _, s := range trace.Steps {
				if s.Label == "request" && strings.Contains(s.Text, r.Addr.Name) {
					t.Fatalf("%q shows the target", s)
				}
			}
		}
	})
}

// An outcome is one of three: an egress, hosier itself, a refusal.
func checkOutcome(t *rapid.T, o *Outcome) {
	t.Helper()
	n := 0
	for _, is := range []bool{len(o.Egresses) > 0 && o.Err == nil, o.Own, o.Err != nil} {
		if is {
			n++
		}
	}
	if n != 1 || o.Err != nil && len(o.Egresses) > 0 && !o.Leak.Look {
		t.Fatalf("no outcome: %s", textOf(*o))
	}
}

func textOf(o Outcome) string {
	return fmt.Sprintf("%q %q %v %v %v %q", o.Rule, o.Egresses, o.Own, o.Err, o.Leak, o.Decision.Where)
}
