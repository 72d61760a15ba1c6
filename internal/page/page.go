// Package page is what people see who reach a SOCKS port by HTTP: the page that tells how
// to set their program up, a proxy auto-configuration file for browsers, and the answer to
// whether it works. It loads nothing from anywhere, sets no cookie, works without scripts,
// and looks no name up.
package page

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	texttemplate "text/template"
	"time"
	"unicode"
)

var (
	//go:embed page.html
	pageHTML string
	//go:embed check.html
	checkHTML string
	//go:embed page.css
	style string
	//go:embed page.js
	script string
	//go:embed page.txt
	pageText string

	templates = template.Must(template.Must(template.New("page").Parse(pageHTML)).New("check").Parse(checkHTML))
	textPage  = texttemplate.Must(texttemplate.New("page.txt").Funcs(texttemplate.FuncMap{"indent": indent}).Parse(pageText))
)

// Dialects are those that a listener serves. The zero value is none.
type Dialects struct{ SOCKS4, SOCKS5, CONNECT bool }

// Listener is the way in that a page speaks of. It must not change while it is in use.
type Listener struct {
	Dialects
	Users bool   // clients must log in with a password
	TLS   bool   // dialects are spoken inside TLS
	Rules []Rule // for the auto-configuration file

	// Names are host names by which clients know the listener, in lower case.
	Names []string
}

// Page is a handler for the port of a proxy. Whoever serves it has seen to it that only
// those ask who may know of the port. It may serve many requests at once.
type Page struct {
	Listener
	Check *Check // answers whether a program's settings work; nil leaves that out

	// Login judges the name and password of a client that takes this for its HTTP proxy, and
	// asks for the check of its settings. Nil takes everybody's.
	Login func(*http.Request) error

	// Program finds the program of this host that is connected from one address to the
	// other; the name is empty if it is not known. It is asked once for each page, whose
	// client waits for it. Nil knows none.
	Program func(ctx context.Context, client, server netip.AddrPort) (name string, pid int)
}

// ServeHTTP answers /proxy.pac and /wpad.dat, which browsers look for by themselves (WPAD), and anything else with the page. The request's context
// must have an [http.LocalAddrContextKey].
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	lost := p.isLost(r, local)
	at := p.addressOf(r, local, lost)
	get := isGet(r)
	if get && p.Check.isLinkOf(r, time.Now()) {
		p.serveCheck(w, r)
		return
	}
	if !lost && get && isPAC(r.URL.Path) && at.Host != "" {
		p.ServePAC(w, r, at.String())
		return
	}
	d := p.data(r, at, lost)
	d.Asker, d.PID = p.asker(r, local)
	if d.Program == nil {
		d.tellFirst(d.Asker)
	}
	protect(w.Header())
	w.Header().Set("Allow", "CONNECT, OPTIONS")
	code := http.StatusNotImplemented
	if !isBrowser(r) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(code)
		must(textPage.Execute(w, d))
		return
	}
	if !lost && get && r.URL.Path == "/" { // it is what was asked for
		code = http.StatusOK
	}
	writeHTML(w, code, "page", d)
}

// serveCheck answers a link of the Check to a browser that wants it fetched, which is how
// a browser with an HTTP proxy gets an http:// page. With users it has to log in as it would
// for a tunnel: it shows no password until it is asked for one.
func (p *Page) serveCheck(w http.ResponseWriter, r *http.Request) {
	if p.Login != nil && p.Login(r) != nil {
		protect(w.Header())
		w.Header().Set("Proxy-Authenticate", `Basic realm="hosier"`)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusProxyAuthRequired)
		io.WriteString(w, "hosier: this proxy requires a user name and a password, and these are missing or wrong\n")
		return
	}
	writeHTML(w, http.StatusOK, "check", &seen{
		Dialect: "HTTP proxy", Isolated: r.Header.Get("Proxy-Authorization") != "", Fetches: true,
		CSS: template.CSS(style), JS: template.JS(script),
	})
}

// isLost reports whether the client takes this for its HTTP proxy, and wants something
// else of it than what this port itself has.
func (l *Listener) isLost(r *http.Request, local net.Addr) bool {
	if !r.URL.IsAbs() {
		return false
	}
	tcp, ok := local.(*net.TCPAddr)
	port := r.URL.Port()
	if port == "" {
		port = "80"
	}
	if !ok || r.URL.Scheme != "http" || port != strconv.Itoa(tcp.Port) {
		return true
	}
	host := strings.ToLower(r.URL.Hostname())
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap() != tcp.AddrPort().Addr().Unmap()
	}
	return !(host == "localhost" && tcp.IP.IsLoopback()) && !slices.Contains(l.Names, strings.TrimSuffix(host, "."))
}

// address is where clients reach the listener; a path if it is a Unix socket.
type address struct{ Host, Port, Path string }

func (a address) String() string {
	if a.Host == "" {
		return ""
	}
	return net.JoinHostPort(a.Host, a.Port)
}

func isPAC(path string) bool { return path == "/proxy.pac" || path == "/wpad.dat" }

