package proxy_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"hosier/internal/sockstest"
	"hosier/proxy"
	"hosier/socks"
)

const browser = "Accept: text/html,application/xhtml+xml\r\nUser-Agent: Mozilla/5.0\r\n"

// ask sends a request and returns all that comes back.
func ask(t *testing.T, address, request string) []byte {
	t.Helper()
	c := connect(t, address)
	c.send([]byte(request))
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPage(t *testing.T) {
	address := sockstest.Serve(t, &proxy.Server{}, &sockstest.Egress{})
	const canary = "c4n4ry"
	for name, c := range map[string]struct {
		request string
		says    string // and the code, where it is not 501
	}{
		"visit":             {"GET /" + canary + " HTTP/1.1\r\nHost: 127.0.0.1:1080\r\n" + browser + "\r\n", "Your program spoke plain HTTP to it"},
		"visit from itself": {"GET / HTTP/1.1\r\nSec-Fetch-Site: same-origin\r\n" + browser + "\r\n", "SOCKS"},
		"typed address":     {"GET / HTTP/1.1\r\nSec-Fetch-Site: none\r\n" + browser + "\r\n", "SOCKS"},
		"HTTP proxy":        {"GET http://" + canary + ".test/ HTTP/1.1\r\nSec-Fetch-Site: cross-site\r\n" + browser + "\r\n", "plain HTTP proxy"},
		"curl":              {"GET http://example.test/ HTTP/1.1\r\nUser-Agent: curl/" + canary + "\r\nAccept: */*\r\n\r\n", "plain HTTP proxy"},
		"POST":              {"POST / HTTP/1.1\r\nContent-Length: 6\r\n\r\n" + canary, "socks5h://" + address},
		"HTTP/0.9 manners":  {"GET /\r\n\r\n", "SOCKS"},
		"DELETE":            {"DELETE / HTTP/1.1\r\n\r\n", "SOCKS"},
		"lower case":        {"get / HTTP/1.1\r\n\r\n", "SOCKS"},
		"line feeds alone":  {"GET / HTTP/1.0\n\n", "SOCKS"},
		"no end":            {"GET / HTTP/1.1\r\nHost: " + canary, "SOCKS"},
		"not even a line":   {"G" + canary, "SOCKS"},
		"too long":          {"GET http://a.test/" + strings.Repeat(canary, 2000) + " HTTP/1.1\r\n\r\n", "HTTP/1.1 431 "},
		"too long, browser": {"GET / HTTP/1.1\r\n" + browser + "Cookie: " + strings.Repeat(canary, 2000) + "\r\n\r\n", "HTTP/1.1 431 "},
		"PRI":               {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "SOCKS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := ask(t, address, c.request)
			checkPage(t, b)
			if code := strings.HasPrefix(c.says, "HTTP"); !code && !bytes.HasPrefix(b, []byte("HTTP/1.1 501 ")) {
				t.Errorf("the code is not 501:\n%s", b)
			}
			if !bytes.Contains(b, []byte(c.says)) {
				t.Errorf("page does not say %q:\n%s", c.says, b)
			}
			if bytes.Contains(b, []byte(canary)) {
				t.Error("page repeats what the client sent")
			}
		})
	}
}

func checkPage(t *testing.T, b []byte) {
	t.Helper()
	head, body, _ := bytes.Cut(b, []byte("\r\n\r\n"))
	for _, want := range []string{
		"Content-Type: text/plain; charset=utf-8\r\n", "Cache-Control: no-store\r\n",
		"Content-Security-Policy: default-src 'none'", fmt.Sprintf("Content-Length: %d\r\n", len(body)), "Connection: close",
	} {
		if !bytes.Contains(append(head, "\r\n"...), []byte(want)) {
			t.Errorf("head lacks %q:\n%s", want, head)
		}
	}
}

func TestPageHEAD(t *testing.T) {
	address := sockstest.Serve(t, &proxy.Server{}, &sockstest.Egress{})
	head, body, _ := bytes.Cut(ask(t, address, "HEAD / HTTP/1.1\r\n\r\n"), []byte("\r\n\r\n"))
	if len(body) != 0 || !bytes.Contains(head, []byte("Content-Length: ")) || bytes.Contains(head, []byte("Content-Length: 0")) {
		t.Errorf("%q, and a body of %d bytes", head, len(body))
	}
}

