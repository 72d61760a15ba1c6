package egress_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"hosier/egress"
	"hosier/internal/sockstest"
	"hosier/socks"
)

// What the kernel would take for this host is never connected to, however it is written and
// wherever it comes from. As an answer to RESOLVE it may be given.
func TestDirectUnspecified(t *testing.T) {
	w := sockstest.NewWorld(t)
	w.DNS.Set("blocked.test", "0.0.0.0", "::")
	w.DNS.Set("blocked4.test", "0.0.0.0")
	w.DNS.Set("blocked6.test", "::")
	w.DNS.Set("other.test", "0.255.255.255")
	out := w.Direct()
	addr := func(text string) socks.Addr { return socks.Addr{IP: netip.MustParseAddr(text), Port: w.Echo} }
	for _, target := range []socks.Addr{
		addr("0.0.0.0"), addr("0.0.0.1"), addr("0.255.255.255"), addr("::"), addr("::ffff:0.0.0.0"), addr("::ffff:0.0.0.9"),
		{Name: "blocked.test", Port: w.Echo},
		{Name: "blocked4.test", Port: w.Echo},
		{Name: "blocked6.test", Port: w.Echo},
		{Name: "other.test", Port: w.Echo},
	} {
		for _, version := range []socks.Version{socks.V4, socks.V5, socks.HTTP} {
			r := &socks.Request{Version: version, Command: socks.Connect, Addr: target}
			c, _, err := out.Dial(t.Context(), r)
			if err == nil {
				c.Close()
			}
			status, noFamily := socks.Status(0), (*net.AddrError)(nil)
			noAnswer := (*net.DNSError)(nil)
			if !errors.As(err, &status) || status != socks.HostUnreachable {
				if version != socks.V4 || !errors.As(err, &noFamily) && !errors.As(err, &noAnswer) {
					t.Errorf("%v, version %v: Dial: %v, want %v", target, version, err, socks.HostUnreachable)
				}
			}
			if step, err := out.Plain(r); step.To.IsValid() && !errors.Is(err, socks.HostUnreachable) {
				t.Errorf("%v, version %v: Plain: %v", target, version, err)
			}
		}
	}
	r := &socks.Request{Version: socks.V5, Command: socks.Resolve, Addr: socks.Addr{Name: "blocked.test"}}
	if ip, err := out.Resolve(t.Context(), r); err != nil || ip != netip.MustParseAddr("0.0.0.0") {
		t.Errorf("RESOLVE: %v, %v, want the answer", ip, err)
	}
}

