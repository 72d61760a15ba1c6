package proxy_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"hosier/internal/sockstest"
	"hosier/proxy"
)

// Who may know that somebody is here. The rest gets no byte, whatever the method.
func TestHostRules(t *testing.T) {
	address := sockstest.Serve(t, &proxy.Server{}, &sockstest.Egress{})
	_, port, _ := net.SplitHostPort(address)
	long := strings.Repeat("x", 9000)
	agent := "User-Agent: Mozilla/5.0\r\n"
	for name, c := range map[string]struct {
		target, head string
		answered     bool
	}{
		"own address":                 {"/", "Host: " + address, true},
		"another port":                {"/", "Host: 127.0.0.1:99", true},
		"no port":                     {"/", "Host: 127.0.0.1", true},
		"no host":                     {"/", "X: y", true},
		"localhost":                   {"/", "Host: LocalHost:" + port, true},
		"below localhost":             {"/", "Host: a.b.localhost", true},
		"loopback":                    {"/", "Host: 127.9.9.9", true},
		"loopback of IPv6":            {"/", "Host: [::1]:" + port, true},
		"IPv4 in IPv6":                {"/", "Host: [::ffff:127.0.0.1]", true},
		"foreign name":                {"/", "Host: evil.test:" + port, false},
		"rebound name":                {"/proxy.pac", "Host: 127.0.0.1.evil.test", false},
		"no address":                  {"/", "Host: 0.0.0.0:" + port, false},
		"no address of IPv6":          {"/", "Host: [::]:" + port, false},
		"another address":             {"/", "Host: 192.0.2.1", false},
		"almost localhost":            {"/", "Host: xlocalhost", false},
		"below another localhost":     {"/", "Host: localhost.evil.test", false},
		"an odd number":               {"/", "Host: 2130706433", false},
		"user before":                 {"/", "Host: localhost@evil.test", false},
		"empty label":                 {"/", "Host: .", false},
		"whole URL of elsewhere":      {"http://evil.test/", "Host: evil.test", true},
		"... by a page":               {"http://evil.test/", "Host: evil.test\r\nSec-Fetch-Site: cross-site\r\nOrigin: http://evil.test", true},
		"whole URL of this":           {"http://" + address + "/", "Host: evil.test", true},
		"... by a page ":              {"http://" + address + "/", "Sec-Fetch-Site: cross-site", false},
		"typed":                       {"/", "Host: localhost\r\nSec-Fetch-Site: none\r\n" + agent, true},
		"cross-site":                  {"/", "Host: localhost\r\nSec-Fetch-Site: cross-site", false},
		"same-site":                   {"/", "Host: localhost\r\nSec-Fetch-Site: same-site", false},
		"WebSocket":                   {"/", "Host: localhost\r\nOrigin: http://evil.test\r\nUpgrade: websocket\r\nConnection: Upgrade", false},
		"origin null":                 {"/", "Host: localhost\r\nOrigin: null", false},
		"picture, older browser":      {"/", "Host: localhost\r\nAccept: image/avif,image/webp,*/*;q=0.8\r\n" + agent, false},
		"visit, older browser":        {"/", "Host: localhost\r\nAccept: text/html,*/*\r\n" + agent, true},
		"PAC, any browser":            {"/proxy.pac", "Host: localhost\r\n" + agent, true},
		"target too long":             {"/" + long, "Host: localhost", true},
		"target too long, by a page":  {"/" + long, "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n" + agent, false},
		"... by an older browser":     {"/" + long, "Host: localhost\r\nAccept: image/avif\r\n" + agent, false},
		"... by a foreign name":       {"/" + long, "Host: evil.test", false},
		"header too long":             {"/", "Host: localhost\r\nCookie: " + long, true},
		"... typed":                   {"/", "Host: localhost\r\nSec-Fetch-Site: none\r\n" + agent + "Cookie: " + long, true},
		"... and a page after it":     {"/", "Host: localhost\r\nCookie: " + long + "\r\nSec-Fetch-Site: cross-site", false},
		"... and an origin after it":  {"/", "Host: localhost\r\nCookie: " + long + "\r\nOrigin: http://evil.test", false},
		"... and a host after it":     {"/", "Cookie: " + long + "\r\nHost: evil.test", false},
		"many headers":                {"/", "Host: localhost\r\n" + strings.Repeat("X: y\r\n", 2000) + "Y: z", true},
		"many hosts":                  {"/", strings.Repeat("Host: localhost\r\n", 2000) + "Y: z", false},
		"an origin too long":          {"/", "Host: localhost\r\nCookie: " + long + "\r\nOrigin: http://" + long, false},
		"longer than is looked at":    {"/", "Host: localhost\r\nCookie: " + strings.Repeat(long, 8), false},
		"header too long, whole URL":  {"http://evil.test/", "Host: evil.test\r\nCookie: " + long, true},
		"bad escape":                  {"/%zz", "Host: localhost", true},
		"bad escape, cross-site":      {"/%zz", "Host: localhost\r\nSec-Fetch-Site: cross-site", false},
		"bad escape, foreign":         {"/%zz", "Host: evil.test", false},
		"bad escape, Origin":          {"/%zz", "Host: localhost\r\norigin: http://evil.test", false},
		"bad escape, foreign in URL":  {"http://evil.test/%zz", "Host: evil.test", true},
		"bad escape, own in URL":      {"http://localhost/%zz", "Sec-Fetch-Site: cross-site", false},
		"bad escape, picture":         {"/%zz", "Host: localhost\r\nAccept: image/avif\r\n" + agent, false},
		"two hosts":                   {"/", "Host: localhost\r\nHost: evil.test", false},
		"no colon":                    {"/", "Host: localhost\r\nno colon", true},
		"no colon, cross-site":        {"/", "no colon\r\nSec-Fetch-Site: cross-site", false},
		"path that looks like an URL": {"/http://evil.test/", "Host: evil.test", false},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			t.Run(name+"/"+method, func(t *testing.T) {
				t.Parallel()
				b := ask(t, address, method+" "+c.target+" HTTP/1.1\r\n"+c.head+"\r\n\r\n")
				code := "501"
				if len(c.target)+len(c.head) > 8<<10 {
					code = "431"
				}
				if got := bytes.HasPrefix(b, []byte("HTTP/1.1 "+code+" ")); got != c.answered || !got && len(b) > 0 {
					t.Errorf("got %q, want an answer: %v", b, c.answered)
				}
				if bytes.Contains(b, []byte("evil")) {
					t.Error("the answer repeats what was sent")
				}
			})
		}
	}
}

