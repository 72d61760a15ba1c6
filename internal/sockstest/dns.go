// Package sockstest is for tests: a DNS server that remembers what it was asked, targets
// to connect to, an egress made of functions, and the suite that every egress passes.
package sockstest

import (
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// DNS is a name server on loopback that answers from a zone and remembers each question.
// It is safe for concurrent use.
type DNS struct {
	Addr string // ip:port, UDP

	mu      sync.Mutex
	zone    map[string][]netip.Addr
	broken  map[string]dnsmessage.RCode
	silent  map[string]bool
	pointer map[netip.Addr]string
	asked   []Query
}

// Query is one question.
type Query struct {
	Name string // lower case, without the dot at its end
	Type dnsmessage.Type
}

// NewDNS starts a server with an empty zone; every name is NXDOMAIN. It ends with the test.
func NewDNS(tb testing.TB) *DNS {
	tb.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	return NewDNSOn(tb, pc)
}

// NewDNSOn is NewDNS on a socket, which it closes.
func NewDNSOn(tb testing.TB, pc net.PacketConn) *DNS {
	tb.Helper()
	d := &DNS{
		Addr:    pc.LocalAddr().String(),
		zone:    map[string][]netip.Addr{},
		broken:  map[string]dnsmessage.RCode{},
		silent:  map[string]bool{},
		pointer: map[netip.Addr]string{},
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.serve(pc)
	}()
	tb.Cleanup(func() {
		pc.Close()
		<-done
	})
	return d
}

// Set gives a name its addresses, and the first of them its name.
func (d *DNS) Set(name string, addrs ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, text := range addrs {
		ip := netip.MustParseAddr(text)
		d.zone[name] = append(d.zone[name], ip)
		if i == 0 {
			d.pointer[ip] = name
		}
	}
}

// Break makes questions about a name fail with SERVFAIL.
func (d *DNS) Break(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.broken[name] = dnsmessage.RCodeServerFailure
}

// Silence makes the server never answer questions about a name.
func (d *DNS) Silence(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.silent[name] = true
}

// Queries returns what was asked so far, in order.
func (d *DNS) Queries() []Query {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]Query(nil), d.asked...)
}

// Asked reports whether there was a question about the name.
func (d *DNS) Asked(name string) bool {
	for _, q := range d.Queries() {
		if q.Name == name {
			return true
		}
	}
	return false
}

func (d *DNS) serve(pc net.PacketConn) {
	buf := make([]byte, 4096)
	for {
		n, from, err := pc.ReadFrom(buf)
		if err != nil {
			return
		}
		if reply := d.answer(buf[:n]); reply != nil {
			pc.WriteTo(reply, from)
		}
	}
}

// answer returns nil for what is not a question, and for names that are silent.
func (d *DNS) answer(packet []byte) []byte {
	var msg dnsmessage.Message
	if msg.Unpack(packet) != nil || len(msg.Questions) != 1 {
		return nil
	}
	q := msg.Questions[0]
	name := strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, Query{name, q.Type})
	if d.silent[name] {
		return nil
	}
	reply := dnsmessage.Message{Questions: msg.Questions}
	reply.ID, reply.Response, reply.RecursionAvailable = msg.ID, true, true
	reply.Answers, reply.RCode = d.records(q, name)
	packed, err := reply.Pack()
	if err != nil {
		return nil
	}
	return packed
}

func (d *DNS) records(q dnsmessage.Question, name string) ([]dnsmessage.Resource, dnsmessage.RCode) {
	if code, ok := d.broken[name]; ok {
		return nil, code
	}
	var all []dnsmessage.Resource
	add := func(body dnsmessage.ResourceBody) {
		head := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60}
		all = append(all, dnsmessage.Resource{Header: head, Body: body})
	}
	if q.Type == dnsmessage.TypePTR {
		for ip, host := range d.pointer {
			if reverse(ip) == name {
				add(&dnsmessage.PTRResource{PTR: dnsmessage.MustNewName(host + ".")})
				return all, dnsmessage.RCodeSuccess
			}
		}
		return nil, dnsmessage.RCodeNameError
	}
	addrs, ok := d.zone[name]
	if !ok {
		return nil, dnsmessage.RCodeNameError
	}
	for _, ip := range addrs {
		switch {
		case q.Type == dnsmessage.TypeA && ip.Is4():
			add(&dnsmessage.AResource{A: ip.As4()})
		case q.Type == dnsmessage.TypeAAAA && ip.Is6():
			add(&dnsmessage.AAAAResource{AAAA: ip.As16()})
		}
	}
	return all, dnsmessage.RCodeSuccess
}

// reverse returns the name under which the PTR record of ip stands.
func reverse(ip netip.Addr) string {
	var b strings.Builder
	raw := ip.AsSlice()
	for i := len(raw) - 1; i >= 0; i-- {
		if ip.Is4() {
			b.WriteString(itoa(raw[i]) + ".")
			continue
		}
		const hex = "0123456789abcdef"
		b.WriteString(string([]byte{hex[raw[i]&15], '.', hex[raw[i]>>4], '.'}))
	}
	if ip.Is4() {
		return b.String() + "in-addr.arpa"
	}
	return b.String() + "ip6.arpa"
}
