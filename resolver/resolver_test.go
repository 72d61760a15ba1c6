package resolver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func addrsOf(list ...string) []netip.Addr {
	var all []netip.Addr
	for _, s := range list {
		all = append(all, netip.MustParseAddr(s))
	}
	return all
}

// What one answer or another comes to, over UDP and over TCP.
func TestAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		reply    reply
		tcp      reply // where the first is cut
		network  string
		want     []netip.Addr
		notFound bool
		timeout  bool
		err      error
		asked    int // A questions over UDP; 0: one
	}{
		"RFC1035/both families":            {reply: reply{addrs: []string{"192.0.2.1", "2001:db8::1"}, ttl: 9}, want: addrsOf("192.0.2.1", "2001:db8::1")},
		"RFC1035/one family":               {reply: reply{addrs: []string{"192.0.2.1"}, ttl: 9}, want: addrsOf("192.0.2.1")},
		"RFC1035/ip6 alone":                {reply: reply{addrs: []string{"192.0.2.1", "2001:db8::1"}, ttl: 9}, network: "ip6", want: addrsOf("2001:db8::1")},
		"RFC1035-s3.6.2/alias":             {reply: reply{cname: "other.test", addrs: []string{"192.0.2.1"}, ttl: 9}, want: addrsOf("192.0.2.1")},
		"RFC1035-s3.6.2/loop":              {reply: reply{cname: "x.test", ttl: 9}, notFound: true},
		"RFC1035-s3.6.2/alias to nothing":  {reply: reply{cname: "other.test", ttl: 9}, notFound: true},
		"RFC2308-s2.1/no such name":        {reply: reply{rcode: dnsmessage.RCodeNameError, soa: 9}, notFound: true},
		"RFC2308-s2.2/no such record":      {reply: reply{soa: 9}, notFound: true},
		"RFC1035-s4.1.1/server failure":    {reply: reply{rcode: dnsmessage.RCodeServerFailure}, err: RCodeError(2)},
		"RFC1035-s4.1.1/refused":           {reply: reply{rcode: dnsmessage.RCodeRefused}, err: RCodeError(5)},
		"RFC1035-s4.2.1/truncated":         {reply: reply{cut: true}, tcp: reply{addrs: []string{"192.0.2.7"}, ttl: 9}, want: addrsOf("192.0.2.7")},
		"RFC1035-s4.2.1/truncated, no TCP": {reply: reply{cut: true}, tcp: reply{hangUp: true}, err: errAny},
		"RFC5452-s9.1/another question":    {reply: reply{raw: []byte("\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01y\x00\x00\x01\x00\x01")}, timeout: true, asked: -1},
		"RFC1035-s4.1/cut in a record":     {reply: reply{raw: []byte("\x80\x00\x00\x01\x00\x01\x00\x00\x00\x00\x01x\x04test\x00\x00\x01\x00\x01\xc0\x0c\x00\x01")}, network: "ip4", err: errMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, func(q dnsmessage.Question, network string, _ int) reply {
				if network == "tcp" {
					return test.tcp
				}
				return test.reply
			})
			r := s.resolver(UDP)
			ctx := within(t)
			if test.timeout {
				short, cancel := context.WithTimeout(ctx, time.Second)
				defer cancel()
				ctx = short
			}
			network := test.network
			if network == "" {
				network = "ip"
			}
			got, err := r.LookupNetIP(ctx, network, "x.test")
			if !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
			var dns *net.DNSError
			switch {
			case test.want != nil && err != nil:
				t.Error(err)
			case test.want == nil && !errors.As(err, &dns):
				t.Fatalf("error %v is no *net.DNSError", err)
			case test.want == nil && (dns.IsNotFound != test.notFound || dns.IsTimeout != test.timeout):
				t.Errorf("%#v", dns)
			case test.err != nil && test.err != errAny && !errors.Is(err, test.err):
				t.Errorf("error %v, want %v", err, test.err)
			case test.want == nil && !test.timeout && dns.Server != s.addr().String():
				t.Errorf("the error names server %q, asked was %v", dns.Server, s.addr())
			}
			if n := s.count("x.test", A, "udp"); test.asked == 0 && test.network != "ip6" && n != 1 {
				t.Errorf("asked %d times", n)
			}
		})
	}
}

