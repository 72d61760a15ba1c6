package page

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var everything = Dialects{SOCKS4: true, SOCKS5: true, CONNECT: true}

// The User-Agents of programs as they are.
var someAgents = map[string]string{
	"firefox":  "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
	"chromium": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36",
	"curl":     "curl/8.14.1",
	"wget":     "Wget/1.21.3",
	"git":      "git/2.47.3",
	"pip":      `pip/25.1.1 {"ci":null,"cpu":"x86_64"}`,
	"npm":      "npm/11.19.1 node/v20.20.2 linux x64 workspaces/false",
	"requests": "python-requests/2.32.3",
	"apt":      "Debian APT-HTTP/1.3 (3.0.3)",
	"go":       "Go-http-client/1.1",
	"java":     "Java/17.0.16",
	"":         "Lynx/2.9.2",
}

// see returns what a client gets that came to 192.0.2.1:1080.
func see(t *testing.T, h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	local := net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:1080"))
	return seeAt(t, h, r, local)
}

func seeAt(t *testing.T, h http.Handler, r *http.Request, local net.Addr) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, local)))
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "Cross-Origin-Resource-Policy": "same-origin", "X-Content-Type-Options": "nosniff",
		"Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if policy := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("Content-Security-Policy is %q", policy)
	}
	for name := range w.Header() {
		if name == "Set-Cookie" || strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("there is a %s", name)
		}
	}
	return w
}

func request(method, target, agent, accept string) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	r.Host = "192.0.2.1:1080"
	r.RequestURI = target
	r.Header.Set("User-Agent", agent)
	r.Header.Set("Accept", accept)
	return r
}

const html = "text/html,application/xhtml+xml,*/*;q=0.8"

// Each program gets its own line, in words that leave names to the proxy.
func TestPagePrograms(t *testing.T) {
	for _, tt := range []struct {
		name string
		Listener
		lines map[string]string // by program
	}{
		{"all", Listener{Dialects: everything}, map[string]string{
			"firefox":  "SOCKS Host: 192.0.2.1, Port: 1080",
			"chromium": `--proxy-server="socks5://192.0.2.1:1080"`,
			"curl":     "curl -x socks5h://192.0.2.1:1080 URL",
			"wget":     "https_proxy=http://192.0.2.1:1080",
			"git":      "http.proxy socks5h://192.0.2.1:1080",
			"pip":      "--proxy socks5h://192.0.2.1:1080",
			"npm":      "https-proxy socks5h://192.0.2.1:1080",
			"requests": "ALL_PROXY=socks5h://192.0.2.1:1080",
			"apt":      `Acquire::http::Proxy "socks5h://192.0.2.1:1080";`,
			"go":       "HTTPS_PROXY=socks5h://192.0.2.1:1080",
			"java":     "-Dhttps.proxyHost=192.0.2.1 -Dhttps.proxyPort=1080",
			"":         "ncat --proxy 192.0.2.1:1080 --proxy-type socks5 --proxy-dns remote",
		}},
		{"users", Listener{Dialects: everything, Users: true}, map[string]string{
			"firefox":  "HTTP Proxy: 192.0.2.1, Port: 1080, tick “Also use",
			"chromium": `--proxy-server="http://192.0.2.1:1080"`,
			"curl":     "curl -x socks5h://USER:PASSWORD@192.0.2.1:1080 URL",
			"java":     "Java has no option for a proxy password",
			"":         "--proxy-auth USER:PASSWORD",
		}},
		{"users of SOCKS5", Listener{Dialects: Dialects{SOCKS5: true}, Users: true}, map[string]string{
			"firefox":  "Firefox supports none of this listener's protocols",
			"chromium": "Chromium supports none of this listener's protocols",
			"wget":     "wget supports none of this listener's protocols",
		}},
		{"SOCKS4", Listener{Dialects: Dialects{SOCKS4: true}}, map[string]string{
			"firefox": "Firefox supports none of this listener's protocols",
			"curl":    "curl -x socks4a://192.0.2.1:1080 URL",
			"java":    "Java supports none of this listener's protocols",
		}},
		{"CONNECT", Listener{Dialects: Dialects{CONNECT: true}}, map[string]string{
			"firefox": "HTTP Proxy: 192.0.2.1, Port: 1080, tick “Also use",
			"curl":    "curl -x http://192.0.2.1:1080 URL --proxytunnel",
			"java":    "-Dhttps.proxyHost=192.0.2.1",
			"":        "--proxy-type http",
		}},
		{"TLS", Listener{Dialects: everything, TLS: true}, map[string]string{
			"firefox":  "https://192.0.2.1:1080/proxy.pac",
			"chromium": `--proxy-server="https://192.0.2.1:1080"`,
			"curl":     "curl -x https://192.0.2.1:1080 URL --proxytunnel",
			"java":     "Java supports none of this listener's protocols",
		}},
	} {
		for id, line := range tt.lines {
			for _, accept := range []string{html, "*/*"} {
				t.Run(tt.name+"/"+id+"/"+accept[:3], func(t *testing.T) {
					w := see(t, &Page{Listener: tt.Listener}, request("GET", "/", someAgents[id], accept))
					body := w.Body.String()
					if accept == html {
						body, _, _ = strings.Cut(body, `id="others"`)
						if id == "" {
							_, body, _ = strings.Cut(w.Body.String(), `id="others"`)
						}
						body = strings.NewReplacer("&#34;", `"`, "&#39;", "'").Replace(body)
					}
					if !strings.Contains(body, line) {
						t.Errorf("the page does not say %q:\n%s", line, body)
					}
					if strings.Contains(body, "ALL_PROXY=socks5://") || strings.Contains(body, "-x socks5://") || strings.Contains(body, "ALL_PROXY=socks4://") {
						t.Errorf("the page tells how to leak:\n%s", body)
					}
				})
			}
		}
	}
}

