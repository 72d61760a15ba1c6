package tornet

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// testZone returns a DNS server and a resolver that asks only it.
func testZone(t *testing.T) (*zone, *net.Resolver) {
	t.Helper()
	z, err := listenZone("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { z.close() })
	return z, &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "udp", z.conn.LocalAddr().String())
		},
	}
}

func TestZoneAddresses(t *testing.T) {
	z, r := testZone(t)
	z.set("Three.Example.", []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::1")})
	for _, c := range []struct {
		network, name string
		want          []string
	}{
		{"ip4", "www.tornet.test", []string{"127.0.0.1"}},
		{"ip4", "WWW.Tornet.Test", []string{"127.0.0.1"}},
		{"ip4", "two.tornet.test", []string{"127.0.0.2"}},
		{"ip6", "six.tornet.test", []string{"::1"}},
		{"ip4", "six.tornet.test", nil},
		{"ip", "dual.tornet.test", []string{"127.0.0.1", "::1"}},
		{"ip", "three.example", []string{"192.0.2.1", "192.0.2.2", "2001:db8::1"}},
		{"ip", "other.tornet.test", nil},
		{"ip", "example.com", nil},
	} {
		t.Run(c.network+"/"+c.name, func(t *testing.T) {
			addrs, err := r.LookupNetIP(t.Context(), c.network, c.name+".")
			var got []string
			for _, a := range addrs {
				got = append(got, a.Unmap().String())
			}
			slices.Sort(got)
			if !slices.Equal(got, c.want) || (err != nil) != (c.want == nil) {
				t.Errorf("got %v, %v, want %v", got, err, c.want)
			}
			if e := new(net.DNSError); c.want == nil && (!errors.As(err, &e) || !e.IsNotFound) {
				t.Errorf("got %v, want that there is none", err)
			}
		})
	}
}

func TestZoneNames(t *testing.T) {
	_, r := testZone(t)
	for address, want := range map[string]string{
		"203.0.113.7": "ptr.tornet.test.",
		"2001:db8::7": "ptr6.tornet.test.",
	} {
		if got, err := r.LookupAddr(t.Context(), address); err != nil || !slices.Equal(got, []string{want}) {
			t.Errorf("%s: got %v, %v", address, got, err)
		}
	}
	if got, err := r.LookupAddr(t.Context(), "203.0.113.8"); err == nil {
		t.Errorf("an address without a name: %v", got)
	}
}

func TestZoneFaults(t *testing.T) {
	_, r := testZone(t)
	var e *net.DNSError
	if _, err := r.LookupNetIP(t.Context(), "ip4", "broken.tornet.test."); !errors.As(err, &e) || e.IsNotFound || !e.IsTemporary {
		t.Errorf("broken: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := r.LookupNetIP(ctx, "ip4", "slow.tornet.test."); !errors.As(err, &e) || !e.IsTimeout {
		t.Errorf("slow: %v", err)
	}
}

func TestZoneQueries(t *testing.T) {
	z, r := testZone(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	r.LookupNetIP(t.Context(), "ip4", "Www.Tornet.Test.")
	r.LookupNetIP(t.Context(), "ip6", "none.example.")
	r.LookupNetIP(ctx, "ip4", "slow.tornet.test.")
	want := []Query{
		{"www.tornet.test", dnsmessage.TypeA},
		{"none.example", dnsmessage.TypeAAAA},
		{"slow.tornet.test", dnsmessage.TypeA},
	}
	if got := z.asked(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestZoneChanges(t *testing.T) {
	z, r := testZone(t)
	first, second := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	steps := []struct {
		what           string
		addrs          []netip.Addr
		forward, first []string
	}{
		{"set", []netip.Addr{first}, []string{"192.0.2.1"}, []string{"host.example."}},
		{"moved", []netip.Addr{second}, []string{"192.0.2.2"}, nil},
		{"removed", nil, nil, nil},
	}
	for _, s := range steps {
		z.set("host.example", s.addrs)
		addrs, _ := r.LookupHost(t.Context(), "host.example.")
		if !slices.Equal(addrs, s.forward) {
			t.Errorf("%s: addresses %v, want %v", s.what, addrs, s.forward)
		}
		if names, _ := r.LookupAddr(t.Context(), first.String()); !slices.Equal(names, s.first) {
			t.Errorf("%s: %v has the names %v, want %v", s.what, first, names, s.first)
		}
	}
}

// Exits spell a name in mixed case and take no reply that spells it otherwise.
func TestZoneEchoesCase(t *testing.T) {
	z, _ := testZone(t)
	q := dnsmessage.Question{Name: dnsmessage.MustNewName("wWw.tOrNeT.tEsT."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}
	message, err := (&dnsmessage.Message{Header: dnsmessage.Header{ID: 7, RecursionDesired: true}, Questions: []dnsmessage.Question{q}}).Pack()
	if err != nil {
		t.Fatal(err)
	}
	var reply dnsmessage.Message
	if err := reply.Unpack(z.answer(message)); err != nil {
		t.Fatal(err)
	}
	if reply.ID != 7 || !slices.Equal(reply.Questions, []dnsmessage.Question{q}) || len(reply.Answers) != 1 {
		t.Errorf("got %v", reply.GoString())
	}
	for i := range len(message) {
		if got := z.answer(message[:i]); got != nil {
			t.Errorf("the first %d bytes of a question are answered", i)
		}
	}
}
