package main

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	cdpfetch "github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/chromedp"
	"golang.org/x/crypto/bcrypt"

	"hosier/internal/page"
)

// someBrowser is what a person does in a browser.
type someBrowser interface {
	open(url string) error
	press(t *testing.T) string // the button of the page; returns the browser's name of the failure where nothing opens
	text(t *testing.T) string  // of the page at hand, which has loaded
}

type inFirefox struct{ *firefox }

func (f inFirefox) open(url string) error { return f.browse(url) }

func (f inFirefox) press(t *testing.T) string {
	t.Helper()
	before, at := f.at(t), ""
	f.script(t, `document.querySelector("a.button").click()`)
	await(t, "another page", func() bool {
		at = f.at(t)
		return at != "" && at != before && at != "about:blank" // which it has between two others
	})
	if u, err := url.Parse(at); err == nil && u.Scheme == "about" {
		query, _ := url.ParseQuery(u.RawQuery)
		return query.Get("e")
	}
	return ""
}

type inChromium struct{ tab context.Context }

func (c inChromium) open(url string) error { return chromedp.Do(c.tab, chromedp.Navigate(url)) }

func (c inChromium) press(t *testing.T) string {
	t.Helper()
	_, err := chromedp.RunResponse(c.tab, chromedp.Click(chromedp.CSS("a.button")))
	var failed *chromedp.LoadError
	if errors.As(err, &failed) {
		return failed.ErrorText
	}
	if err != nil {
		t.Fatal(err)
	}
	return ""
}

func (c inChromium) text(t *testing.T) string {
	t.Helper()
	return inBrowser(t, c.tab, chromedp.Evaluate[string]("document.body.innerText"))
}

// strict has Firefox not go past a proxy, as the page says.
func strict(preferences map[string]any) map[string]any {
	preferences["network.proxy.failover_direct"] = false
	preferences["network.proxy.allow_bypass"] = false
	return preferences
}

// firefoxWith sets f up.
func firefoxWith(f *firefox, preferences map[string]any) func(*testing.T) someBrowser {
	return func(t *testing.T) someBrowser {
		f.set(t, strict(preferences), "ann", "secret")
		return inFirefox{f}
	}
}

func chromiumWith(name string, value any) func(*testing.T) someBrowser {
	return func(t *testing.T) someBrowser {
		return inChromium{newBrowser(t, map[string]any{name: value, "ignore-certificate-errors": true})}
	}
}

// manually is what the page has people do in Firefox's settings.
func manually(host string, port int) map[string]any {
	return map[string]any{
		"network.proxy.type": 1, "network.proxy.socks": host, "network.proxy.socks_port": port, "network.proxy.socks_version": 5,
		"network.proxy.socks5_remote_dns": true, // until Firefox 128 it was socks_remote_dns, which is SOCKS4's now
	}
}

func byPAC(url string) map[string]any {
	return map[string]any{"network.proxy.type": 2, "network.proxy.autoconfig_url": url}
}

func byHTTP(host string, port int) map[string]any {
	return map[string]any{
		"network.proxy.type": 1, "network.proxy.http": host, "network.proxy.http_port": port, "network.proxy.ssl": host, "network.proxy.ssl_port": port,
		"network.proxy.share_proxy_settings": true,
	}
}

// pageLine is the line of a request that the page has answered, or the PAC file.
var pageLine = regexp.MustCompile(`reason="HTTP client got the page"`)