// A page knows whether it was met by accident.
func TestPageVisits(t *testing.T) {
	p := &Page{Listener: Listener{Dialects: everything}, Check: NewCheck()}
	agent := someAgents["firefox"]
	for _, tt := range []struct {
		name, method, target, accept string
		code                         int
		says                         string
	}{
		{"visit", "GET", "/", html, 200, "It listens on <code>192.0.2.1:1080</code>"},
		{"another path", "GET", "/other", html, 501, "It listens on"},
		{"WPAD", "GET", "/wpad.dat", "*/*", 200, "FindProxyForURL"},
		{"visit by itself as HTTP proxy", "GET", "http://192.0.2.1:1080/", html, 200, "It listens on <code>192.0.2.1:1080</code>"},
		{"another port by HTTP proxy", "GET", "http://192.0.2.1:8080/", html, 501, "plain HTTP proxy"},
		{"localhost by HTTP proxy", "GET", "http://localhost:1080/", html, 501, "plain HTTP proxy"},
		{"another scheme by HTTP proxy", "GET", "ftp://192.0.2.1:1080/proxy.pac", html, 501, "plain HTTP proxy"},
		{"HTTP proxy", "GET", "http://example.test/", html, 501, "Firefox is set to use it as a plain HTTP proxy"},
		{"picture by HTTP proxy", "GET", "http://example.test/a.png", "image/*", 501, "used it as a plain HTTP proxy"},
		{"PAC of elsewhere by HTTP proxy", "GET", "http://example.test/proxy.pac", html, 501, "plain HTTP proxy"},
		{"PAC by HTTP proxy", "GET", "http://192.0.2.1:1080/proxy.pac", "*/*", 200, "FindProxyForURL"},
		{"PAC", "GET", "/proxy.pac", "*/*", 200, "FindProxyForURL"},
		{"PAC by POST", "POST", "/proxy.pac", "*/*", 501, "SOCKS proxy"},
		{"check", "GET", "/", html, 200, `href="http://check.hosier.invalid/`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := see(t, p, request(tt.method, tt.target, agent, tt.accept))
			if w.Code != tt.code || !strings.Contains(w.Body.String(), tt.says) {
				t.Errorf("%d, want %d; it should say %q:\n%s", w.Code, tt.code, tt.says, w.Body)
			}
		})
	}
}

