package tornet

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"golang.org/x/net/dns/dnsmessage"
)

// Query is a question that an exit put to the network's DNS server.
type Query struct {
	Name string // in lower case, without the last dot
	Type dnsmessage.Type
}

// zone is the DNS server that the exits ask, and all that it knows.
type zone struct {
	conn net.PacketConn
	done chan struct{} // closed when serve has returned

	mu      sync.Mutex
	hosts   map[string][]netip.Addr
	names   map[string]string // from the reverse name of an address
	queries []Query
}

// The names whose answers are no addresses.
const (
	slowName   = "slow." + Domain
	brokenName = "broken." + Domain
)

// listenZone starts a DNS server on a free UDP port of host.
func listenZone(host string) (*zone, error) {
	conn, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, fmt.Errorf("dns server: %w", err)
	}
	z := &zone{conn: conn, done: make(chan struct{}), hosts: map[string][]netip.Addr{}, names: map[string]string{}}
	for _, h := range []struct{ label, addresses string }{
		{"www", "127.0.0.1"},
		{"web", "127.0.0.1"},
		{"two", "127.0.0.2"},
		{"six", "::1"},
		{"dual", "127.0.0.1 ::1"},
		{"ptr", "203.0.113.7"},
		{"ptr6", "2001:db8::7"},
		{"map", "198.51.100.9"},
	} {
		var addrs []netip.Addr
		for a := range strings.FieldsSeq(h.addresses) {
			addrs = append(addrs, netip.MustParseAddr(a))
		}
		z.set(h.label+"."+Domain, addrs)
	}
	go z.serve()
	return z, nil
}

// close stops the server and waits until it has.
func (z *zone) close() error {
	err := z.conn.Close()
	<-z.done
	return err
}

func (z *zone) serve() {
	defer close(z.done)
	b := make([]byte, 4096)
	for {
		n, peer, err := z.conn.ReadFrom(b)
		if err != nil {
			return
		}
		if reply := z.answer(b[:n]); reply != nil {
			// An exit that is gone needs no answer.
			_, _ = z.conn.WriteTo(reply, peer)
		}
	}
}

// answer returns the reply to a message, nil if it gets none.
func (z *zone) answer(message []byte) []byte {
	var p dnsmessage.Parser
	head, err := p.Start(message)
	if err != nil || head.Response {
		return nil
	}
	question, err := p.Question()
	if err != nil {
		return nil
	}
	name := canonical(question.Name.String())
	resources, code := z.look(name, question)
	if name == slowName {
		return nil
	}
	reply := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID: head.ID, Response: true, Authoritative: true,
			RecursionDesired: head.RecursionDesired, RecursionAvailable: true, RCode: code,
		},
		Questions: []dnsmessage.Question{question},
		Answers:   resources,
	}
	b, err := reply.Pack()
	if err != nil {
		return nil
	}
	return b
}

// look notes the question and returns the answers to it.
func (z *zone) look(name string, q dnsmessage.Question) ([]dnsmessage.Resource, dnsmessage.RCode) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.queries = append(z.queries, Query{name, q.Type})
	if name == brokenName {
		return nil, dnsmessage.RCodeServerFailure
	}
	head := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60}
	if target, ok := z.names[name]; ok {
		if q.Type != dnsmessage.TypePTR {
			return nil, dnsmessage.RCodeSuccess
		}
		return []dnsmessage.Resource{{Header: head, Body: &dnsmessage.PTRResource{PTR: dnsmessage.MustNewName(target + ".")}}}, dnsmessage.RCodeSuccess
	}
	addrs, ok := z.hosts[name]
	if !ok {
		return nil, dnsmessage.RCodeNameError
	}
	var out []dnsmessage.Resource
	for _, a := range addrs {
		switch {
		case a.Is4() && q.Type == dnsmessage.TypeA:
			out = append(out, dnsmessage.Resource{Header: head, Body: &dnsmessage.AResource{A: a.As4()}})
		case a.Is6() && q.Type == dnsmessage.TypeAAAA:
			out = append(out, dnsmessage.Resource{Header: head, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
		}
	}
	return out, dnsmessage.RCodeSuccess
}

func (z *zone) set(name string, addrs []netip.Addr) {
	z.mu.Lock()
	defer z.mu.Unlock()
	name = canonical(name)
	for reverse, n := range z.names {
		if n == name {
			delete(z.names, reverse)
		}
	}
	if len(addrs) == 0 {
		delete(z.hosts, name)
		return
	}
	z.hosts[name] = slices.Clone(addrs)
	for _, a := range addrs {
		if r := reverseName(a); z.names[r] == "" {
			z.names[r] = name
		}
	}
}

func (z *zone) asked() []Query {
	z.mu.Lock()
	defer z.mu.Unlock()
	return slices.Clone(z.queries)
}

func canonical(name string) string {
	return strings.ToLower(strings.TrimSuffix(name, "."))
}

// reverseName returns the name under which an address's own name is found.
func reverseName(a netip.Addr) string {
	if a.Is4() {
		b := a.As4()
		return fmt.Sprintf("%d.%d.%d.%d.in-addr.arpa", b[3], b[2], b[1], b[0])
	}
	digits := []byte(hex.EncodeToString(a.AsSlice()))
	slices.Reverse(digits)
	return strings.Join(strings.Split(string(digits), ""), ".") + ".ip6.arpa"
}
