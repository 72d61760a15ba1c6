package telemetry

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/textproto"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"hosier/internal/printable"
	"hosier/proxy"
	"hosier/resolver"
	"hosier/socks"
)

func TestReason(t *testing.T) {
	t.Parallel()
	refused := &net.OpError{
		Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 80},
		Err: os.NewSyscallError("connect", syscall.ECONNREFUSED),
	}
	own := errors.New("own")
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"none", nil, ""},
		{"refused", refused, "dial: connection refused"},
		{"refused-wrapped", fmt.Errorf("CONNECT foo.test:80: %w", refused), "dial: connection refused"},
		{"proxy", &socks.ProxyError{Proxy: "192.0.2.9:1080", Err: refused}, "upstream: dial: connection refused"},
		{"status", fmt.Errorf("CONNECT foo.test:80 through proxy x: %w", socks.HostUnreachable), "host unreachable"},
		{"no-such-host", &net.OpError{Op: "dial", Err: &net.DNSError{Name: "foo.test", Server: "192.0.2.53:53", IsNotFound: true}}, "dial: lookup: no such host"},
		{"dns-timeout", &net.DNSError{Name: "foo.test", IsTimeout: true}, "lookup: timed out"},
		{"dns-no-such-host-by", failedLookup(true, errors.New("foo.test")), "lookup by 192.0.2.53:53: no such host"},
		{"dns-code-by", failedLookup(false, resolver.RCodeError(2)), "lookup by 192.0.2.53:53: server failure (SERVFAIL)"},
		{"dns-refused-by", failedLookup(false, syscall.ECONNREFUSED), "lookup by 192.0.2.53:53: connection refused"},
		{"dns-unknown-by", failedLookup(false, errors.New("foo.test")), "lookup by 192.0.2.53:53"},
		{"dns-server", &net.DNSError{Name: "foo.test", Err: "server misbehaving"}, "lookup failed"},
		{"format", &socks.FormatError{Status: socks.GeneralFailure, Text: "host name is empty"}, "host name is empty"},
		{"client-left", fmt.Errorf("%w: %w", proxy.ErrClientLeft, &net.OpError{Op: "read", Err: syscall.ECONNRESET}), "client broke the connection off: read: connection reset by peer"},
		{"login", fmt.Errorf("%w: %w: %w", socks.ErrAuth, socks.NotAllowed, own), "login refused: not allowed by ruleset: own words"},
		{"limit", fmt.Errorf("%w: 10 for 192.0.2.1", proxy.ErrLimit), "client has reached its limit"},
		{"deadline", fmt.Errorf("x: %w", context.DeadlineExceeded), "timed out"},
		{"read-deadline", &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, "read: timed out"},
		{"timeout-of-another-type", &net.OpError{Op: "dial", Err: timeout{}}, "dial: timed out"},
		{"unknown-op", &net.OpError{Op: "foo.test", Err: io.EOF}, "end of stream"},
		{"tls", tls.RecordHeaderError{Msg: "foo.test"}, "the peer does not speak TLS"},
		{"joined", errors.Join(own, fmt.Errorf("x: %w", io.EOF)), "own words: end of stream"},
		{"same-words-once", fmt.Errorf("%w: %w", context.DeadlineExceeded, os.ErrDeadlineExceeded), "timed out"},
		{"text-alone", errors.New("foo.test"), unknown},
		{"cannot-be-compared", uncomparable{"foo.test"}, unknown},
	} {
		d := Redactor{Words: func(err error) string {
			if err == own {
				return "own words"
			}
			return ""
		}}
		if got := d.Reason(&proxy.Session{Err: c.err}); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

type timeout struct{}

func (timeout) Error() string   { return "foo.test" }
func (timeout) Timeout() bool   { return true }
func (timeout) Temporary() bool { return true }

type uncomparable []string

func (u uncomparable) Error() string { return u[0] }

// cycle wraps itself.
type cycle struct{}

func (c *cycle) Error() string   { return "cycle" }
func (c *cycle) Unwrap() []error { return []error{c, c} }

func TestReasonEnds(t *testing.T) {
	t.Parallel()
	if got := (Redactor{}).Reason(&proxy.Session{Err: &cycle{}}); got != unknown {
		t.Errorf("got %q", got)
	}
}

func TestReveal(t *testing.T) {
	t.Parallel()
	r := &socks.Request{
		Version: socks.V5, Command: socks.Connect, Addr: socks.Addr{Name: "foo.test", Port: 80},
		Auth: socks.Auth{Method: socks.UserPass, User: "u", Password: "hunter2", Isolation: "apart"},
	}
	for _, c := range []struct {
		name    string
		request *socks.Request
		err     error
		want    string
	}{
		{"text", r, fmt.Errorf("dial foo.test: %w", io.EOF), "dial foo.test: EOF"},
		{"password", r, fmt.Errorf("dial hunter2: %w", io.EOF), "end of stream"},
		{"isolation", r, fmt.Errorf("dial apart: %w", io.EOF), "end of stream"},
		// A head that Go cannot read comes back in its error, credentials and all.
		{"no-request", nil, fmt.Errorf("http: request head: %w", textproto.ProtocolError("malformed MIME header line: Proxy-Authorization Basic dTpw")), unknown},
	} {
		got := Redactor{Reveal: true}.Reason(&proxy.Session{Request: c.request, Err: c.err})
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	d := Redactor{Reveal: true}
	if got := d.Target(r) + " " + d.Client(netip.MustParseAddrPort("192.0.2.1:5")); got != "foo.test:80 192.0.2.1:5" {
		t.Errorf("got %q", got)
	}
}

func TestClean(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                                "",
		"plain text":                      "plain text",
		"jürgen 日本":                       "jürgen 日本",
		"a\nb":                            `a\nb`,
		"\x1b[2J":                         `\x1b[2J`,
		"\u009b2J":                        `\u009b2J`,
		"a\u202eb":                        `a\u202eb`,
		"\xff":                            `\xff`,
		"\ufffd":                          "\ufffd",
		`say "x"` + "\x00":                `say "x"\x00`,
		strings.Repeat("x", 20):           strings.Repeat("x", 20),
		strings.Repeat("x", 21):           strings.Repeat("x", 17) + "…",
		strings.Repeat("é", 11):           strings.Repeat("é", 8) + "…",
		"\n" + strings.Repeat("\x00", 19): `\n\x00\x00\x00\x0` + "…",
	} {
		if got := clean(in, 20); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("a\nb\x00\xff\u202e")
	f.Add(strings.Repeat("é\"", 30))
	f.Fuzz(func(t *testing.T, s string) {
		got := clean(s, 40)
		if len(got) > 40 || !utf8.ValidString(got) || printable.String(got) != got {
			t.Errorf("%q: got %q, %d bytes", s, got, len(got))
		}
	})
}

// secrets are what no redacted line may hold.
type secrets struct {
	name, password string
	target, client netip.AddrPort
}

func (s secrets) all() []string {
	return []string{s.name, s.password, s.target.Addr().String(), s.client.Addr().String()}
}

func drawSecrets(t *rapid.T) secrets {
	addr := func(label string) netip.AddrPort {
		b := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, label)
		ip := netip.AddrFrom4([4]byte{198, b[0]%100 + 100, b[1]%100 + 100, b[2]%100 + 100})
		if b[3]&1 == 1 {
			b[0], b[1] = 0x20, 0x01
			ip = netip.AddrFrom16([16]byte(b))
		}
		return netip.AddrPortFrom(ip, 4321)
	}
	return secrets{
		name:     rapid.StringMatching(`[a-z]{12}\.(test|example|onion)`).Draw(t, "name"),
		password: rapid.StringMatching(`[!-~]{12,20}`).Draw(t, "password"),
		target:   addr("target"), client: addr("client"),
	}
}

// leaf is an error that tells a secret, or none.
func (s secrets) leaf(t *rapid.T) error {
	tcp := net.TCPAddrFromAddrPort(s.target)
	return rapid.SampledFrom([]error{
		errors.New(s.name),
		fmt.Errorf("lookup %s on %v: no such host", s.name, s.target),
		fmt.Errorf("%s %v", s.password, s.client),
		&net.DNSError{Err: s.name, Name: s.name, Server: s.target.String(), IsNotFound: true},
		&net.DNSError{Err: s.name, Name: s.name, Server: s.target.String(), UnwrapErr: syscall.ECONNREFUSED},
		&net.OpError{Op: s.name, Net: s.name, Source: net.TCPAddrFromAddrPort(s.client), Addr: tcp, Err: syscall.ECONNRESET},
		&net.AddrError{Err: s.name, Addr: s.target.String()},
		&net.ParseError{Type: s.name, Text: s.target.String()},
		net.InvalidAddrError(s.name), net.UnknownNetworkError(s.name),
		&os.PathError{Op: s.name, Path: s.password, Err: syscall.ENOENT},
		textproto.ProtocolError("malformed MIME header line: " + s.password),
		tls.RecordHeaderError{Msg: s.name},
		&tls.CertificateVerificationError{Err: errors.New(s.name)},
		&socks.FormatError{Status: socks.GeneralFailure, Text: "host name is empty"},
		socks.HostUnreachable, socks.Status(0x55), syscall.EHOSTUNREACH,
		context.Canceled, context.DeadlineExceeded, os.ErrDeadlineExceeded, io.ErrUnexpectedEOF, net.ErrClosed,
		proxy.ErrFull, proxy.ErrLimit, proxy.ErrDialect, proxy.ErrTotal, proxy.ErrClientLeft, socks.ErrAuth, errors.ErrUnsupported,
		timeout{},
		uncomparable{s.name},
	}).Draw(t, "leaf")
}

// wrap puts err into an error that tells secrets, too.
func (s secrets) wrap(t *rapid.T, err error) error {
	switch rapid.IntRange(0, 7).Draw(t, "wrap") {
	case 0:
		return fmt.Errorf("CONNECT %s through proxy %v: %w", s.name, s.target, err)
	case 1:
		return fmt.Errorf("client %v with %s: %w: %w", s.client, s.password, socks.ErrAuth, err)
	case 2:
		return &net.OpError{Op: "dial", Net: "tcp", Source: net.TCPAddrFromAddrPort(s.client), Addr: net.TCPAddrFromAddrPort(s.target), Err: err}
	case 3:
		return &socks.ProxyError{Proxy: s.target.String(), Err: err}
	case 4:
		return errors.Join(errors.New(s.name), err)
	case 5:
		return &net.DNSError{Err: err.Error(), Name: s.name, Server: s.client.String(), UnwrapErr: err}
	case 6:
		return &os.SyscallError{Syscall: s.name, Err: err}
	}
	return &os.PathError{Op: s.name, Path: s.password, Err: err}
}

// request is one that names all secrets, or none at all.
func (s secrets) request(t *rapid.T) *socks.Request {
	if rapid.Bool().Draw(t, "no request") {
		return nil
	}
	r := &socks.Request{
		Version: rapid.SampledFrom([]socks.Version{socks.V4, socks.V5, socks.HTTP}).Draw(t, "version"),
		Command: rapid.SampledFrom([]socks.Command{socks.Connect, socks.Resolve, socks.ResolvePTR}).Draw(t, "command"),
		Auth:    socks.Auth{Method: socks.UserPass, User: s.password, Password: s.password, Isolation: s.password},
		Addr:    socks.Addr{Name: s.name, Port: 80}, Client: s.client,
	}
	if rapid.Bool().Draw(t, "address") {
		r.Addr = socks.AddrFrom(s.target)
	}
	return r
}

// Whatever wraps whatever, neither a redacted line nor what is kept of a failure tells target,
// client or password.
func TestRedactedLineTellsNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s := drawSecrets(rt)
		err := s.leaf(rt)
		for range rapid.IntRange(0, 5).Draw(rt, "depth") {
			err = s.wrap(rt, err)
		}
		ses := session()
		ses.Client, ses.Request, ses.Err = s.client, s.request(rt), err
		var text, json bytes.Buffer
		var kept []Entry
		for _, h := range []slog.Handler{slog.NewTextHandler(&text, nil), slog.NewJSONHandler(&json, nil)} {
			tel := New(Options{Log: slog.New(h), Connections: true})
			tel.Closed(ses)
			kept = append(kept, tel.Failures()...)
		}
		for _, line := range []string{text.String(), json.String(), fmt.Sprintf("reason: %+v", kept)} {
			if line == "" {
				rt.Fatal("there is no line")
			}
			for _, secret := range s.all() {
				if strings.Contains(line, secret) {
					rt.Fatalf("%q stands in %s", secret, line)
				}
			}
			if !strings.Contains(line, "reason") {
				rt.Fatalf("no reason: %s", line)
			}
		}
	})
}

