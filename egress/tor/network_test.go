package tor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"hosier/internal/tornet"
	"hosier/socks"
)

func TestPage(t *testing.T) {
	n := network.Get(t)
	p := &Pool{Members: []Member{attached(n.Clients[0])}}
	run(t, p)
	address := serve(t, p)
	for name, connect := range map[string]func() net.Conn{
		"SOCKS4A": func() net.Conn { return dial(t, &socks.Dialer{Proxy: address, Version: socks.V4}, web(n, "www")) },
		"SOCKS5":  func() net.Conn { return dial(t, &socks.Dialer{Proxy: address}, web(n, "www")) },
		"CONNECT": func() net.Conn { return httpConnect(t, address, web(n, "www")).conn },
		"onion":   func() net.Conn { return dial(t, &socks.Dialer{Proxy: address}, n.Onion+":80") },
		"below the onion": func() net.Conn {
			return dial(t, &socks.Dialer{Proxy: address}, "sub."+n.Onion+":80")
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := get(connect(), "/"); err != nil || got != tornet.Greeting {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

// connected is the answer to a CONNECT.
type connected struct {
	conn net.Conn
	*http.Response
}

func httpConnect(t *testing.T, proxy, target string) connected {
	t.Helper()
	c, err := net.Dial("tcp", proxy)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", target)
	r, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: http.MethodConnect})
	if err != nil {
		t.Fatal(err)
	}
	return connected{c, r}
}

func TestResolve(t *testing.T) {
	n := network.Get(t)
	p := &Pool{Members: []Member{attached(n.Clients[0])}}
	run(t, p)
	d := &socks.Dialer{Proxy: serve(t, p)}
	four := &socks.Dialer{Proxy: d.Proxy, Version: socks.V4}
	for _, c := range []struct {
		name   string
		dialer *socks.Dialer
		want   string // empty: status 04
	}{
		{"map", d, "198.51.100.9"},
		{"map", four, "198.51.100.9"},
		{"six", d, "::1"},
		{"nothing", d, ""},
		{"broken", d, ""},
		{"slow", d, ""},
	} {
		t.Run(fmt.Sprintf("%s/%v", c.name, c.dialer.Version), func(t *testing.T) {
			ip, err := c.dialer.Resolve(t.Context(), c.name+"."+tornet.Domain)
			switch {
			case c.want == "" && !errors.Is(err, socks.HostUnreachable):
				t.Errorf("got %v, %v, want status 04", ip, err)
			case c.want != "" && (err != nil || ip != netip.MustParseAddr(c.want)):
				t.Errorf("got %v, %v, want %v", ip, err, c.want)
			}
		})
	}
	if _, err := four.Resolve(t.Context(), "six."+tornet.Domain); err == nil {
		t.Error("SOCKS4 was given an IPv6 address")
	}
	for ip, want := range map[string]string{"203.0.113.7": "ptr", "2001:db8::7": "ptr6"} {
		if name, err := d.ResolvePTR(t.Context(), netip.MustParseAddr(ip)); err != nil || name != want+"."+tornet.Domain {
			t.Errorf("RESOLVE_PTR %s: %q, %v", ip, name, err)
		}
	}
	if name, err := d.ResolvePTR(t.Context(), netip.MustParseAddr("203.0.113.99")); !errors.Is(err, socks.HostUnreachable) {
		t.Errorf("RESOLVE_PTR of an address without a name: %q, %v", name, err)
	}
}

// An address is its own answer, and tor need not even run.
func TestResolveLiteral(t *testing.T) {
	p := &Pool{Members: []Member{{SOCKS: "127.0.0.1:9"}}}
	ip, err := p.Resolve(t.Context(), &socks.Request{Version: socks.V5, Command: socks.Resolve, Addr: socks.Addr{IP: netip.MustParseAddr("192.0.2.1")}})
	if err != nil || ip.String() != "192.0.2.1" {
		t.Errorf("got %v, %v", ip, err)
	}
}

const absentOnion = "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion"

func TestOnionErrors(t *testing.T) {
	n := network.Get(t)
	p := &Pool{Members: []Member{attached(n.Clients[0])}}
	run(t, p)
	extended := &socks.Dialer{Proxy: serve(t, p)}
	plain := &socks.Dialer{Proxy: servePlain(t, p)}
	for _, c := range []struct {
		target             string
		extended, ordinary socks.Status
		reason             string
	}{
		{"bad.onion:80", socks.OnionBadAddress, socks.GeneralFailure, "end/TORPROTOCOL socks/F6"},
		{absentOnion + ":80", socks.OnionNotFound, socks.HostUnreachable, "end/RESOLVEFAILED socks/F0"},
	} {
		if err := attempt(t, extended, c.target); !errors.Is(err, c.extended) {
			t.Errorf("%s with extended errors: %v, want %v", c.target, err, c.extended)
		}
		if err := attempt(t, plain, c.target); !errors.Is(err, c.ordinary) {
			t.Errorf("%s without: %v, want %v", c.target, err, c.ordinary)
		}
		answer := httpConnect(t, extended.Proxy, c.target)
		if got := answer.Header.Get("Tor-Request-Failed"); got != c.reason {
			t.Errorf("CONNECT %s: reason %q, want %q", c.target, got, c.reason)
		}
	}
}

// The exits ask the network's DNS server, and the name arrives there as it was sent.
func TestFarSideLookup(t *testing.T) {
	n := network.Get(t)
	n.SetHost("asked-once.test", netip.MustParseAddr("198.51.100.77"))
	p := &Pool{Members: []Member{attached(n.Clients[0])}}
	d := &socks.Dialer{Proxy: serve(t, p)}
	if ip, err := d.Resolve(t.Context(), "asked-once.test"); err != nil || ip.String() != "198.51.100.77" {
		t.Fatalf("got %v, %v", ip, err)
	}
	count := 0
	for _, q := range n.Queries() {
		if q.Name == "asked-once.test" && q.Type == dnsmessage.TypeA {
			count++
		}
	}
	if count == 0 {
		t.Error("the network's DNS server was not asked")
	}
}

// circuits opens a stream for each dial and returns the circuits that they are on, as the
// control port tells.
func circuits(t *testing.T, n *tornet.Network, dials ...func() net.Conn) []string {
	t.Helper()
	c, err := dialControl(t.Context(), n.Clients[0].Control, "", func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	known := map[string]bool{}
	look := func() (fresh string) {
		list, err := c.getInfo(t.Context(), "stream-status")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(list[0]) {
			if part := strings.Fields(line); len(part) >= 4 && part[1] == "SUCCEEDED" && !known[part[0]] {
				known[part[0]], fresh = true, part[2]
			}
		}
		return fresh
	}
	look()
	var all []string
	for _, connect := range dials {
		connect()
		id := look()
		if id == "" {
			t.Fatal("the control port tells of no new stream")
		}
		all = append(all, id)
	}
	return all
}

func TestCircuits(t *testing.T) {
	n := network.Get(t)
	p := &Pool{Members: []Member{attached(n.Clients[0])}}
	run(t, p)
	awaitWatched(t, p) // what is told to tor depends on its version
	one, two := serve(t, p), serve(t, p)
	from := func(ip string, d *socks.Dialer) *socks.Dialer {
		d.Forward = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}).DialContext
		return d
	}
	open := func(d *socks.Dialer) func() net.Conn {
		return func() net.Conn { return dial(t, d, web(n, "www")) }
	}
	none := &socks.Dialer{Proxy: one}
	for _, c := range []struct {
		name string
		a, b func() net.Conn
		same bool
	}{
		{"same credentials", open(user(one, "ann")), open(user(one, "ann")), true},
		{"different credentials", open(user(one, "ann")), open(user(one, "bob")), false},
		{"no credentials", open(none), open(none), true},
		{"no credentials and some", open(none), open(user(one, "ann")), false},
		{
			"SOCKS4 user and SOCKS5 user without a password",
			open(&socks.Dialer{Proxy: one, Version: socks.V4, Auth: socks.Auth{User: "cat"}}),
			open(&socks.Dialer{Proxy: one, Auth: socks.Auth{Method: socks.UserPass, User: "cat"}}), true,
		},
		{"no credentials, different clients", open(none), open(from("127.0.0.2", &socks.Dialer{Proxy: one})), false},
		{"different listeners", open(none), open(&socks.Dialer{Proxy: two}), false},
		{"HTTP and SOCKS", func() net.Conn { return httpConnect(t, one, web(n, "www")).conn }, open(none), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			ids := circuits(t, n, c.a, c.b)
			if (ids[0] == ids[1]) != c.same {
				t.Errorf("circuits %v, want them to be the same: %t", ids, c.same)
			}
		})
	}
}