// A refusal is of an address, not of a name that leads to others as well.
func TestDirectMixedAnswer(t *testing.T) {
	w := sockstest.NewWorld(t)
	w.DNS.Set("mixed.test", "0.0.0.0", "127.0.0.2", "127.0.0.1")
	out := &egress.Direct{Resolver: sockstest.Resolver(t, w.DNS.Addr), Allow: func(_ *socks.Request, ip netip.Addr) error {
		if ip == netip.MustParseAddr("127.0.0.2") {
			return socks.NotAllowed
		}
		return nil
	}}
	r := &socks.Request{Version: socks.V5, Command: socks.Connect, Addr: socks.Addr{Name: "mixed.test", Port: w.Echo}}
	c, _, err := out.Dial(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.RemoteAddr().(*net.TCPAddr).IP.String(); got != "127.0.0.1" {
		t.Errorf("connected to %s", got)
	}
}

// Names of one label are in hosts files, and localhost is loopback by RFC 6761 section 6.3.
// None of it may be asked of a DNS server that lies.
func TestDirectLocalhost(t *testing.T) {
	w := sockstest.NewWorld(t)
	for _, name := range []string{"localhost", "a.localhost"} {
		w.DNS.Set(name, "192.0.2.1")
	}
	for _, out := range []*egress.Direct{w.Direct(), new(egress.Direct)} {
		for _, name := range []string{"localhost", "localhost.", "LocalHost", "a.localhost", "a.LOCALHOST."} {
			r := &socks.Request{Version: socks.V5, Command: socks.Resolve, Addr: socks.Addr{Name: name}}
			if ip, err := out.Resolve(t.Context(), r); err != nil || ip != netip.MustParseAddr("127.0.0.1") {
				t.Errorf("RESOLVE %s: %v, %v", name, ip, err)
			}
			r = &socks.Request{Version: socks.V5, Command: socks.Connect, Addr: socks.Addr{Name: name, Port: w.Echo}}
			c, _, err := out.Dial(t.Context(), r)
			if err != nil {
				t.Errorf("CONNECT %s: %v", name, err)
				continue
			}
			c.Close()
		}
	}
	if asked := w.DNS.Queries(); len(asked) != 0 {
		t.Errorf("the DNS server was asked for %v", asked)
	}
}

// An error names the server that was asked, and the name as the client gave it.
func TestDirectNamesServer(t *testing.T) {
	w := sockstest.NewWorld(t)
	out := w.Direct()
	for _, name := range []string{"missing.test", "broken.test", "missing"} {
		_, _, err := out.Dial(t.Context(), &socks.Request{Version: socks.V5, Command: socks.Connect, Addr: socks.Addr{Name: name, Port: 80}})
		dns := (*net.DNSError)(nil)
		if !errors.As(err, &dns) || dns.Server != w.DNS.Addr || dns.Name != name {
			t.Errorf("%s: %v, want it to name %s", name, err, w.DNS.Addr)
		}
		if !w.DNS.Asked(name) {
			t.Errorf("%s was not asked for", name)
		}
	}
	_, err := out.ResolvePTR(t.Context(), &socks.Request{Addr: socks.Addr{IP: netip.MustParseAddr("192.0.2.99")}})
	if dns := (*net.DNSError)(nil); !errors.As(err, &dns) || dns.Server != w.DNS.Addr || dns.Name != "192.0.2.99" {
		t.Errorf("RESOLVE_PTR: %v, want it to name %s", err, w.DNS.Addr)
	}
}

// A server's event loop answers lookups as the methods do, and has waited for nothing.
func TestDirectPlainLookups(t *testing.T) {
	w := sockstest.NewWorld(t)
	w.DNS.Set("blocked.test", "192.0.2.66")
	w.DNS.Set("mixed.test", "192.0.2.66", "2001:db8::7")
	out := &egress.Direct{Resolver: sockstest.Resolver(t, w.DNS.Addr), Allow: func(_ *socks.Request, ip netip.Addr) error {
		if ip == netip.MustParseAddr("192.0.2.66") {
			return socks.NotAllowed
		}
		return nil
	}}
	var all []*socks.Request
	for _, version := range []socks.Version{socks.V4, socks.V5} {
		for _, name := range []string{"echo.test", "six.test", "both.test", "missing.test", "broken.test", "blocked.test", "mixed.test", "localhost", "x.onion"} {
			all = append(all, &socks.Request{Version: version, Command: socks.Resolve, Addr: socks.Addr{Name: name}})
		}
		for _, ip := range []string{"127.0.0.1", "::1", "192.0.2.66", "192.0.2.99"} {
			all = append(all,
				&socks.Request{Version: version, Command: socks.Resolve, Addr: socks.Addr{IP: netip.MustParseAddr(ip)}},
				&socks.Request{Version: version, Command: socks.ResolvePTR, Addr: socks.Addr{IP: netip.MustParseAddr(ip)}})
		}
	}
	for _, r := range all {
		got, gotErr := plainly(t, out, r)
		var want socks.Addr
		var wantErr error
		if r.Command == socks.Resolve {
			want.IP, wantErr = out.Resolve(t.Context(), r)
		} else {
			want.Name, wantErr = out.ResolvePTR(t.Context(), r)
		}
		if got != want || fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
			t.Errorf("version %v, %v %v: %v, %v; the method: %v, %v", r.Version, r.Command, r.Addr.Host(), got, gotErr, want, wantErr)
		}
	}
}

