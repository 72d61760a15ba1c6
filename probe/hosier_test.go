package probe_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hosier/egress"
	"hosier/probe"
	"hosier/proxy"
	"hosier/resolver"
	"hosier/socks"
)

// serveHosier runs a hosier that goes out directly, and returns its address.
func serveHosier(t *testing.T, dns string, change func(*proxy.Server)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveHosierOn(t, l, dns, change)
	return l.Addr().String()
}

// probed probes a hosier for whom nothing but the times change, and what it fails once more by
// longer times: a busy machine may not send a message byte by byte within those.
func probed(t *testing.T, cfg probe.Config, change func(*proxy.Server)) *probe.Report {
	t.Helper()
	var r *probe.Report
	for _, pace := range paces {
		one := cfg
		if pace > 1 {
			one.Timeout, one.Patience = pace*5*time.Second, pace*20*time.Second
		}
		one.Proxy = serveHosier(t, cfg.DNS.Addr(), func(s *proxy.Server) {
			s.Policy.HandshakeTimeout = pace * 3 * time.Second
			if change != nil {
				change(s)
			}
		})
		again := run(t, one)
		if r == nil {
			r = again
		}
		cfg.Only = nil
		for i := range r.Results {
			x := &r.Results[i]
			if y := again.Find(x.Check.ID); y != nil && x.Outcome == probe.Failed {
				*x = *y
			}
			if x.Outcome == probe.Failed {
				t.Logf("%s: %s", x.Check.ID, x.Reason)
				cfg.Only = append(cfg.Only, x.Check.ID)
			}
		}
		if len(cfg.Only) == 0 {
			break
		}
	}
	return r
}