// session is one with everything in it.
func session() *proxy.Session {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	client := netip.MustParseAddrPort("192.0.2.1:4321")
	return &proxy.Session{
		ID: 7, Client: client, User: "ann", Listener: "127.0.0.1:1080", Start: start, End: start.Add(2 * time.Second),
		Request: &socks.Request{
			Version: socks.V5, Command: socks.Connect, Addr: socks.Addr{Name: "foo.test", Port: 443},
			Auth: socks.Auth{Method: socks.UserPass, User: "ann", Password: "hunter2"}, Client: client, Member: "tor0", Literal: true,
		},
		Rule: "hosier.toml:12", Egress: "tor", Status: socks.TTLExpired, Up: 517, Down: 4096,
		Handshake: 1500 * time.Microsecond, Connect: 250 * time.Millisecond, FirstByte: 42 * time.Millisecond,
		Err: fmt.Errorf("CONNECT foo.test:443: %w", context.DeadlineExceeded),
	}
}

// A listener is shown by its name, and by its address where it has none.
func TestListenerNames(t *testing.T) {
	names := Redactor{Listener: func(at string) string {
		if at == "192.0.2.1:1080" {
			return "lan"
		}
		return at
	}}
	for _, c := range []struct {
		d        Redactor
		at, want string
	}{
		{names, "192.0.2.1:1080", "lan"},
		{names, "192.0.2.2:1080", "192.0.2.2:1080"},
		{Redactor{}, "192.0.2.1:1080", "192.0.2.1:1080"},
	} {
		if got := c.d.Entry(&proxy.Session{Listener: c.at}).Listener; got != c.want {
			t.Errorf("%s is shown as %s, want %s", c.at, got, c.want)
		}
	}
}

// failedLookup is an error of package resolver.
func failedLookup(notFound bool, err error) error {
	return &net.DNSError{Name: "foo.test", Err: "foo.test", IsNotFound: notFound, UnwrapErr: &resolver.ServerError{Server: "192.0.2.53:53", Err: err}}
}
