package socks_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"

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

// A server reads a request with Accept, and words its reply with AppendReply. One that limits,
// isolates and logs is package proxy.
func Example_server() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	ended := make(chan error)
	go func() {
		c, err := l.Accept()
		if err == nil {
			err = serve(c, "www.example", "")
		}
		ended <- err
	}()
	d := &socks.Dialer{Proxy: l.Addr().String(), Version: socks.V4}
	_, err = d.Dial("tcp", "elsewhere.example:80")
	fmt.Println(errors.Is(err, socks.GeneralFailure)) // SOCKS4 has but one code for all failures
	fmt.Println(<-ended)
	l.Close()
	// Output:
	// true
	// <nil>
}