// Over an HTTP proxy a browser gets the check as a whole URL, once it has logged in; without
// the key of a page, and from nobody else's server, it gets what every whole URL gets.
func TestPageFetchesCheck(t *testing.T) {
	check := NewCheck()
	link := check.URL(time.Now())
	wrong := func(*http.Request) error { return errors.New("wrong") }
	for _, tt := range []struct {
		name, method, target string
		login                func(*http.Request) error
		code                 int
		says                 string
	}{
		{"link", "GET", link, nil, 200, "<dd>HTTP proxy</dd>"},
		{"link, port", "GET", strings.Replace(link, CheckName, CheckName+":80", 1), nil, 200, "It works"},
		{"HEAD", "HEAD", link, nil, 200, ""},
		{"logged in", "GET", link, func(*http.Request) error { return nil }, 200, "It works"},
		{"not logged in", "GET", link, wrong, 407, "hosier: this proxy requires"},
		{"typed", "GET", "http://" + CheckName + "/", nil, 501, "plain HTTP proxy"},
		{"typed, not logged in", "GET", "http://" + CheckName + "/", wrong, 501, "plain HTTP proxy"},
		{"another key", "GET", NewCheck().URL(time.Now()), nil, 501, "plain HTTP proxy"},
		{"another port", "GET", strings.Replace(link, CheckName, CheckName+":81", 1), nil, 501, "plain HTTP proxy"},
		{"another host", "GET", strings.Replace(link, CheckName, "evil.test", 1), nil, 501, "plain HTTP proxy"},
		{"another scheme", "GET", strings.Replace(link, "http", "ftp", 1), nil, 501, "plain HTTP proxy"},
		{"POST", "POST", link, nil, 501, "plain HTTP proxy"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &Page{Listener: Listener{Dialects: everything}, Check: check, Login: tt.login}
			w := see(t, p, request(tt.method, tt.target, someAgents["firefox"], html))
			if w.Code != tt.code || !strings.Contains(w.Body.String(), tt.says) || (w.Header().Get("Proxy-Authenticate") != "") != (tt.code == 407) {
				t.Errorf("%d %v, want %d; it should say %q:\n%s", w.Code, w.Header(), tt.code, tt.says, w.Body)
			}
		})
	}
}

// Nothing that a client sends comes back, nor does anything outside get loaded.
func TestPageBadInput(t *testing.T) {
	p := &Page{Listener: Listener{Dialects: everything}, Check: NewCheck()}
	const canary = `c4n4ry"><script>alert(1)</script>`
	for name, change := range map[string]func(*http.Request){
		"path":      func(r *http.Request) { r.URL.Path = "/" + canary },
		"traversal": func(r *http.Request) { r.URL.Path = "/../../proxy.pac/" + canary },
		"double":    func(r *http.Request) { r.URL.Path = "//proxy.pac" + canary },
		"query":     func(r *http.Request) { r.URL.RawQuery = canary },
		"PAC query": func(r *http.Request) { r.URL.Path, r.URL.RawQuery = "/proxy.pac", canary },
		"host":      func(r *http.Request) { r.Host = canary },
		"host port": func(r *http.Request) { r.Host = "localhost:" + canary },
		"PAC host":  func(r *http.Request) { r.URL.Path, r.Host = "/proxy.pac", "localhost:1);alert(1);//"+canary },
		"zone":      func(r *http.Request) { r.URL.Path, r.Host = "/proxy.pac", "[::1%"+canary+"]:1" },
		"target":    func(r *http.Request) { r.URL.Scheme, r.URL.Host = "http", canary },
		"agent":     func(r *http.Request) { r.Header.Set("User-Agent", "Firefox/"+canary) },
		"referer":   func(r *http.Request) { r.Header.Set("Referer", "http://"+canary) },
		"injection": func(r *http.Request) { r.Header.Set("User-Agent", "curl/\r\nSet-Cookie: "+canary) },
		"method":    func(r *http.Request) { r.Method = "c4n4ry" },
		"large":     func(r *http.Request) { r.Header.Set("Cookie", strings.Repeat("c4n4ry", 1000)) },
	} {
		for _, accept := range []string{html, "*/*"} {
			t.Run(name+"/"+accept[:3], func(t *testing.T) {
				r := request("GET", "/", "Mozilla/5.0", accept)
				change(r)
				w := see(t, p, r)
				all := fmt.Sprint(w.Header(), w.Body)
				if strings.Contains(all, "c4n4ry") || strings.Contains(all, "alert(") {
					t.Errorf("it repeats what it was sent: %s", all)
				}
				for _, outside := range []string{"src=", "url(", "@import", "<form", "onclick", "style="} {
					if strings.Contains(w.Body.String(), outside) {
						t.Errorf("it has %q", outside)
					}
				}
				for _, part := range strings.Split(w.Body.String(), `href="`)[1:] {
					if !strings.HasPrefix(part, "data:,\"") && !strings.HasPrefix(part, "http://"+CheckName+"/") {
						t.Errorf("it leads to %.40q", part)
					}
				}
			})
		}
	}
}

