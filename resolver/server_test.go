package resolver

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// dnsServer is a DNS server on loopback, over UDP and TCP, which counts.
type dnsServer struct {
	t      *testing.T
	udp    net.PacketConn
	tcp    net.Listener
	script func(q dnsmessage.Question, network string, n int) reply

	mu    sync.Mutex
	asked map[string]int // by "name type network"
	ids   map[uint16]int
	ports map[string]int
	conns int
	all   sync.WaitGroup
}

// reply is what a dnsServer does with a question. The zero value is NODATA.
type reply struct {
	addrs  []string
	cname  string // that the name is an alias of
	names  []string
	ttl    uint32
	soa    uint32 // 0: none
	rcode  dnsmessage.RCode
	cut    bool // TC
	silent bool
	wait   time.Duration
	hangUp bool   // TCP: close in place of an answer
	raw    []byte // after the ID
	forged []byte // sent before the answer, with another ID
}

func newServer(t *testing.T, script func(q dnsmessage.Question, network string, n int) reply) *dnsServer {
	t.Helper()
	s := &dnsServer{t: t, script: script, asked: map[string]int{}, ids: map[uint16]int{}, ports: map[string]int{}}
	for { // one port for both
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if s.udp, err = net.ListenPacket("udp", l.Addr().String()); err == nil {
			s.tcp = l
			break
		}
		l.Close()
	}
	s.all.Go(s.serveUDP)
	s.all.Go(s.serveTCP)
	t.Cleanup(func() {
		s.udp.Close()
		s.tcp.Close()
		s.all.Wait()
	})
	return s
}

func (s *dnsServer) addr() netip.AddrPort { return s.udp.LocalAddr().(*net.UDPAddr).AddrPort() }

// resolver returns one that asks s alone, without a hosts file.
func (s *dnsServer) resolver(t Transport) *Resolver {
	r := &Resolver{Servers: []Server{{Transport: t, Addr: s.addr()}}, NoHosts: true}
	s.t.Cleanup(func() { r.Close() })
	return r
}

func (s *dnsServer) count(name string, typ Type, network string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[fmt.Sprint(name, " ", typ, " ", network)]
}

func (s *dnsServer) serveUDP() {
	buf := make([]byte, 4096)
	for {
		n, from, err := s.udp.ReadFrom(buf)
		if err != nil {
			return
		}
		msg := append([]byte(nil), buf[:n]...)
		s.mu.Lock()
		s.ports[from.String()]++
		s.mu.Unlock()
		s.all.Go(func() {
			r, out := s.answer(msg, "udp")
			if r.silent {
				return
			}
			if r.forged != nil {
				s.udp.WriteTo(r.forged, from)
			}
			time.Sleep(r.wait) // what a slow server does
			s.udp.WriteTo(out, from)
		})
	}
}

func (s *dnsServer) serveTCP() {
	for {
		c, err := s.tcp.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns++
		s.mu.Unlock()
		s.all.Go(func() {
			defer c.Close()
			s.stream(c)
		})
	}
}

func (s *dnsServer) stream(c net.Conn) {
	for {
		c.SetDeadline(time.Now().Add(15 * time.Second))
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		msg := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, msg); err != nil {
			return
		}
		r, out := s.answer(msg, "tcp")
		if r.hangUp {
			return
		}
		time.Sleep(r.wait)
		if !r.silent {
			c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...))
		}
	}
}

func (s *dnsServer) answer(msg []byte, network string) (reply, []byte) {
	var p dnsmessage.Parser
	h, err := p.Start(msg)
	if err != nil {
		s.t.Errorf("not a message: %v", err)
		return reply{silent: true}, nil
	}
	q, err := p.Question()
	if err != nil {
		s.t.Errorf("no question: %v", err)
		return reply{silent: true}, nil
	}
	key := fmt.Sprint(nameOf(q.Name), " ", q.Type, " ", network)
	s.mu.Lock()
	s.asked[key]++
	n := s.asked[key]
	s.ids[h.ID]++
	s.mu.Unlock()
	r := s.script(q, network, n)
	if r.raw != nil {
		return r, append(binary.BigEndian.AppendUint16(nil, h.ID), r.raw...)
	}
	return r, r.message(h.ID, q)
}

func (r reply) message(id uint16, q dnsmessage.Question) []byte {
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, Response: true, RCode: r.rcode, Truncated: r.cut, RecursionAvailable: true},
		Questions: []dnsmessage.Question{q},
	}
	owner := q.Name
	add := func(typ Type, body dnsmessage.ResourceBody) {
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: owner, Type: typ, Class: dnsmessage.ClassINET, TTL: r.ttl}, Body: body,
		})
	}
	if r.cname != "" {
		target := dnsmessage.MustNewName(r.cname + ".")
		add(dnsmessage.TypeCNAME, &dnsmessage.CNAMEResource{CNAME: target})
		owner = target
	}
	for _, text := range r.addrs {
		ip := netip.MustParseAddr(text)
		switch {
		case ip.Is4() && q.Type == A:
			add(A, &dnsmessage.AResource{A: ip.As4()})
		case ip.Is6() && q.Type == AAAA:
			add(AAAA, &dnsmessage.AAAAResource{AAAA: ip.As16()})
		}
	}
	for _, name := range r.names {
		add(PTR, &dnsmessage.PTRResource{PTR: dnsmessage.MustNewName(name + ".")})
	}
	if r.soa > 0 {
		root := dnsmessage.MustNewName(".")
		m.Authorities = append(m.Authorities, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: root, Type: dnsmessage.TypeSOA, Class: dnsmessage.ClassINET, TTL: r.soa},
			Body:   &dnsmessage.SOAResource{NS: root, MBox: root, MinTTL: r.soa},
		})
	}
	out, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return out
}

// within is for what should not take long, on a busy machine too.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}