// TestCheckInBrowsers does in real browsers what README and page tell people to do: set the
// browser up, open the page of hosier's port, and press the button. On this side no name is
// looked up.
func TestCheckInBrowsers(t *testing.T) {
	t.Parallel()
	if os.Getenv(onSide) == "" {
		s := newSide(t, http.HandlerFunc(serveSite), webName)
		s.again(t)
		s.silent(t)
		return
	}
	dir := t.TempDir()
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir+"/users", "ann:"+string(hash)+"\n")
	writeFile(t, dir+"/hosier.toml", strings.ReplaceAll(`via = "direct"
dns = "127.0.0.1:5353"
[listener.open]
listen = "127.0.0.1:1080"
[listener.users]
listen = "127.0.0.1:1081"
users = "DIR/users"
[listener.lan]
listen = "`+lanAddress+`:1080"
allow-client = "192.168.7.0/24"
[listener.lan-users]
listen = "`+lanAddress+`:1081"
users = "DIR/users"
[[rule]]
to = "`+farAddress+`"
via = "direct"
`, "DIR", dir))
	h := start(t, "--config", dir+"/hosier.toml", "-v", "--listen", "127.0.0.1:0")
	h.awaitListeners(t, 5)
	fox := newFirefox(t, strict(manually("127.0.0.1", 1080))) // from its start, or it asks names of its own
	for _, tt := range []struct {
		name    string
		browser func(*testing.T) someBrowser
		at      string // of the listener
		dialect string
		page    string // that opens
	}{
		{"firefox/manual", firefoxWith(fox, manually("127.0.0.1", 1080)), "127.0.0.1:1080", "SOCKS5", "http://"},
		{"firefox/pac", firefoxWith(fox, byPAC("http://127.0.0.1:1080/proxy.pac")), "127.0.0.1:1080", "SOCKS5", "http://"},
		{"firefox/pac/lan", firefoxWith(fox, byPAC("http://"+lanAddress+":1080/proxy.pac")), lanAddress + ":1080", "SOCKS5", "https://"},
		{"firefox/users", firefoxWith(fox, byHTTP("127.0.0.1", 1081)), "127.0.0.1:1081", "HTTP proxy", "https://"},
		{"firefox/users/lan", firefoxWith(fox, byHTTP(lanAddress, 1081)), lanAddress + ":1081", "HTTP proxy", "https://"},
		{"chromium/flag", chromiumWith("proxy-server", "socks5://127.0.0.1:1080"), "127.0.0.1:1080", "SOCKS5", "http://"},
		{"chromium/pac", chromiumWith("proxy-pac-url", "http://127.0.0.1:1080/proxy.pac"), "127.0.0.1:1080", "SOCKS5", "http://"},
		{"chromium/pac/lan", chromiumWith("proxy-pac-url", "http://"+lanAddress+":1080/proxy.pac"), lanAddress + ":1080", "SOCKS5", "https://"},
		{"chromium/users", chromiumWith("proxy-server", "http://127.0.0.1:1081"), "127.0.0.1:1081", "HTTP proxy", "https://"},
		{"chromium/users/lan", chromiumWith("proxy-server", "http://"+lanAddress+":1081"), lanAddress + ":1081", "HTTP proxy", "https://"},
		{"chromium/users/pac", chromiumWith("proxy-pac-url", "http://"+lanAddress+":1081/proxy.pac"), lanAddress + ":1081", "HTTP proxy", "https://"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			visits := len(pageLine.FindAllString(h.log.String(), -1))
			b := tt.browser(t)
			if strings.Contains(tt.name, "pac") { // a browser without its file would go direct
				await(t, "the browser to load its file", func() bool { return len(pageLine.FindAllString(h.log.String(), -1)) > visits })
			}
			if c, ok := b.(inChromium); ok && tt.dialect != "SOCKS5" {
				logIn(t, c.tab)
			}
			// Typed, the address opens nowhere: a browser asks for it as if a web page had.
			if err := b.open("http://" + page.CheckName + "/"); tt.dialect == "SOCKS5" && err == nil {
				t.Errorf("typed, the address of the check opens: %s", b.text(t))
			}
			if err := b.open("http://" + tt.at + "/"); err != nil {
				t.Fatal(err)
			}
			if failure := b.press(t); failure != "" {
				t.Fatal(failure)
			}
			if text := b.text(t); !strings.Contains(text, "It works") || !strings.Contains(text, tt.dialect) {
				t.Errorf("the check says %s", text)
			}
			if err := b.open(tt.page + webName + "/"); err != nil {
				t.Fatal(err)
			}
			if text := b.text(t); !strings.Contains(text, "you reached "+webName) {
				t.Errorf("the page by the proxy says %s", text)
			}
		})
	}
}