// A page in somebody's browser must not learn that the port is here.
func TestProbeBySilence(t *testing.T) {
	address := sockstest.Serve(t, &proxy.Server{}, &sockstest.Egress{})
	for _, site := range []string{"cross-site", "same-site", "anything"} {
		for _, method := range []string{"GET", "POST", "OPTIONS", "HEAD", "DELETE"} {
			request := method + " / HTTP/1.1\r\nHost: 127.0.0.1\r\nSec-Fetch-Site: " + site + "\r\n" + browser + "\r\n"
			if b := ask(t, address, request); len(b) > 0 {
				t.Errorf("%s from %s got %q", method, site, b)
			}
		}
	}
}

func TestOPTIONS(t *testing.T) {
	address := sockstest.Serve(t, &proxy.Server{}, &sockstest.Egress{})
	for request, want := range map[string]string{
		"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n": "\r\nAllow: CONNECT, OPTIONS\r\n",
		"OPTIONS / HTTP/1.0\r\n\r\n":                                         "\r\nContent-Length: 0\r\n",
	} {
		if b := ask(t, address, request); !bytes.HasPrefix(b, []byte("HTTP/1.1 200 OK\r\n")) || !bytes.Contains(b, []byte(want)) {
			t.Errorf("%q got %q", request, b)
		}
	}
	// The specification wants CONNECT on the connection that OPTIONS was asked on.
	b := ask(t, address, "OPTIONS * HTTP/1.1\r\n\r\nCONNECT echo.test:80 HTTP/1.1\r\n\r\n")
	if !bytes.Contains(b, []byte("HTTP/1.1 501 Not supported by the egress\r\n")) {
		t.Errorf("OPTIONS, then CONNECT got %q", b)
	}
}

// A login that is not judged is no reason to drop the password: over HTTP it is not 407.
func TestLoginLater(t *testing.T) {
	for _, c := range []struct {
		err        error
		code, wait string
	}{
		{&proxy.LaterError{After: 1500 * time.Millisecond, Err: errors.New("held off")}, "429", "2"},
		{&proxy.LaterError{After: -time.Second, Err: errors.New("held off")}, "429", "1"},
		{fmt.Errorf("busy: %w", &proxy.LaterError{After: time.Second, Err: proxy.ErrFull}), "503", "1"},
		{errors.New("wrong"), "407", ""},
	} {
		closed := make(chan *proxy.Session, 2)
		s := &proxy.Server{Closed: func(ses *proxy.Session) { closed <- ses }}
		s.Policy.Verify = func(*proxy.Session, socks.Auth) (string, error) { return "", c.err }
		address := sockstest.Serve(t, s, &sockstest.Egress{})
		b := ask(t, address, "CONNECT a.test:80 HTTP/1.1\r\nProxy-Authorization: Basic YTpi\r\n\r\n")
		if !bytes.HasPrefix(b, []byte("HTTP/1.1 "+c.code+" ")) || bytes.Contains(b, []byte("Proxy-Authenticate: ")) != (c.code == "407") {
			t.Errorf("%v: got %q", c.err, b)
		}
		if !bytes.Contains(b, []byte("\r\nRetry-After: "+c.wait+"\r\n")) == (c.wait != "") {
			t.Errorf("%v: got %q, want %q", c.err, b, c.wait)
		}
		if ses := <-closed; !errors.Is(ses.Err, socks.ErrAuth) || !errors.Is(ses.Err, c.err) {
			t.Errorf("%v: ended with %v", c.err, ses.Err)
		}
		if b := ask(t, address, "\x05\x01\x02\x01\x01a\x01b"); string(b) != "\x05\x02\x01\x01" {
			t.Errorf("%v: SOCKS5 got % x", c.err, b)
		}
	}
}

// What follows an OPTIONS with a body may be that body: it is never a request.
func TestOPTIONSWithBody(t *testing.T) {
	out := &sockstest.Egress{}
	address := sockstest.Serve(t, &proxy.Server{}, out)
	inner := "CONNECT a.test:80 HTTP/1.1\r\n\r\n"
	for name, head := range map[string]string{
		"length":            fmt.Sprintf("Content-Length: %d\r\n", len(inner)),
		"length, 100":       fmt.Sprintf("Content-Length: %d\r\nExpect: 100-continue\r\n", len(inner)),
		"short length":      "Content-Length: 1\r\n",
		"chunks":            "Transfer-Encoding: chunked\r\n",
		"length and chunks": "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
		"two lengths":       "Content-Length: 0\r\nContent-Length: 33\r\n",
		"odd length":        "Content-Length: +0\r\n",
		"odd coding":        "Transfer-Encoding: x, chunked\r\n",
	} {
		b := ask(t, address, "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n"+head+"\r\n"+inner)
		if bytes.Count(b, []byte("HTTP/1.1 ")) > 1 || !bytes.Contains(b, []byte("\r\nConnection: close\r\n")) {
			t.Errorf("%s: got %q", name, b)
		}
	}
	if all := out.Requests(); len(all) > 0 {
		t.Errorf("a body was obeyed: %v", all)
	}
}