var errAny = errors.New("any")

// A hundred requests of a name, one after the other and at once, are one question.
func TestCoalesced(t *testing.T) {
	s := newServer(t, func(dnsmessage.Question, string, int) reply {
		return reply{addrs: []string{"192.0.2.1", "2001:db8::1"}, ttl: 60, wait: 200 * time.Millisecond}
	})
	r := s.resolver(UDP)
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if got, err := r.LookupNetIP(within(t), "ip", "X.test."); err != nil || len(got) != 2 {
				t.Error(got, err)
			}
		})
	}
	all.Wait()
	for range 10 {
		if _, err := r.LookupNetIP(within(t), "ip", "x.test"); err != nil {
			t.Error(err)
		}
	}
	if n := s.count("x.test", A, "udp") + s.count("x.test", AAAA, "udp"); n != 2 {
		t.Errorf("%d questions, want 2", n)
	}
	if st := r.Stats(); st.Asked != 2 || st.Hits+st.Coalesced != 218 || len(st.Servers) != 1 || st.Servers[0].Answers != 2 {
		t.Errorf("%+v", st)
	}
}

// What a caller does to the addresses that it got changes nothing for others.
func TestAnswersAreCopies(t *testing.T) {
	s := newServer(t, func(q dnsmessage.Question, _ string, _ int) reply {
		return reply{addrs: []string{"192.0.2.1", "2001:db8::1"}, names: nil, ttl: 60}
	})
	r := s.resolver(UDP)
	for _, network := range []string{"ip", "ip4", "ip6"} {
		for range 2 {
			got, err := r.LookupNetIP(within(t), network, "x.test")
			if err != nil || got[0].IsUnspecified() {
				t.Fatal(network, got, err)
			}
			for i := range got {
				got[i] = netip.IPv4Unspecified()
			}
		}
	}
}

// Clients of different groups do not learn from the cache what others asked.
func TestGroups(t *testing.T) {
	s := newServer(t, func(dnsmessage.Question, string, int) reply { return reply{addrs: []string{"192.0.2.1"}, ttl: 60} })
	r := s.resolver(UDP)
	for i, v := range []View{r.For("ann"), r.For("bob"), r.For("ann"), r.Uncached(), r.Uncached()} {
		if a, err := v.Lookup(within(t), "x.test", A); err != nil || a.Cached != (i == 2) {
			t.Errorf("%d: %+v, %v", i, a, err)
		}
	}
	if n := s.count("x.test", A, "udp"); n != 4 {
		t.Errorf("%d questions, want 4", n)
	}
	if n := r.Flush(); n != 2 {
		t.Errorf("%d entries flushed, want 2", n)
	}
	if a, err := r.Lookup(within(t), "x.test", A); err != nil || a.Cached {
		t.Errorf("after Flush: %+v, %v", a, err)
	}
}

// An answer lost is asked for again, and a second server is asked beside a silent first,
// which comes last from then on.
func TestSilentServer(t *testing.T) {
	lost := newServer(t, func(_ dnsmessage.Question, _ string, n int) reply {
		return reply{addrs: []string{"192.0.2.1"}, ttl: 60, silent: n == 1}
	})
	if _, err := lost.resolver(UDP).LookupNetIP(within(t), "ip4", "x.test"); err != nil {
		t.Error(err)
	}
	if n := lost.count("x.test", A, "udp"); n != 2 {
		t.Errorf("asked %d times, want 2", n)
	}

	silent := newServer(t, func(dnsmessage.Question, string, int) reply { return reply{silent: true} })
	failing := newServer(t, func(dnsmessage.Question, string, int) reply { return reply{rcode: dnsmessage.RCodeServerFailure} })
	good := newServer(t, func(dnsmessage.Question, string, int) reply { return reply{addrs: []string{"192.0.2.1"}, ttl: 60} })
	r := &Resolver{NoHosts: true, Servers: []Server{{Addr: silent.addr()}, {Addr: failing.addr()}, {Addr: good.addr()}}}
	defer r.Close()
	a, err := r.Lookup(within(t), "x.test", A)
	if err != nil || a.Server != good.addr().String() {
		t.Errorf("%+v, %v", a, err)
	}
}