// resolverOf returns a resolver that asks one server, or that of the system for "", until
// the test is over.
func resolverOf(t *testing.T, dns string) *resolver.Resolver {
	r := new(resolver.Resolver)
	if dns != "" {
		server, err := resolver.ParseServer(dns)
		if err != nil {
			t.Fatal(err)
		}
		r.Servers = []resolver.Server{server}
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func serveHosierOn(t *testing.T, l net.Listener, dns string, change func(*proxy.Server)) {
	t.Helper()
	out := &egress.Direct{Resolver: resolverOf(t, dns)}
	srv := &proxy.Server{
		Policy: proxy.Policy{
			ExtendedErrors:   true, // and Tor-Capabilities with them
			Route:            func(context.Context, *proxy.Session) (proxy.Route, error) { return proxy.Route{Egress: out}, nil },
			HandshakeTimeout: 3 * time.Second,
		},
		Log: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(srv)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() {
		srv.Close()
		if err := <-done; err != proxy.ErrServerClosed {
			t.Errorf("serve: %v", err)
		}
	})
}

func serveDNS(t *testing.T) *probe.DNS {
	t.Helper()
	dns, err := probe.ListenDNS("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dns.Close() })
	return dns
}

func run(t *testing.T, cfg probe.Config) *probe.Report {
	t.Helper()
	r, err := probe.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// wantAllHeld fails for every check that failed, and for every check that was not run
// though hosier has what it needs.
func wantAllHeld(t *testing.T, r *probe.Report, mayLack ...string) {
	t.Helper()
	for _, x := range r.Results {
		switch {
		case x.Outcome == probe.Failed:
			t.Errorf("%s (%v): %s", x.Check.ID, x.Check.Severity, x.Reason)
		case x.Outcome != probe.Passed && !slices.Contains(mayLack, x.Check.ID) && !slices.Contains(mayLack, x.Check.Group()):
			t.Errorf("%s: %v: %s", x.Check.ID, x.Outcome, x.Reason)
		}
	}
	if total := r.Total(); total.Passed == 0 {
		t.Error("nothing was checked")
	}
}

// loginChecks are what only a proxy that wants a login can be asked.
var loginChecks = []string{
	"auth/wrong-password", "auth/wrong-user", "auth/cut-password", "auth/closes-after-refusal",
	"auth/no-request-after-refusal", "auth/no-way-around", "auth/no-way-around-socks4", "auth/no-way-around-http",
	"http/407", "http/challenge", "http/wrong-login", "leak/refused-login",
}

// TestHosier: hosier passes every check that it has the means for, whatever its severity.
func TestHosier(t *testing.T) {
	t.Parallel()
	dns := serveDNS(t)
	r := probed(t, probe.Config{DNS: dns, Patience: 20 * time.Second}, nil)
	wantAllHeld(t, r, append(loginChecks, "bind", "udp")...)
	for _, id := range []string{"bind/answered", "udp/answered"} {
		if x := r.Find(id); x.Outcome != probe.Refused {
			t.Errorf("%s: %v", id, x.Outcome)
		}
	}
	if x := r.Find("leak/once-connect-socks5"); !strings.HasPrefix(x.Note, "asked for A") {
		t.Errorf("leak/once-connect-socks5 notes %q", x.Note)
	}
}

// TestHosierLogin: likewise with users.
func TestHosierLogin(t *testing.T) {
	t.Parallel()
	dns := serveDNS(t)
	login := &probe.Login{User: "alice", Password: "correct horse"}
	r := probed(t, probe.Config{DNS: dns, Login: login, Only: append(loginChecks, "greeting", "auth", "connect", "http", "split")}, func(s *proxy.Server) {
		s.Policy.Verify = func(_ *proxy.Session, a socks.Auth) (string, error) {
			if a.Method == socks.UserPass && a.User == login.User && a.Password == login.Password {
				return a.User, nil
			}
			return "", errors.New("who is there?")
		}
	})
	// Without a login it serves nobody, so whatever needs that, or SOCKS4, is not there.
	wantAllHeld(t, r, "greeting", "auth/any-bytes", "auth/empty-user", "auth/empty-password", "auth/both-empty",
		"auth/twice", "auth/unasked", "split/halves-socks4", "split/bytes-socks4", "split/halves-socks4a", "split/bytes-socks4a")
	for _, id := range loginChecks {
		if x := r.Find(id); x.Outcome != probe.Passed {
			t.Errorf("%s: %v: %s", id, x.Outcome, x.Reason)
		}
	}
	for _, x := range r.Results {
		var b strings.Builder
		if err := x.WriteExchange(&b); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), hex("horse")) {
			t.Errorf("%s shows the password", x.Check.ID)
		}
	}
}

func hex(s string) string { return fmt.Sprintf("% x", s) }

// TestHosierUnix probes by a Unix socket.
func TestHosierUnix(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "hosier.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	serveHosierOn(t, l, "", nil)
	r := run(t, probe.Config{Proxy: "unix:" + path, Only: []string{"connect/ipv4", "socks4/data", "http/data", "early"}})
	wantAllHeld(t, r, "early/socks4a", "early/refused-socks4a")
}

// TestRemote has the targets served by another probe.
func TestRemote(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- probe.ServeTargets(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	dns := serveDNS(t)
	r := probed(t, probe.Config{
		DNS: dns, Remote: l.Addr().String(), Patience: 20 * time.Second,
		Only: []string{"connect", "socks4", "http", "halfclose", "reply/refused-code", "reply/bound-true"},
	}, nil)
	wantAllHeld(t, r, append(loginChecks, "connect/ipv6", "connect/literal-ipv6", "connect/literal-brackets", "connect/mapped", "http/ipv6")...)
}

// TestCannotRun: where nothing can be said about the proxy, that is an error.
func TestCannotRun(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := l.Addr().String()
	l.Close()
	guarded := serveHosier(t, "", func(s *proxy.Server) {
		s.Policy.Verify = func(_ *proxy.Session, a socks.Auth) (string, error) {
			if a.Method != socks.UserPass {
				return "", errors.New("log in")
			}
			return a.User, nil
		}
	})
	closed := serveHosier(t, "", func(s *proxy.Server) {
		s.Policy.Route = func(context.Context, *proxy.Session) (proxy.Route, error) { return proxy.Route{}, socks.NotAllowed }
	})
	for _, tt := range []struct {
		name, want string
		cfg        probe.Config
	}{
		{"nobody listens", "refused", probe.Config{Proxy: gone}},
		{"login", "--user", probe.Config{Proxy: guarded}},
		{"targets forbidden", "--target", probe.Config{Proxy: closed}},
		{"no targets there", "probe --serve", probe.Config{Proxy: closed, Remote: gone}},
		{"unknown check", "no check", probe.Config{Proxy: closed, Only: []string{"greeting/none"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Timeout = 2 * time.Second
			if _, err := probe.Run(t.Context(), tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v", err)
			}
		})
	}
}

// TestSkipped: what is not known is skipped with the reason, and never passed.
func TestSkipped(t *testing.T) {
	t.Parallel()
	r := run(t, probe.Config{Proxy: serveHosier(t, "", nil), Only: []string{"leak", "connect/name", "auth/wrong-password"}})
	for _, x := range r.Results {
		if x.Outcome != probe.Skipped || !strings.Contains(x.Reason, "--") {
			t.Errorf("%s: %v: %s", x.Check.ID, x.Outcome, x.Reason)
		}
	}
}

// TestForeignDNS: a DNS server that the proxy does not ask counts as none.
func TestForeignDNS(t *testing.T) {
	t.Parallel()
	own, other := serveDNS(t), serveDNS(t)
	r := run(t, probe.Config{
		Proxy: serveHosier(t, other.Addr(), nil), DNS: own, Only: []string{"leak"},
		Timeout: 500 * time.Millisecond,
	})
	for _, x := range r.Results {
		if x.Outcome != probe.Skipped {
			t.Errorf("%s: %v: %s", x.Check.ID, x.Outcome, x.Reason)
		}
	}
}

// TestInterrupted: a run that is interrupted says so, and claims nothing.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cfg := probe.Config{Proxy: serveHosier(t, "", nil), Only: []string{"greeting"}}
	cfg.Progress = func(int, int, *probe.Result) { cancel() }
	if _, err := probe.Run(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}