func TestBadCONNECT(t *testing.T) {
	out := &sockstest.Egress{}
	address := sockstest.Serve(t, &proxy.Server{}, out)
	for request, want := range map[string]string{
		"CONNECT echo.test HTTP/1.1\r\n\r\n":                                     "400",
		"CONNECT echo.test:0 HTTP/1.1\r\n\r\n":                                   "400",
		"CONNECT echo.test:99999 HTTP/1.1\r\n\r\n":                               "400",
		"CONNECT a..b:80 HTTP/1.1\r\n\r\n":                                       "400",
		"CONNECT a.exit:80 HTTP/1.1\r\n\r\n":                                     "400",
		"CONNECT ::1:80 HTTP/1.1\r\n\r\n":                                        "400",
		"CONNECT http://a.test/ HTTP/1.1\r\n\r\n":                                "400",
		"CONNECT a.test:80 HTTP/1.1\r\nno colon\r\n\r\n":                         "400",
		"CONNECT a.test:80 HTTP/1.1\r\nTor-RPC-Target: x\r\n\r\n":                "501",
		"CONNECT a.test:80 HTTP/1.1\r\nX: " + strings.Repeat("x", 9000) + "\r\n": "431",
	} {
		b := ask(t, address, request)
		if !bytes.HasPrefix(b, []byte("HTTP/1.1 "+want+" ")) {
			t.Errorf("%.60q got %q, want %s", request, b, want)
		}
		if bytes.Contains(b, []byte("a.test")) {
			t.Errorf("%.60q: the answer repeats the request", request)
		}
	}
	if all := out.Requests(); len(all) > 0 {
		t.Errorf("the egress was asked %v", all)
	}
}

// What isolates reaches the egress, for Tor to keep apart.
func TestIsolationReachesEgress(t *testing.T) {
	out := &sockstest.Egress{}
	address := sockstest.Serve(t, &proxy.Server{}, out)
	ask(t, address, "CONNECT [::1]:80 HTTP/1.1\r\nProxy-Authorization: Basic dG9yLWlzbzp4\r\nTor-Stream-Isolation: q\r\n\r\n")
	all := out.Requests()
	if len(all) != 1 {
		t.Fatalf("%d requests", len(all))
	}
	r := all[0]
	if r.Version != socks.HTTP || r.Addr.String() != "[::1]:80" || r.Auth.User != "tor-iso" || r.Auth.Password != "x" || r.Auth.Isolation != "Tor-Stream-Isolation=q" {
		t.Errorf("request is %v %v, user %q, isolation %q", r.Version, r.Addr, r.Auth.User, r.Auth.Isolation)
	}
}

// The page as a real HTTP client sees it.
func TestPageOverNetHTTP(t *testing.T) {
	address := sockstest.Serve(t, &proxy.Server{}, &sockstest.Egress{})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + address + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || int64(len(b)) != resp.ContentLength {
		t.Errorf("%d bytes, %v; Content-Length is %d", len(b), err, resp.ContentLength)
	}
}

// A head that ends in its middle is told from a client that left without a word.
func TestHeadEndsEarly(t *testing.T) {
	closed := make(chan *proxy.Session, 1)
	s := &proxy.Server{Closed: func(ses *proxy.Session) { closed <- ses }}
	address := sockstest.Serve(t, s, &sockstest.Egress{})
	for sent, want := range map[string]error{
		"":                            io.EOF,
		"C":                           io.ErrUnexpectedEOF,
		"CATS\r\n":                    io.ErrUnexpectedEOF,
		"CONNECT a.test:80 HTTP/1.1":  io.ErrUnexpectedEOF,
		"CONNECT a:80 HTTP/1.1\r\na:": io.ErrUnexpectedEOF,
	} {
		c := connect(t, address)
		c.send([]byte(sent))
		c.CloseWrite()
		io.Copy(io.Discard, c)
		if ses := <-closed; !errors.Is(ses.Err, want) || ses.Request != nil {
			t.Errorf("%q: %v", sent, ses.Err)
		}
	}
}