// A forger has to guess ID and port: neither is the same for long, and an answer with
// another ID changes nothing.
func TestForgery(t *testing.T) {
	s := newServer(t, func(q dnsmessage.Question, _ string, _ int) reply {
		r := reply{addrs: []string{"192.0.2.1"}, ttl: 60, wait: 50 * time.Millisecond}
		r.forged = reply{addrs: []string{"203.0.113.66"}, ttl: 60}.message(0, q)
		return r
	})
	r := s.resolver(UDP)
	var all sync.WaitGroup
	for i := range 400 {
		all.Go(func() {
			got, err := r.LookupNetIP(within(t), "ip4", fmt.Sprintf("x%d.test", i))
			if err != nil || !slices.Equal(got, addrsOf("192.0.2.1")) {
				t.Error(got, err)
			}
		})
	}
	all.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ids) < 390 {
		t.Errorf("%d different IDs of 400", len(s.ids))
	}
	if len(s.ports) < 400/questionsPerSocket {
		t.Errorf("%d different ports", len(s.ports))
	}
	if len(s.ports) > maxSockets {
		t.Errorf("%d sockets", len(s.ports))
	}
}

// The spelling of an answer is that of the question, where that was asked for.
func TestMixCase(t *testing.T) {
	for _, keeps := range []bool{true, false} {
		s := newServer(t, func(q dnsmessage.Question, _ string, _ int) reply {
			r := reply{addrs: []string{"192.0.2.1"}, ttl: 60}
			if !keeps {
				q.Name = dnsmessage.MustNewName(lower(q.Name.String()))
				r.raw = r.message(0, q)[2:]
			}
			return r
		})
		r := s.resolver(UDP)
		r.MixCase = true
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		_, err := r.LookupNetIP(ctx, "ip4", "a-name-of-many-letters.test")
		cancel()
		if keeps != (err == nil) {
			t.Errorf("keeps %v: %v", keeps, err)
		}
	}
}

