package egress_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"hosier/egress"
	"hosier/socks"
)

// Answers of HTTP proxies that are odd, but mean a tunnel: what follows the head is the
// far side's.
func TestHTTPTunnels(t *testing.T) {
	for name, answer := range map[string]string{
		"RFC9110-s9.3.6/plain":            "HTTP/1.1 200 Connection established\r\n\r\n",
		"RFC9110-s9.3.6/201":              "HTTP/1.1 201 Created\r\n\r\n",
		"RFC9110-s9.3.6/chunked":          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		"RFC9110-s9.3.6/gzip":             "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
		"RFC9110-s9.3.6/length":           "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
		"RFC9110-s9.3.6/two-lengths":      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
		"RFC9110-s9.3.6/length-no-number": "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
		"RFC9110-s9.3.6/both":             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n",
		"RFC9110-s15.2/100-first":         "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
		"RFC9110-s15.2/102-with-fields":   "HTTP/1.1 102 Processing\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
		"RFC9110-s15.2/five-of-them":      strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 5) + "HTTP/1.1 200 OK\r\n\r\n",
		"RFC9112-s4/no-reason":            "HTTP/1.1 200\r\n\r\n",
		"RFC9112-s4/1.0":                  "HTTP/1.0 200 OK\r\nProxy-agent: x\r\n\r\n",
		"RFC9112-s2.2/bare-lf":            "HTTP/1.1 200 OK\n\n",
		"long-head":                       "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", 7000) + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			early := "early" + strings.Repeat("E", 20000)
			out := &egress.HTTP{Proxy: scripted(t, answer+early)}
			c, _, err := out.Dial(t.Context(), request("echo.test"))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if b, err := io.ReadAll(c); err != nil || string(b) != early {
				t.Errorf("behind the head came %d bytes, %v, want %d", len(b), err, len(early))
			}
		})
	}
}

func request(name string) *socks.Request {
	return &socks.Request{Command: socks.Connect, Addr: socks.Addr{Name: name, Port: 80}}
}

// The table of docs/upstreams.md: what a refusal comes to.
func TestHTTPRefusals(t *testing.T) {
	threeProxy := func(text string) string {
		return "502 Bad Gateway\r\nProxy-Connection: close\r\nContent-type: text/html; charset=utf-8\r\n\r\n" +
			"<html><head><title>502 Bad Gateway</title></head>\r\n<body><h2>502 Bad Gateway</h2><h3>" + text + "</h3></body></html>"
	}
	for answer, want := range map[string]socks.Status{
		"403 x":                   socks.NotAllowed,
		"405 x":                   socks.NotAllowed,
		"404 x":                   socks.HostUnreachable,
		"408 x":                   socks.TTLExpired,
		"504 x":                   socks.TTLExpired,
		"503 Service Unavailable": socks.HostUnreachable,
		"502 Bad Gateway":         socks.GeneralFailure,
		"500 Internal Error":      socks.GeneralFailure,
		"400 x":                   socks.GeneralFailure,
		"429 x":                   socks.GeneralFailure,
		"101 Switching Protocols": socks.GeneralFailure,
		"302 x\r\nLocation: http://elsewhere.test/": socks.GeneralFailure,

		"403 x\r\nTor-Request-Failed: end/CONNECTREFUSED": socks.ConnectionRefused,
		"503 x\r\nTor-Request-Failed: end/TIMEOUT":        socks.TTLExpired,
		"502 x\r\nTor-Request-Failed: end/TORPROTOCOL":    socks.GeneralFailure,

		"502 x\r\nProxy-Status: p.test; error=dns_error; rcode=\"NXDOMAIN\"":                   socks.HostUnreachable,
		"502 x\r\nProxy-Status: p.test; error=destination_not_found":                           socks.HostUnreachable,
		"502 x\r\nProxy-Status: p.test;error=connection_refused;details=\"a\"":                 socks.ConnectionRefused,
		"502 x\r\nProxy-Status: p.test; received-status=502, q.test; error=connection_timeout": socks.TTLExpired,
		"502 x\r\nProxy-Status: p.test; error=destination_ip_prohibited":                       socks.NotAllowed,
		"503 x\r\nProxy-Status: p.test; error=proxy_internal_error":                            socks.GeneralFailure,
		"503 x\r\nProxy-Status: p.test; error=of_its_own":                                      socks.HostUnreachable,

		"503 x\r\nX-Squid-Error: ERR_CONNECT_FAIL 111": socks.ConnectionRefused,
		"503 x\r\nX-Squid-Error: ERR_CONNECT_FAIL 101": socks.NetworkUnreachable,
		"503 x\r\nX-Squid-Error: ERR_CONNECT_FAIL 110": socks.TTLExpired,
		"503 x\r\nX-Squid-Error: ERR_CONNECT_FAIL 113": socks.HostUnreachable,
		"503 x\r\nX-Squid-Error: ERR_DNS_FAIL 0":       socks.HostUnreachable,
		"409 x\r\nX-Squid-Error: ERR_ACCESS_DENIED 0":  socks.NotAllowed,

		threeProxy("Host Not Found or connection failed"):                                                  socks.HostUnreachable,
		threeProxy("Failed to connect parent proxy"):                                                       socks.GeneralFailure,
		"502 Bad Gateway\r\nContent-Length: 51\r\n\r\ndial tcp 192.0.2.1:9: connect: connection refused..": socks.ConnectionRefused,
		"502 Bad Gateway\r\nContent-Length: 37\r\n\r\ndial tcp: lookup a.test: no such host":               socks.HostUnreachable,
		"500 Unable to connect":                                      socks.HostUnreachable,
		"503 Connect failed: timed out":                              socks.TTLExpired,
		"502 Bad Gateway\r\nContent-Length: 3\r\n\r\nno such host":   socks.GeneralFailure, // not its body
		"502 x\r\n\r\n" + strings.Repeat("x", 3000) + "no such host": socks.GeneralFailure, // too far in
		"404 x\r\n\r\nconnection refused":                            socks.HostUnreachable,
	} {
		if !strings.Contains(answer, "\r\n\r\n") {
			answer += "\r\n\r\n"
		}
		out := &egress.HTTP{Proxy: scripted(t, "HTTP/1.1 "+answer)}
		_, _, err := out.Dial(t.Context(), request("echo.test"))
		status, broken := socks.Status(0), (*socks.ProxyError)(nil)
		if !errors.As(err, &status) || status != want || errors.As(err, &broken) {
			t.Errorf("%q: %v, want status %v", answer, err, want)
		}
	}
}

// A refusal whose body does not come, or does not end, is answered all the same.
func TestHTTPRefusalWithoutBody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	gone := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			gone <- err
			return
		}
		defer c.Close()
		c.Read(make([]byte, 512))
		io.WriteString(c, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 500\r\n\r\n<h1>No route to host")
		c.SetReadDeadline(time.Now().Add(time.Minute))
		_, err = c.Read(make([]byte, 1))
		gone <- err
	}()
	out := &egress.HTTP{Proxy: l.Addr().String()}
	if _, _, err := out.Dial(t.Context(), request("echo.test")); !errors.Is(err, socks.HostUnreachable) {
		t.Errorf("got %v", err)
	}
	if err := <-gone; err != io.EOF {
		t.Errorf("the proxy sees %v, want the end", err)
	}
}
