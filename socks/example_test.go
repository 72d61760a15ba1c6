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
	"strings"
	"sync"

	"hosier/socks"
)

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

	dialer := &socks.Dialer{Proxy: proxy} // or of a URL: socks.NewDialer
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

// A proxy as it stands in a setting. Names go to it unresolved, whether the scheme is socks5
// or socks5h.
func ExampleNewDialer() {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello from %s", r.Host)
	}))
	defer web.Close()
	proxy, stop := listen("www.example", web.Listener.Addr().String())
	defer stop()

	dialer, err := socks.NewDialer("socks5h://ann:p%40ss@" + proxy)
	if err != nil {
		fmt.Println(err)
		return
	}
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

	_, err = socks.NewDialer("socks5h://ann:p@ss/word@" + proxy)
	fmt.Println(errors.Is(err, socks.ErrURL), strings.Contains(err.Error(), "ss/word"))
	// Output:
	// hello from www.example
	// true false
}

// What failed: the target, the way through the proxy, or the proxy itself.
func ExampleProxyError() {
	proxy, stop := listen("www.example", "")
	why := func(d *socks.Dialer, target string) string {
		_, err := d.Dial("tcp", target)
		var (
			failed *socks.ProxyError
			status socks.Status
		)
		switch {
		case err == nil:
			return "connected"
		case errors.Is(err, socks.ErrAuth):
			return "the proxy refuses the login"
		case errors.As(err, &failed): // before Status: what fails there says nothing of the target
			return fmt.Sprint("the proxy does not work; it may have got the request: ", failed.Asked)
		case errors.Is(err, socks.NotAllowed):
			return "the proxy has a rule against it"
		case errors.As(err, &status):
			return "the proxy works, and replied: " + status.String()
		}
		return "the request was not sent"
	}
	fmt.Println(why(&socks.Dialer{Proxy: proxy}, "elsewhere.example:80"))
	fmt.Println(why(&socks.Dialer{Proxy: proxy}, "no port"))
	stop()
	fmt.Println(why(&socks.Dialer{Proxy: proxy}, "www.example:80"))
	// Output:
	// the proxy works, and replied: host unreachable
	// the request was not sent
	// the proxy does not work; it may have got the request: false
}