// A server that was given names answers to these, under the same conditions as to its
// address, and to no other.
func TestHostNames(t *testing.T) {
	s := &proxy.Server{Policy: proxy.Policy{Names: []string{"gateway.lan", "wpad"}}}
	address := sockstest.Serve(t, s, &sockstest.Egress{})
	const agent = "\r\nUser-Agent: Mozilla/5.0"
	for name, c := range map[string]struct {
		head     string
		answered bool
	}{
		"name":                    {"Host: gateway.lan:1080", true},
		"another case":            {"Host: GateWay.LAN", true},
		"dot at the end":          {"Host: gateway.lan.:1080", true},
		"one label":               {"Host: wpad", true},
		"visit of a browser":      {"Host: gateway.lan:1080\r\nAccept: text/html" + agent, true},
		"own address":             {"Host: " + address, true},
		"below":                   {"Host: a.gateway.lan", false},
		"longer":                  {"Host: xgateway.lan", false},
		"shorter":                 {"Host: lan", false},
		"foreign":                 {"Host: evil.test", false},
		"as a part":               {"Host: gateway.lan.evil.test", false},
		"user before":             {"Host: gateway.lan@evil.test", false},
		"two dots":                {"Host: gateway.lan..", false},
		"space":                   {"Host: gateway .lan", false},
		"empty label":             {"Host: .", false},
		"page of elsewhere":       {"Host: gateway.lan:1080\r\nSec-Fetch-Site: cross-site", false},
		"page of the same site":   {"Host: gateway.lan:1080\r\nSec-Fetch-Site: same-site", false},
		"Origin":                  {"Host: gateway.lan:1080\r\nOrigin: http://evil.test", false},
		"picture":                 {"Host: gateway.lan:1080\r\nAccept: image/avif" + agent, false},
		"two hosts":               {"Host: gateway.lan\r\nHost: evil.test", false},
		"cannot be read, foreign": {"Host: evil.test\r\nno colon", false},
		"cannot be read":          {"Host: wpad\r\nno colon", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := ask(t, address, "GET / HTTP/1.1\r\n"+c.head+"\r\n\r\n")
			if got := bytes.HasPrefix(b, []byte("HTTP/1.1 501 ")); got != c.answered || !got && len(b) > 0 {
				t.Errorf("got %q, want an answer: %v", b, c.answered)
			}
		})
	}
}

// A form without the header that says whose it is.
func TestHostRulesForm(t *testing.T) {
	address := sockstest.Serve(t, &proxy.Server{}, &sockstest.Egress{})
	if b := ask(t, address, "POST / HTTP/1.1\r\nHost: localhost\r\n"+browser+"Content-Length: 1\r\n\r\nx"); len(b) > 0 {
		t.Errorf("got %q", b)
	}
}

// What stands in the place of the simple page cannot break out of its answer.
func TestPageHandler(t *testing.T) {
	var got *http.Request
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		w.Header().Set("X-Odd", "a\r\nSet-Cookie: b")
		w.Header().Set("Connection", "keep-alive")
		w.Header().Set("Content-Length", "1")
		if r.URL.Path != "/silent" {
			fmt.Fprint(w, "hello")
		}
		w.WriteHeader(http.StatusTeapot)
	})
	address := sockstest.Serve(t, &proxy.Server{Policy: proxy.Policy{Page: page}}, &sockstest.Egress{})
	for target, want := range map[string]string{"/": "\r\nContent-Length: 5\r\n", "/silent": " 418 "} {
		b := ask(t, address, "GET "+target+" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc")
		if !bytes.Contains(b, []byte(want)) || !bytes.Contains(b, []byte("\r\nConnection: close\r\n")) ||
			bytes.Contains(b, []byte("\r\nSet-Cookie")) || !bytes.Contains(b, []byte("\r\nCross-Origin-Resource-Policy: same-origin\r\n")) {
			t.Errorf("%s: %q", target, b)
		}
		if got.Body != http.NoBody || got.Context().Value(http.LocalAddrContextKey).(net.Addr).String() != address || got.RemoteAddr == "" {
			t.Errorf("the request is %+v", got)
		}
	}
	got = nil
	if b := ask(t, address, "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n"); len(b) > 0 || got != nil {
		t.Errorf("%q, and the page was asked: %v", b, got != nil)
	}
	if b := ask(t, address, "GET /%zz HTTP/1.1\r\nHost: localhost\r\n\r\n"); !bytes.HasPrefix(b, []byte("HTTP/1.1 501 ")) || got != nil {
		t.Errorf("unreadable: %q, and the page was asked: %v", b, got != nil)
	}
	if b := ask(t, address, "HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n"); !bytes.HasSuffix(b, []byte("\r\n\r\n")) || !bytes.Contains(b, []byte("Content-Length: 5\r\n")) {
		t.Errorf("HEAD: %q", b)
	}
}
