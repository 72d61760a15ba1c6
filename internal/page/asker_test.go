package page

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

// told is a Program that says what it is told to, and counts.
type told struct {
	name  string
	asked int
	ends  [2]netip.AddrPort
}

func (k *told) program(_ context.Context, client, server netip.AddrPort) (string, int) {
	k.asked++
	k.ends = [2]netip.AddrPort{client, server}
	if k.name == "" {
		return "", 0
	}
	return k.name, 4711
}

// visitorFrom is a request from 192.0.2.9:5000 of a program that says who it is, or not.
func visitorFrom(target, agent, accept string) *http.Request {
	r := request("GET", target, agent, accept)
	r.RemoteAddr = "192.0.2.9:5000"
	return r
}

// The page says which program of this host asked, and puts its steps first if it can.
func TestPageNamesProgram(t *testing.T) {
	for _, tt := range []struct {
		name, program, target, agent, accept string
		want, not                            []string
	}{
		{"text", "curl", "/", "curl/8", "*/*", []string{"curl (process 4711 on this computer) spoke plain HTTP to it.\n", "\ncurl:\n"}, nil},
		{"text/lost", "mytool", "http://a.test/", "", "*/*", []string{"mytool (process 4711 on this computer) used it as a plain HTTP proxy.\n", "\ncurl:\n", "\ngit:\n"}, nil},
		{"text/own-steps", "git", "http://a.test/", "", "*/*", []string{"git (process 4711", "\ngit:\n"}, []string{"\ncurl:\n"}},
		{"text/unknown", "", "http://a.test/", "", "*/*", []string{"Your program used it"}, []string{"on this computer"}},
		{"HTML", "firefox-esr", "/", someAgents["firefox"], html, []string{"The program that asked is <strong>firefox-esr</strong>, process 4711 on this computer.", `id="own">Firefox<`}, nil},
		{"HTML/lost", "mytool", "http://a.test/", "Mozilla/5.0", html, []string{"<strong>mytool is set to use it as a plain HTTP proxy.</strong>", "process 4711"}, nil},
		{"HTML/says-who-it-is", "helper", "http://a.test/", someAgents["chromium"], html, []string{"<strong>Chromium is set", "<strong>helper</strong>"}, nil},
		{"HTML/unknown", "", "/", "Mozilla/5.0", html, nil, []string{"asked is", "4711"}},
		{"HTML/hostile", "<script>alert(1)</script>\r\n\x1b[2J", "http://a.test/", "", html, []string{"&lt;script&gt;alert(1)&lt;/script&gt;??"}, []string{"<script>alert", "\x1b", "\r"}},
		{"text/hostile", "a\r\nSet-Cookie: x\x1b[2J", "http://a.test/", "", "*/*", []string{"a??Set-Cookie: x?[2J (process"}, []string{"\r", "\x1b"}},
	} {
		k := &told{name: tt.program}
		w := see(t, &Page{Listener: Listener{Dialects: everything}, Program: k.program}, visitorFrom(tt.target, tt.agent, tt.accept))
		body := w.Body.String()
		for _, want := range tt.want {
			if !strings.Contains(body, want) {
				t.Errorf("%s: it does not say %q:\n%s", tt.name, want, body)
			}
		}
		for _, not := range tt.not {
			if strings.Contains(body, not) {
				t.Errorf("%s: it says %q:\n%s", tt.name, not, body)
			}
		}
		ends := [2]netip.AddrPort{netip.MustParseAddrPort("192.0.2.9:5000"), netip.MustParseAddrPort("192.0.2.1:1080")}
		if k.asked != 1 || k.ends != ends {
			t.Errorf("%s: asked %d times, for %v", tt.name, k.asked, k.ends)
		}
	}
}

// Where nobody could know it, and for what is no page, nobody asks.
func TestPageAsksForNoProgram(t *testing.T) {
	k := &told{name: "curl"}
	p := &Page{Listener: Listener{Dialects: everything}, Program: k.program}
	see(t, p, visitorFrom("/proxy.pac", "curl/8", "*/*"))
	seeAt(t, p, visitorFrom("/", "curl/8", "*/*"), &net.UnixAddr{Name: "/run/h.sock", Net: "unix"})
	r := visitorFrom("/", "curl/8", "*/*")
	r.RemoteAddr = "invalid AddrPort" // of a Unix socket
	see(t, p, r)
	if k.asked != 0 {
		t.Errorf("asked %d times", k.asked)
	}
	p.Program = nil
	if w := see(t, p, visitorFrom("/", "curl/8", "*/*")); !strings.Contains(w.Body.String(), "Your program spoke") {
		t.Errorf("it says\n%s", w.Body)
	}
}