// logIn has Chromium log in at the proxy as ann, as it does for who knows the password.
func logIn(t *testing.T, tab context.Context) {
	t.Helper()
	yes := true
	answer := func(do func(context.Context, *chromedp.Target) (cdp.Empty, error)) {
		go chromedp.Run(tab, chromedp.Action[cdp.Empty](do)) // Listen's function must not wait; the page shows whether it worked
	}
	err := chromedp.Listen(tab, func(ev any) {
		switch ev := ev.(type) {
		case *cdpfetch.EventRequestPaused:
			answer(func(ctx context.Context, t *chromedp.Target) (cdp.Empty, error) {
				return cdp.Call(ctx, t, cdpfetch.ContinueRequest, cdpfetch.ContinueRequestParams{RequestID: ev.RequestID})
			})
		case *cdpfetch.EventAuthRequired:
			answer(func(ctx context.Context, t *chromedp.Target) (cdp.Empty, error) {
				return cdp.Call(ctx, t, cdpfetch.ContinueWithAuth, cdpfetch.ContinueWithAuthParams{
					RequestID:             ev.RequestID,
					AuthChallengeResponse: &cdpfetch.AuthChallengeResponse{Response: cdpfetch.AuthChallengeResponseResponseProvideCredentials, Username: "ann", Password: "secret"},
				})
			})
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	inBrowser(t, tab, func(ctx context.Context, t *chromedp.Target) (cdp.Empty, error) {
		return cdp.Call(ctx, t, cdpfetch.Enable, cdpfetch.EnableParams{HandleAuthRequests: &yes})
	})
}

// unloaded are names that browsers are to open whose PAC file cannot be loaded.
var unloaded = map[string]string{"firefox": "firefox.hosier.test", "chromium": "chromium.hosier.test"}

// TestCheckWithoutProxy: what the page says of a browser that cannot find the check's server.
func TestCheckWithoutProxy(t *testing.T) {
	t.Parallel()
	if os.Getenv(onSide) == "" {
		s := newSide(t, http.HandlerFunc(serveSite))
		s.again(t)
		if !s.local.Asked(page.CheckName) {
			t.Error("a browser that asked a DNS server was not seen to")
		}
		for _, name := range unloaded {
			if !s.local.Asked(name) {
				t.Errorf("a browser without its PAC file did not go past the proxy to %s, as the page says", name)
			}
		}
		return
	}
	h := start(t, "--listen", "127.0.0.1:1080")
	fox := newFirefox(t, nil)
	for name, browser := range map[string]func(*testing.T) someBrowser{
		"firefox":  firefoxWith(fox, byPAC("http://127.0.0.1:9/proxy.pac")),
		"chromium": chromiumWith("proxy-pac-url", "http://127.0.0.1:9/proxy.pac"),
	} {
		t.Run(name+"/unloaded", func(t *testing.T) {
			if b := browser(t); b.open("http://"+unloaded[name]+"/") == nil {
				t.Errorf("there is a page of %s", unloaded[name])
			}
		})
	}
	looksUp := manually("127.0.0.1", 1080)
	looksUp["network.proxy.socks5_remote_dns"] = false
	// Chromium blames a name that is not found on the network, where that is loopback alone.
	for name, tt := range map[string]struct {
		browser func(*testing.T) someBrowser
		failure string
	}{
		"firefox/none":     {firefoxWith(fox, map[string]any{"network.proxy.type": 0}), "dnsNotFound"},
		"firefox/looks-up": {firefoxWith(fox, looksUp), "dnsNotFound"},
		"chromium/none":    {chromiumWith("no-proxy-server", true), "net::ERR_INTERNET_DISCONNECTED"},
	} {
		t.Run(name, func(t *testing.T) {
			b := tt.browser(t)
			if err := b.open("http://" + h.addr() + "/"); err != nil {
				t.Fatal(err)
			}
			if failure := b.press(t); failure != tt.failure {
				t.Errorf("the browser says %q, want %q", failure, tt.failure)
			}
		})
	}
}
