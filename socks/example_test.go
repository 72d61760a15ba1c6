package socks_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"

	"hosier/socks"
)

// A server needs no more than Accept and AppendReply. This one knows one name, and
// leads every connection to one place.
func serve(c net.Conn, name, target string) error {
	defer c.Close()
	br := bufio.NewReaderSize(c, socks.MaxMessage)
	r, err := socks.Accept(br, c, nil)
	if r == nil {
		return err // nothing is owed to the client
	}
	status, bound, remote := socks.Succeeded, socks.Addr{}, net.Conn(nil)
	switch {
	case errors.As(err, &status): // the request is refused already
	case r.Addr.Name != name:
		status = socks.HostUnreachable
	case r.Command == socks.Resolve:
		bound.IP = netip.MustParseAddr("192.0.2.1")
	case r.Command != socks.Connect:
		status = socks.CommandNotSupported
	default:
		if remote, err = net.Dial("tcp", target); err != nil {
			status = socks.ConnectionRefused
		}
	}
	if _, err := c.Write(r.AppendReply(nil, status, bound)); err != nil || remote == nil {
		return err
	}
	defer remote.Close()
	go func() {
		io.Copy(remote, br) // br, not c: early data is in it
		remote.(*net.TCPConn).CloseWrite()
	}()
	_, err = io.Copy(c, remote)
	return err
}

// listen serves on loopback until stop is called.
func listen(name, target string) (address string, stop func()) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { serve(c, name, target) })
		}
	})
	return l.Addr().String(), func() { l.Close(); all.Wait() }
}

// The name travels to the proxy as it is: nothing is looked up on this side.
func ExampleDialer() {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello from %s", r.Host)
	}))
	defer web.Close()
	proxy, stop := listen("www.example", web.Listener.Addr().String())
	defer stop()

	dialer := &socks.Dialer{Proxy: proxy}
	client := &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext}}
	defer client.CloseIdleConnections()

	res, err := client.Get("http://www.example/")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	fmt.Printf("%s\n", body)

	_, err = dialer.Dial("tcp", "www.example.invalid:80")
	fmt.Println(errors.Is(err, socks.HostUnreachable))
	// Output:
	// hello from www.example
	// true
}

// Tor, and hosier, look names up for a client that only wants the address.
func ExampleDialer_Resolve() {
	proxy, stop := listen("www.example", "")
	defer stop()

	dialer := &socks.Dialer{Proxy: proxy}
	ip, err := dialer.Resolve(context.Background(), "www.example")
	fmt.Println(ip, err)

	_, err = dialer.ResolvePTR(context.Background(), netip.MustParseAddr("192.0.2.1"))
	fmt.Println(errors.Is(err, socks.HostUnreachable))
	// Output:
	// 192.0.2.1 <nil>
	// true
}

// Accept reads one request and says what comes before the reply. The request words the
// reply itself, in the client's version of SOCKS.
func ExampleAccept() {
	client, server := net.Pipe()
	defer server.Close()
	go func() {
		defer client.Close()
		client.Write([]byte("\x05\x01\x00"))                         // greeting
		io.ReadFull(client, make([]byte, 2))                         // the method
		client.Write([]byte("\x05\x01\x00\x03\x0bwww.example\x00P")) // request
		client.Write([]byte("early data"))
	}()

	br := bufio.NewReaderSize(server, socks.MaxMessage)
	r, err := socks.Accept(br, server, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r)
	fmt.Printf("% x\n", r.AppendReply(nil, socks.ConnectionRefused, socks.Addr{}))
	early, _ := io.ReadAll(br)
	fmt.Printf("%s\n", early)
	// Output:
	// SOCKS5 CONNECT www.example:80, no authentication
	// 05 05 00 01 00 00 00 00 00 00
	// early data
}

// A SOCKS4 client gets its reply in its own words.
func ExampleRequest_AppendReply() {
	r, _, err := socks.ParseRequest4([]byte("\x04\x01\x00P\x00\x00\x00\x01\x00www.example\x00"))
	fmt.Println(r.Addr, err)
	bound := socks.Addr{IP: netip.MustParseAddr("192.0.2.7"), Port: 1080}
	fmt.Printf("% x\n", r.AppendReply(nil, socks.Succeeded, bound))
	fmt.Printf("% x\n", r.AppendReply(nil, socks.ConnectionRefused, bound))
	// Output:
	// www.example:80 <nil>
	// 00 5a 04 38 c0 00 02 07
	// 00 5b 00 00 00 00 00 00
}