// A member is known by its control port; tor itself takes the format of proposal 351.
func TestStatusAttached(t *testing.T) {
	n := network.Get(t)
	p := &Pool{Members: []Member{attached(n.Clients[0]), {SOCKS: n.Clients[1].SOCKS}}}
	run(t, p)
	address := serve(t, p)
	await(t, "the control port", func() bool { return p.Status(t.Context())[0].Circuits == "yes" })
	c := dial(t, user(address, "ann"), web(n, "www"))
	s := p.Status(t.Context())
	if s[0].State != Ready || s[0].Bootstrap != 100 || !strings.HasPrefix(s[0].Version, "0.") {
		t.Errorf("with a control port: %+v", s[0])
	}
	if s[1].State != Ready || s[1].Bootstrap != -1 || s[1].Version != "" || s[1].Streams != -1 || s[1].Circuits != "unknown" {
		t.Errorf("without: %+v", s[1])
	}
	if got, err := get(c, "/"); err != nil || got != tornet.Greeting {
		t.Errorf("got %q, %v", got, err)
	}
}

// The cookie of the real daemon.
func TestLogin(t *testing.T) {
	n := network.Get(t)
	events := func(string) {}
	c, err := dialControl(t.Context(), n.Clients[0].Control, "", events)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	for _, command := range []string{"NONSENSE", "GETINFO no-such-key"} {
		if _, err := c.ask(t.Context(), command); err == nil || !strings.Contains(err.Error(), "tor says 5") {
			t.Errorf("%s: %v", command, err)
		}
	}
	// A refusal leaves the connection as it was.
	if v, err := c.getInfo(t.Context(), "version", "process/pid"); err != nil || v[1] != fmt.Sprint(n.Clients[0].PID()) {
		t.Errorf("got %q, %v", v, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := dialControl(ctx, n.Clients[0].Control, "", events); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
}