func TestPageAddress(t *testing.T) {
	p := &Page{Listener: Listener{Dialects: everything}}
	for _, tt := range []struct {
		local, host, want string
	}{
		{"192.0.2.1:1080", "192.0.2.1:1080", "socks5h://192.0.2.1:1080 "},
		{"192.0.2.1:1080", "", "socks5h://192.0.2.1:1080 "},
		{"172.17.0.2:1080", "localhost:8080", "socks5h://127.0.0.1:8080 "}, // the port of a container
		{"172.17.0.2:1080", "127.0.0.1:8080", "socks5h://127.0.0.1:8080 "},
		{"127.0.0.1:1080", "localhost", "socks5h://127.0.0.1:1080 "},
		{"127.0.0.1:1080", "evil.test:99", "socks5h://127.0.0.1:1080 "},
		{"127.0.0.1:1080", "localhost:0", "socks5h://127.0.0.1:1080 "},
		{"127.0.0.1:1080", "localhost:65536", "socks5h://127.0.0.1:1080 "},
		{"[::1]:1080", "[::1]:1080", "socks5h://[::1]:1080 "},
		{"[::ffff:192.0.2.1]:1080", "192.0.2.1:1080", "socks5h://192.0.2.1:1080 "},
	} {
		r := request("GET", "/", "curl/8", "*/*")
		r.Host = tt.host
		w := seeAt(t, p, r, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(tt.local)))
		if !strings.Contains(w.Body.String(), tt.want) {
			t.Errorf("%+v: the page says\n%s", tt, w.Body)
		}
	}
	lan := Listener{Dialects: everything, Names: []string{"gateway.lan", "wpad"}}
	for _, tt := range []struct {
		Listener
		host, target, want string
	}{
		{lan, "gateway.lan:1080", "/", "socks5h://gateway.lan:1080 "},
		{lan, "GATEWAY.lan.:8080", "/", "socks5h://gateway.lan:8080 "}, // a port that is forwarded
		{lan, "gateway.lan:1080", "/proxy.pac", `"SOCKS5 gateway.lan:1080; PROXY`},
		{lan, "gateway.lan:1080", "http://gateway.lan:1080/proxy.pac", `"SOCKS5 gateway.lan:1080; PROXY`},
		{lan, "gateway.lan:99", "http://gateway.lan:99/proxy.pac", "used it as a plain HTTP proxy"},
		{lan, "wpad", "/wpad.dat", `"SOCKS5 192.0.2.1:1080; PROXY`}, // no name that a browser would look up
		{lan, "evil.test:1080", "/", "socks5h://192.0.2.1:1080 "},
		{Listener{Dialects: everything, Names: lan.Names, TLS: true}, "gateway.lan", "/", "https://gateway.lan:443 "},
		{Listener{Dialects: everything, Names: lan.Names, TLS: true}, "gateway.lan:1443", "/proxy.pac", `"HTTPS gateway.lan:1443"`},
	} {
		r := request("GET", tt.target, "curl/8", "*/*")
		r.Host = tt.host
		if w := see(t, &Page{Listener: tt.Listener}, r); !strings.Contains(w.Body.String(), tt.want) {
			t.Errorf("%s %s: it does not say %q:\n%s", tt.host, tt.target, tt.want, w.Body)
		}
	}
	for _, target := range []string{"/", "/proxy.pac"} {
		w := seeAt(t, p, request("GET", target, "curl/8", "*/*"), &net.UnixAddr{Name: "/run/h.sock", Net: "unix"})
		if !strings.Contains(w.Body.String(), "curl -x socks5h://localhost/run/h.sock URL") || strings.Contains(w.Body.String(), "pac") {
			t.Errorf("on a Unix socket the page says\n%s", w.Body)
		}
	}
}