// addressOf is the address that the client came to, or a loopback one or a name of the
// listener that it says it came to: the port of a container or a tunnel may have another
// number outside, and a certificate is for a name.
func (l *Listener) addressOf(r *http.Request, local net.Addr, lost bool) (a address) {
	switch local := local.(type) {
	case *net.TCPAddr:
		ap := local.AddrPort()
		a = address{Host: ap.Addr().Unmap().String(), Port: strconv.Itoa(int(ap.Port()))}
	case *net.UnixAddr:
		return address{Path: local.Name}
	}
	host, port, err := net.SplitHostPort(r.Host)
	if err != nil && l.TLS { // whose port is in the name of https
		host, port, err = r.Host, "443", nil
	}
	if n, e := strconv.ParseUint(port, 10, 16); err != nil || e != nil || n == 0 || lost {
		return a
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsLoopback() && ip.Zone() == "" {
		return address{Host: ip.Unmap().String(), Port: port}
	} else if strings.EqualFold(host, "localhost") {
		return address{Host: "127.0.0.1", Port: port}
	}
	if i := slices.Index(l.Names, strings.ToLower(strings.TrimSuffix(host, "."))); i >= 0 {
		return address{Host: l.Names[i], Port: port}
	}
	return a
}

// asker is the program that sent the request, if it is one of this host.
func (p *Page) asker(r *http.Request, local net.Addr) (name string, pid int) {
	client, err := netip.ParseAddrPort(r.RemoteAddr)
	server, ok := local.(*net.TCPAddr)
	if p.Program == nil || err != nil || !ok {
		return "", 0
	}
	name, pid = p.Program(r.Context(), client, server.AddrPort())
	return strings.Map(printable, name), pid
}

// printable keeps a name, which any program may choose, in its line.
func printable(r rune) rune {
	if unicode.IsGraphic(r) {
		return r
	}
	return '?'
}

// data is all that differs from page to page. Of what the client sent, nothing is in it
// but a port number.
type data struct {
	Asker     string // the name of the program that asked; "" if it is not known
	PID       int
	Address   address
	Lost      bool // the client took this for an HTTP proxy
	Users     bool
	Secure    bool // it speaks TLS
	Dialects  string
	Lookup    bool     // the fix is about who looks names up
	Program   *Program // that asked; nil if it is none of Programs
	Programs  []Program
	PAC       string // URL
	CheckURL  string
	CheckName string
	CheckLine string // for a shell; "" if curl speaks no dialect of the listener in which it leads to the check
	CSS       template.CSS
	JS        template.JS

	FirefoxAsks string
}

func (p *Page) data(r *http.Request, at address, lost bool) *data {
	d := &data{
		Address: at, Lost: lost, Users: p.Users, Secure: p.TLS, Dialects: p.words(),
		Programs: p.programs(at), CheckName: CheckName, FirefoxAsks: firefoxAsks, CSS: template.CSS(style), JS: template.JS(script),
	}
	d.Lookup = (p.SOCKS5 || p.SOCKS4) && !p.TLS
	d.tellFirst(programOf(r.UserAgent()))
	if at.Host != "" {
		d.PAC = "http://" + at.String() + "/proxy.pac"
		if p.TLS {
			d.PAC = "https://" + at.String() + "/proxy.pac"
		}
	}
	if p.Check != nil {
		d.CheckURL = p.Check.URL(time.Now())
		d.CheckLine = p.checkLine(at)
	}
	return d
}

// tellFirst puts the program with this ID before the others, if it is one of them.
func (d *data) tellFirst(id string) {
	for i := range d.Programs {
		if d.Programs[i].ID == id {
			d.Program = &d.Programs[i]
		}
	}
}

// words names the dialects.
func (l *Listener) words() string {
	var all []string
	for _, d := range []struct {
		on   bool
		name string
	}{{l.SOCKS5, "SOCKS5"}, {l.SOCKS4, "SOCKS4, SOCKS4A"}, {l.CONNECT, "HTTP CONNECT"}} {
		if d.on {
			all = append(all, d.name)
		}
	}
	text := strings.Join(all, ", ")
	if i := strings.LastIndex(text, ", "); i >= 0 {
		text = text[:i] + " and " + text[i+2:]
	}
	if l.TLS {
		text += " inside TLS"
	}
	return text
}

// isBrowser reports whether the client can show HTML.
func isBrowser(r *http.Request) bool { return strings.Contains(r.Header.Get("Accept"), "text/html") }

// indent sets the lines of text off.
func indent(text string) string { return "    " + strings.ReplaceAll(text, "\n", "\n    ") }

// policy is for pages with our style and script, an icon that is none, and nothing else.
var policy = "default-src 'none'; img-src data:; style-src '" + hash(style) + "'; script-src '" + hash(script) +
	"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

func writeHTML(w http.ResponseWriter, code int, name string, data any) {
	var b bytes.Buffer
	must(templates.ExecuteTemplate(&b, name, data))
	protect(w.Header())
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", policy)
	w.WriteHeader(code)
	w.Write(b.Bytes())
}

// protect keeps other pages from reading an answer, or finding out that there is one.
func protect(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
}

// must is for templates that are part of the program, filled with its own data.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