// Questions over TCP share a connection, and one that a server ended is no failure.
func TestStream(t *testing.T) {
	s := newServer(t, func(q dnsmessage.Question, _ string, n int) reply {
		if nameOf(q.Name) == "again.test" && n == 1 {
			return reply{hangUp: true}
		}
		return reply{addrs: []string{"192.0.2.1"}, ttl: 60}
	})
	r := s.resolver(TCP)
	for _, name := range []string{"a.test", "b.test", "again.test", "c.test"} {
		if _, err := r.LookupNetIP(within(t), "ip4", name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns != 2 {
		t.Errorf("%d connections, want 2", s.conns)
	}
}

// A server without EDNS is asked without from then on.
func TestWithoutEDNS(t *testing.T) {
	s := newServer(t, func(q dnsmessage.Question, _ string, n int) reply {
		if n == 1 && nameOf(q.Name) == "x.test" {
			return reply{rcode: dnsmessage.RCodeFormatError}
		}
		return reply{addrs: []string{"192.0.2.1"}, ttl: 60}
	})
	r := s.resolver(UDP)
	for _, name := range []string{"x.test", "y.test"} {
		if _, err := r.LookupNetIP(within(t), "ip4", name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if x, y := s.count("x.test", A, "udp"), s.count("y.test", A, "udp"); x != 2 || y != 1 {
		t.Errorf("asked %d and %d times, want 2 and 1", x, y)
	}
}

// Names for special use, and those of the hosts file, are never asked for.
func TestLocalNames(t *testing.T) {
	s := newServer(t, func(dnsmessage.Question, string, int) reply { return reply{addrs: []string{"192.0.2.9"}, ttl: 60} })
	r := s.resolver(UDP)
	r.NoHosts = false
	r.hostsPath = filepath.Join(t.TempDir(), "hosts")
	write := func(text string) {
		if err := os.WriteFile(r.hostsPath, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("192.0.2.1 nas NAS.lan # comment\n::1 six\nnonsense\n192.0.2.2 nas\n")
	for name, want := range map[string][]netip.Addr{
		"nas":                             addrsOf("192.0.2.1", "192.0.2.2"),
		"nas.":                            addrsOf("192.0.2.1", "192.0.2.2"),
		"nas.lan":                         addrsOf("192.0.2.1"),
		"six":                             addrsOf("::1"),
		"localhost":                       addrsOf("127.0.0.1", "::1"),
		"a.localhost":                     addrsOf("127.0.0.1", "::1"),
		"192.0.2.3":                       addrsOf("192.0.2.3"),
		"x.invalid":                       nil,
		"abc.onion":                       nil,
		"a..b":                            nil,
		strings.Repeat("a", 64) + ".test": nil,
	} {
		got, err := r.LookupNetIP(within(t), "ip", name)
		if !slices.Equal(got, want) || (err == nil) != (want != nil) {
			t.Errorf("%s: %v, %v; want %v", name, got, err, want)
		}
	}
	if names, err := r.LookupAddr(within(t), "192.0.2.1"); err != nil || !slices.Equal(names, []string{"nas", "nas.lan"}) {
		t.Error(names, err)
	}
	s.mu.Lock()
	if len(s.asked) > 0 {
		t.Errorf("asked: %v", s.asked)
	}
	s.mu.Unlock()

	write("192.0.2.77 nas\n")
	deadline := time.Now().Add(time.Minute)
	for {
		got, err := r.LookupNetIP(within(t), "ip", "nas")
		if err == nil && slices.Equal(got, addrsOf("192.0.2.77")) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the changed file is not read: %v, %v", got, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestLookupAddr(t *testing.T) {
	s := newServer(t, func(q dnsmessage.Question, _ string, _ int) reply {
		return reply{names: []string{"Host.test"}, ttl: 60}
	})
	r := s.resolver(UDP)
	for ip, question := range map[string]string{
		"192.0.2.1":        "1.2.0.192.in-addr.arpa",
		"::ffff:192.0.2.2": "2.2.0.192.in-addr.arpa",
		"2001:db8::5":      "5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
	} {
		names, err := r.LookupAddr(within(t), ip)
		if err != nil || !slices.Equal(names, []string{"host.test"}) || s.count(question, PTR, "udp") != 1 {
			t.Errorf("%s: %v, %v", ip, names, err)
		}
	}
}

// The search list of resolv.conf counts for names of few dots, and is read again.
func TestSystem(t *testing.T) {
	s := newServer(t, func(q dnsmessage.Question, _ string, _ int) reply {
		switch nameOf(q.Name) {
		case "nas.lan.test", "www.example.test", "nas":
			return reply{addrs: []string{"192.0.2.1"}, ttl: 60}
		}
		return reply{rcode: dnsmessage.RCodeNameError, soa: 60}
	})
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	r := &Resolver{NoHosts: true, resolvConf: conf, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, s.addr().String())
	}}
	defer r.Close()
	if err := os.WriteFile(conf, []byte("nameserver 192.0.2.53\nsearch home.test lan.test\noptions ndots:2 timeout:3 attempts:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := r.LookupNetIP(within(t), "ip4", "nas"); err != nil || len(got) != 1 {
		t.Error(got, err)
	}
	if a, b, c := s.count("nas.home.test", A, "udp"), s.count("nas.lan.test", A, "udp"), s.count("nas", A, "udp"); a != 1 || b != 1 || c != 0 {
		t.Errorf("asked %d, %d, %d times", a, b, c)
	}
	if got, err := r.LookupNetIP(within(t), "ip4", "www.example.test."); err != nil || len(got) != 1 {
		t.Error(got, err)
	}
	if n := s.count("www.example.test.home.test", A, "udp"); n != 0 {
		t.Errorf("a name that ends in a dot is searched for")
	}
}

func TestReadSystem(t *testing.T) {
	s := readSystem(strings.NewReader("; comment\nnameserver 192.0.2.1 # here\nnameserver fe80::1%eth0\nnameserver x\ndomain a.test\nsearch b.test c.test\noptions ndots:99 timeout:0 attempts:x rotate use-vc edns0\n"))
	if len(s.servers) != 2 || s.servers[0].Transport != TCP || !slices.Equal(s.search, []string{"b.test", "c.test"}) ||
		s.ndots != 15 || s.timeout != time.Second || s.attempts != 1 || !s.rotate {
		t.Errorf("%+v", s)
	}
	if s := readSystem(strings.NewReader("")); len(s.servers) != 1 || s.servers[0].String() != "127.0.0.1:53" {
		t.Errorf("%+v", s)
	}
}

func TestParseServer(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.1":                             "192.0.2.1:53",
		"192.0.2.1:5353":                        "192.0.2.1:5353",
		"2001:db8::1":                           "[2001:db8::1]:53",
		"[2001:db8::1]":                         "[2001:db8::1]:53",
		"[2001:db8::1]:54":                      "[2001:db8::1]:54",
		"udp://192.0.2.1":                       "192.0.2.1:53",
		"tcp://192.0.2.1":                       "tcp://192.0.2.1:53",
		"tls://192.0.2.1":                       "tls://192.0.2.1:853",
		"tls://192.0.2.1#DNS.test":              "tls://192.0.2.1:853#dns.test",
		"https://192.0.2.1":                     "https://192.0.2.1:443/dns-query",
		"https://[2001:db8::1]:8443/q#dns.test": "https://[2001:db8::1]:8443/q#dns.test",
		"dns.test":                              "",
		"tls://dns.test":                        "",
		"https://dns.test/dns-query":            "",
		"192.0.2.1:0":                           "",
		"tls://192.0.2.1/path":                  "",
		"tcp://192.0.2.1#name":                  "",
		"quic://192.0.2.1":                      "",
		"tls://user@192.0.2.1":                  "",
		"":                                      "",
	} {
		s, err := ParseServer(text)
		if want == "" {
			if err == nil {
				t.Errorf("%q is taken as %v", text, s)
			}
			continue
		}
		if err != nil || s.String() != want {
			t.Errorf("%q: %v, %v; want %s", text, s, err, want)
		}
		if again, err := ParseServer(s.String()); err != nil || again.String() != want {
			t.Errorf("%q is not read again: %v, %v", s, again, err)
		}
	}
}

// Close ends what waits for an answer.
func TestClose(t *testing.T) {
	s := newServer(t, func(dnsmessage.Question, string, int) reply { return reply{silent: true} })
	r := s.resolver(UDP)
	done := make(chan error, 1)
	r.For("").Ask("x.test", A, func(_ Answer, err error) { done <- err })
	r.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if _, err := r.Lookup(within(t), "y.test", A); err == nil {
		t.Error("a closed Resolver asks")
	}
}

// What nobody answers is bounded.
func TestManySilent(t *testing.T) {
	s := newServer(t, func(dnsmessage.Question, string, int) reply { return reply{silent: true} })
	r := s.resolver(UDP)
	v, busy := r.For(""), 0
	for i := range maxFlights + 100 {
		v.Ask(fmt.Sprintf("x%d.test", i), A, func(_ Answer, err error) {
			if errors.Is(err, ErrBusy) {
				busy++
			}
		})
	}
	if busy != 100 {
		t.Errorf("%d questions turned away, want 100", busy)
	}
	r.mu.Lock()
	u := r.upstream(r.Servers[0]).transport.(*udpTransport)
	r.mu.Unlock()
	u.mu.Lock()
	n := len(u.sockets)
	u.mu.Unlock()
	if n > maxSockets {
		t.Errorf("%d sockets", n)
	}
}