// plainly takes the steps of a lookup.
func plainly(t *testing.T, out *egress.Direct, r *socks.Request) (socks.Addr, error) {
	t.Helper()
	step, err := find(t, out, r)
	if err == nil && step.Answer.IP == (netip.Addr{}) && step.Answer.Name == "" {
		t.Errorf("%v %v: nothing that an event loop can do", r.Command, r.Addr.Host())
	}
	return step.Answer, err
}

// A server that waits in place of Dial, Resolve and ResolvePTR waits no longer than these.
func TestDirectLimitsLookups(t *testing.T) {
	w := sockstest.NewWorld(t)
	out := w.Direct()
	for _, r := range []*socks.Request{
		{Version: socks.V5, Command: socks.Connect, Addr: socks.Addr{Name: "echo.test", Port: w.Echo}},
		{Version: socks.V5, Command: socks.Resolve, Addr: socks.Addr{Name: "echo.test"}},
		{Version: socks.V5, Command: socks.ResolvePTR, Addr: socks.Addr{IP: netip.MustParseAddr("127.0.0.1")}},
	} {
		if step, err := out.Plain(r); err != nil || step.Find == nil || step.Limit != 30*time.Second {
			t.Errorf("%v: %+v, %v", r.Command, step, err)
		}
	}
}

// mapped answers lookups with one address, as package net does with those of a hosts file.
type mapped struct {
	*net.Resolver
	ip string
}

func (m mapped) LookupNetIP(_ context.Context, network, _ string) ([]netip.Addr, error) {
	if network == "ip6" {
		return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
	}
	return []netip.Addr{netip.MustParseAddr(m.ip)}, nil
}

// An IPv4 address in the form of IPv6 is judged and connected to as what it is, whoever has it.
func TestDirectMappedAddresses(t *testing.T) {
	w := sockstest.NewWorld(t)
	const here, nowhere = "::ffff:127.0.0.1", "::ffff:0.0.0.0"
	w.DNS.Set("here.test", here)
	w.DNS.Set("nowhere.test", nowhere)
	for name, out := range map[string][2]*egress.Direct{
		"DNS":            {w.Direct(), w.Direct()},
		"other resolver": {{Resolver: mapped{ip: here}}, {Resolver: mapped{ip: nowhere}}},
	} {
		request := func(host string) *socks.Request {
			return &socks.Request{Version: socks.V5, Command: socks.Connect, Addr: socks.Addr{Name: host, Port: w.Echo}}
		}
		c, bound, err := out[0].Dial(t.Context(), request("here.test"))
		if err != nil || !bound.IP.Is4() {
			t.Errorf("%s: Dial is bound to %v, %v", name, bound, err)
		} else {
			c.Close()
		}
		if c, _, err := out[1].Dial(t.Context(), request("nowhere.test")); !errors.Is(err, egress.ErrUnspecified) {
			t.Errorf("%s: Dial: %v, %v", name, c, err)
		}
	}
	for name, want := range map[string]error{"here.test": nil, "nowhere.test": egress.ErrUnspecified} {
		r := &socks.Request{Version: socks.V5, Command: socks.Connect, Addr: socks.Addr{Name: name, Port: w.Echo}}
		next, err := find(t, w.Direct(), r)
		if !errors.Is(err, want) || want == nil && next.To.Addr() != netip.MustParseAddr("127.0.0.1") {
			t.Errorf("Plain of %s: %+v, %v", name, next, err)
		}
	}
}

// find takes the first step, if there is something to find.
func find(t *testing.T, out *egress.Direct, r *socks.Request) (step egress.Step, err error) {
	t.Helper()
	step, err = out.Plain(r)
	if err != nil || step.Find == nil {
		return step, err
	}
	ready := make(chan struct{})
	step.Find(func(next egress.Step, why error) {
		step, err = next, why
		close(ready)
	})
	<-ready
	return step, err
}
