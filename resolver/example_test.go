package resolver_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"hosier/resolver"
)

// answerNames is a DNS server in this process, in place of a real one: it knows one name.
func answerNames(name string, ip netip.Addr) (server net.PacketConn) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			var p dnsmessage.Parser
			h, _ := p.Start(buf[:n])
			q, err := p.Question()
			if err != nil {
				continue
			}
			m := dnsmessage.Message{
				Header:    dnsmessage.Header{ID: h.ID, Response: true, RecursionAvailable: true},
				Questions: []dnsmessage.Question{q},
			}
			switch {
			case q.Name.String() != name+".":
				m.RCode = dnsmessage.RCodeNameError
			case q.Type == resolver.A:
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60},
					Body:   &dnsmessage.AResource{A: ip.As4()},
				}}
			}
			if out, err := m.Pack(); err == nil {
				server.WriteTo(out, from)
			}
		}
	}()
	return server
}

func ExampleResolver() {
	dns := answerNames("www.example", netip.MustParseAddr("192.0.2.7"))
	defer dns.Close()
	server, err := resolver.ParseServer(dns.LocalAddr().String()) // or tls://9.9.9.9#dns.quad9.net
	if err != nil {
		fmt.Println(err)
		return
	}
	r := &resolver.Resolver{Servers: []resolver.Server{server}}
	defer r.Close()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for range 2 {
		a, err := r.Lookup(ctx, "www.example", resolver.A)
		fmt.Println(a.Addrs, a.TTL > 0, a.Cached, err)
	}

	_, err = r.LookupNetIP(ctx, "ip", "nowhere.example")
	var dnsError *net.DNSError
	if errors.As(err, &dnsError) {
		fmt.Println(dnsError.Name, dnsError.IsNotFound, dnsError.IsTimeout)
	}
	// Output:
	// [192.0.2.7] true false <nil>
	// [192.0.2.7] true true <nil>
	// nowhere.example true false
}

// Clients that must not learn from the cache what others asked have a group each.
func ExampleResolver_For() {
	dns := answerNames("www.example", netip.MustParseAddr("192.0.2.7"))
	defer dns.Close()
	server, _ := resolver.ParseServer(dns.LocalAddr().String())
	r := &resolver.Resolver{Servers: []resolver.Server{server}}
	defer r.Close()
	for _, user := range []string{"ann", "ann", "bob"} {
		a, err := r.For(user).Lookup(context.Background(), "www.example", resolver.A)
		fmt.Println(user, a.Cached, err)
	}
	// Output:
	// ann false <nil>
	// ann true <nil>
	// bob false <nil>
}

// A Dialer races the addresses of a name; Allow sees each that would really be connected to.
func ExampleDialer() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			io.WriteString(c, "hello")
			c.Close()
		}
	}()
	here := l.Addr().(*net.TCPAddr).AddrPort()
	dns := answerNames("www.example", here.Addr())
	defer dns.Close()
	server, _ := resolver.ParseServer(dns.LocalAddr().String())
	r := &resolver.Resolver{Servers: []resolver.Server{server}}
	defer r.Close()

	d := resolver.Dialer{Lookup: r, Memory: new(resolver.Memory)}
	c, err := d.Dial(context.Background(), "tcp", "www.example", here.Port())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	said, _ := io.ReadAll(c)
	fmt.Printf("%s\n", said)

	errPrivate := errors.New("not a public address")
	d.Allow = func(ip netip.Addr) error {
		if ip.IsLoopback() || ip.IsPrivate() {
			return errPrivate
		}
		return nil
	}
	_, err = d.Dial(context.Background(), "tcp", "www.example", here.Port())
	fmt.Println(errors.Is(err, errPrivate))
	// Output:
	// hello
	// true
}
