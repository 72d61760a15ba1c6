package main

import (
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"hosier/internal/debiantest"
	"hosier/internal/tornet"
)

// TestThroughTor is hosier's main job: a program, hosier, a real Tor, and a page by a
// name that only the DNS server of Tor's exits knows. All programs on this side are
// watched: none asks any DNS server.
func TestThroughTor(t *testing.T) {
	t.Parallel()
	debiantest.Program(t, "strace", "strace")
	curl := debiantest.Program(t, "curl", "curl")
	n := tornet.ForTest(t, tornet.Options{Clients: 1, Onion: true})
	tor := n.Clients[0].SOCKS
	for _, scheme := range []string{"socks5", "tor"} {
		t.Run(scheme, func(t *testing.T) {
			w := newWatch(t)
			h := startUnder(t, w.wrapper, "--via", scheme+"://"+tor, "-v")
			for _, proxy := range []string{"socks4a", "socks5h", "http"} {
				name := strings.Join([]string{proxy, scheme, tornet.Domain}, ".")
				n.SetHost(name, netip.MustParseAddr("127.0.0.1"))
				url := "http://" + name + ":" + strconv.Itoa(int(n.Web.Port())) + "/"
				fetch(t, curl, "-x", proxy+"://"+h.addr(), "--proxytunnel", url).want(t, tornet.Greeting)
				if !slices.Contains(n.Queries(), tornet.Query{Name: name, Type: dnsmessage.TypeA}) {
					t.Errorf("the exits' DNS server was not asked for %s", name)
				}
			}
			lookUp(t, h.addr())
			got := fetch(t, curl, "-x", "socks5h://"+h.addr(), "http://"+n.Onion+"/")
			if scheme == "tor" {
				got.want(t, tornet.Greeting)
			} else {
				got.wantFailure(t, n.Onion)
			}
			h.signal(t, os.Interrupt)
			if code := h.awaitExit(t); code != exitOK {
				t.Errorf("exit code %d:\n%s", code, h.log.String())
			}
			w.traffic(t).streamsTo(t, tor)
		})
	}
	t.Run("resolve-by-tor", func(t *testing.T) { lookUp(t, tor) })
}

// fetch runs curl.
func fetch(tb testing.TB, curl string, args ...string) outcome {
	tb.Helper()
	return runProgram(tb, "", append([]string{curl, "-qsS"}, args...)...)
}

// lookUp runs "hosier resolve" against a proxy that leads into Tor, watched.
func lookUp(t *testing.T, proxy string) {
	for _, tt := range []struct {
		args string
		want string // "" if there is no such name
	}{
		{"www." + tornet.Domain, "127.0.0.1\n"},
		{"-4 www." + tornet.Domain, "127.0.0.1\n"},
		{"six." + tornet.Domain, "::1\n"},
		{"-4 six." + tornet.Domain, ""},
		{"nowhere." + tornet.Domain, ""},
		{"-x 203.0.113.7", "ptr." + tornet.Domain + "\n"},
		{"-x 2001:db8::7", "ptr6." + tornet.Domain + "\n"},
		{"-x 203.0.113.99", ""},
	} {
		t.Run("resolve "+tt.args, func(t *testing.T) {
			w := newWatch(t)
			words := append(w.wrapper, "hosier", "resolve", "--proxy", proxy)
			got := runProgram(t, "", append(words, strings.Fields(tt.args)...)...)
			if tt.want != "" {
				got.want(t, tt.want)
			} else if got.wantFailure(t, " does not resolve "); got.code != exitFailed {
				t.Errorf("exit code %d, want %d", got.code, exitFailed)
			}
			w.traffic(t).streamsTo(t, proxy)
		})
	}
}

// TestWatchSeesLookups shows that a hosier which asks a DNS server is caught at it.
func TestWatchSeesLookups(t *testing.T) {
	curl := debiantest.Program(t, "curl", "curl")
	s := newSite(t)
	w := newWatch(t)
	h := startUnder(t, w.wrapper, "--via", "direct", "--dns", s.dns.Addr)
	fetch(t, curl, "-x", "socks5h://"+h.addr(), "http://"+s.host()+"/").want(t, greeting(s.host()))
	s.asked(t, askedBoth...)
	h.signal(t, os.Interrupt)
	h.awaitExit(t)
	got := w.traffic(t)
	if !slices.Contains(got.peers, s.dns.Addr) || !slices.Contains(got.peers, s.addr) {
		t.Errorf("seen speaking to %q, want the DNS server %s and the web server %s among them", got.peers, s.dns.Addr, s.addr)
	}
	if !slices.Contains(got.sockets, "AF_INET SOCK_DGRAM") {
		t.Errorf("seen making sockets %q, want one for UDP among them", got.sockets)
	}
}
