package page

import (
	"slices"
	"strings"
)

// Program is what to do in one program.
type Program struct {
	ID, Name string
	Steps    []string // in words
	Lines    []string // to copy
	Note     string
}

// agents are parts of the User-Agent of programs that a page knows, the first that fits.
var agents = []struct{ part, id string }{
	{"Firefox/", "firefox"},
	{"Chrome/", "chromium"}, // Edge, Opera and others say so, too
	{"Chromium/", "chromium"},
	{"curl/", "curl"},
	{"Wget", "wget"},
	{"git/", "git"},
	{"pip/", "pip"},
	{"npm/", "npm"},
	{"python-requests/", "requests"},
	{"Debian APT", "apt"},
	{"Go-http-client/", "go"},
	{"Java", "java"}, // Java/17, Java-http-client/17
}

// programOf returns the ID of the program that says this of itself; "" if none is known.
func programOf(agent string) string {
	for _, a := range agents {
		if strings.Contains(agent, a.part) {
			return a.id
		}
	}
	return ""
}

// The schemes of proxy URLs, as curl has them, in the order in which they are preferred.
// With all of them names are left to the proxy.
const (
	socks5h = "socks5h"
	socks4a = "socks4a"
	connect = "http"
	secure  = "https" // CONNECT inside TLS
)

// schemes are those by which the listener can be used.
func (l *Listener) schemes() (all []string) {
	switch {
	case l.TLS && l.CONNECT:
		return []string{secure}
	case l.TLS:
		return nil
	}
	if l.SOCKS5 {
		all = append(all, socks5h)
	}
	if l.SOCKS4 && !l.Users { // which has no passwords
		all = append(all, socks4a)
	}
	if l.CONNECT {
		all = append(all, connect)
	}
	return all
}

// way is how a program is to reach the listener.
type way struct {
	address
	Scheme, At, Login string // At is host:port, Login is USER:PASSWORD@ or empty
	connects          bool   // HTTP CONNECT is served, too
	pac               string // URL of the auto-configuration file
}

func (w *way) url() string { return w.Scheme + "://" + w.Login + w.At }

// known are the programs with their schemes and what to do, given one of these.
var known = []struct {
	id, name string
	schemes  string
	fill     func(*Program, *way)
}{
	{"firefox", "Firefox", "socks5h http https", firefox},
	{"chromium", "Chromium", "socks5h http https", chromium},
	{"curl", "curl", "socks5h socks4a http https", curl},
	{"git", "git", "socks5h socks4a http https", git},
	{"wget", "wget", "http", wget},
	{"ssh", "ssh", "socks5h http", ssh},
	{"apt", "apt", "socks5h http https", apt},
	{"pip", "pip", "socks5h socks4a http https", pip},
	{"npm", "npm", "socks5h socks4a http https", npm},
	{"requests", "Python requests", "socks5h socks4a http https", requests},
	{"go", "Go programs", "socks5h http https", goes},
	{"java", "Java", "socks5h http", java},
	{"systemd", "systemd services", "socks5h socks4a http https", systemd},
}

// programs are all that can use the listener, and how.
func (l *Listener) programs(at address) (all []Program) {
	if at.Path != "" {
		return []Program{unixCurl(at.Path)}
	}
	offered := l.schemes()
	for _, k := range known {
		p, can := Program{ID: k.id, Name: k.name}, strings.Fields(k.schemes)
		w := &way{address: at, At: at.String(), connects: l.CONNECT && !l.TLS, pac: "http://" + at.String() + "/proxy.pac"}
		if l.TLS {
			w.pac = "https://" + at.String() + "/proxy.pac"
		}
		if l.Users {
			w.Login = "USER:PASSWORD@"
		}
		browser := k.id == "firefox" || k.id == "chromium"
		i := slices.IndexFunc(offered, func(s string) bool {
			return slices.Contains(can, s) && !(browser && l.Users && s == socks5h) // they send no SOCKS passwords
		})
		if i < 0 {
			p.Note = k.name + " speaks none of the dialects of this listener."
		} else {
			w.Scheme = offered[i]
			k.fill(&p, w)
		}
		all = append(all, p)
	}
	return all
}

func unixCurl(path string) Program {
	return Program{
		ID: "curl", Name: "curl", Lines: []string{"curl -x socks5h://localhost" + path + " URL"},
		Note: "Of the programs known here, only curl reaches a proxy by a Unix socket.",
	}
}

const tunnelsOnly = "By HTTP CONNECT it opens https:// pages alone."

func firefox(p *Program, w *way) {
	p.Steps = []string{"Open Settings, search for “proxy”, and press “Settings…”."}
	if w.Scheme != socks5h {
		p.Steps = append(p.Steps, "Choose “Automatic proxy configuration URL”, and enter this address:")
		p.Lines = []string{w.pac}
		p.Note = "Firefox cannot send SOCKS passwords. It asks for name and password when it opens the first page. " + tunnelsOnly
		if w.Login == "" {
			p.Note = tunnelsOnly
		}
		return
	}
	p.Steps = append(p.Steps,
		"Choose “Manual proxy configuration”, and empty the fields “HTTP Proxy” and “HTTPS Proxy”.",
		"SOCKS Host: "+w.Host+", Port: "+w.Port+", and “SOCKS v5”.",
		"Tick “Proxy DNS when using SOCKS v5”, and press OK.")
	p.Note = "The address below does the same under “Automatic proxy configuration URL”; tick “Proxy DNS when using SOCKS v5” then, too."
}

func chromium(p *Program, w *way) {
	p.Steps = []string{"Close all windows of Chromium, Chrome or Edge, and start it with:"}
	switch {
	case w.Scheme == socks5h: // Chromium's own socks5:// leaves names to the proxy
		p.Lines = []string{`chromium --proxy-server="socks5://` + w.At + `"`, `chromium --proxy-pac-url="` + w.pac + `"`}
		p.Note = "Either is enough. Chromium leaves names to a SOCKS5 proxy, but cannot send it a password. Do not write socks4://: it has no names."
	case w.Login != "":
		p.Lines = []string{`chromium --proxy-server="` + w.Scheme + "://" + w.At + `"`}
		p.Note = "Chromium cannot send SOCKS passwords. This way it asks for name and password. " + tunnelsOnly
	default:
		p.Lines = []string{`chromium --proxy-server="` + w.Scheme + "://" + w.At + `"`}
		p.Note = tunnelsOnly
	}
}

func curl(p *Program, w *way) {
	tunnel := ""
	if w.Scheme == connect || w.Scheme == secure {
		tunnel = " --proxytunnel"
	}
	p.Lines = []string{"curl -x " + w.url() + " URL" + tunnel}
	if tunnel == "" {
		p.Lines = append(p.Lines, "export ALL_PROXY="+w.url())
	}
}

func git(p *Program, w *way) {
	p.Lines = []string{"git config --global http.proxy " + w.url()}
	p.Note = "This is for https:// remotes. Those by ssh go the way of ssh."
}

func wget(p *Program, w *way) {
	p.Lines = []string{"https_proxy=" + w.url() + " wget https://HOST/FILE"}
	p.Note = "wget speaks no SOCKS: it reaches https:// addresses alone, by HTTP CONNECT. curl does both."
}

func ssh(p *Program, w *way) {
	kind, auth := "socks5", ""
	if w.Scheme == connect {
		kind = "http"
	}
	if w.Login != "" {
		auth = " --proxy-auth USER:PASSWORD"
	}
	p.Lines = []string{"ssh -o ProxyCommand='ncat --proxy " + w.At + " --proxy-type " + kind + " --proxy-dns remote" + auth + " %h %p' HOST"}
	p.Note = "ncat is a package of its own. In ~/.ssh/config the option is a line “ProxyCommand ncat …”."
}

func apt(p *Program, w *way) {
	p.Steps = []string{"Put these lines into /etc/apt/apt.conf.d/90proxy:"}
	p.Lines = []string{
		`Acquire::http::Proxy "` + w.url() + `";` + "\n" + `Acquire::https::Proxy "` + w.url() + `";`,
	}
	if w.Scheme != socks5h {
		p.Note = tunnelsOnly
	}
}

func pip(p *Program, w *way) {
	p.Lines = []string{"pip install --proxy " + w.url() + " PACKAGE"}
	if w.Scheme == socks5h || w.Scheme == socks4a {
		p.Note = "If pip misses dependencies for SOCKS, it lacks the package pysocks."
		if w.connects {
			p.Note += " It comes by: pip install --proxy http://" + w.Login + w.At + " pysocks"
		}
	}
}

func npm(p *Program, w *way) {
	p.Lines = []string{"npm config set proxy " + w.url() + "\nnpm config set https-proxy " + w.url()}
}

func requests(p *Program, w *way) {
	p.Lines = []string{"export ALL_PROXY=" + w.url()}
	if w.Scheme == socks5h || w.Scheme == socks4a {
		p.Note = "Or in the program: proxies={\"http\": \"" + w.url() + "\", \"https\": \"" + w.url() + "\"}. It wants requests[socks]."
	}
}

func goes(p *Program, w *way) {
	p.Lines = []string{"export HTTP_PROXY=" + w.url() + " HTTPS_PROXY=" + w.url()}
	p.Note = "This is for programs that use net/http as it comes. If an old one does not know socks5h, socks5 does the same in Go."
	if w.Scheme != socks5h {
		p.Note = tunnelsOnly
	}
}

func java(p *Program, w *way) {
	if w.Scheme == connect {
		p.Lines = []string{"java -Dhttps.proxyHost=" + w.Host + " -Dhttps.proxyPort=" + w.Port + " -jar PROGRAM.jar"}
		p.Note = tunnelsOnly
		return
	}
	login := ""
	if w.Login != "" {
		login = " -Djava.net.socks.username=USER -Djava.net.socks.password=PASSWORD"
	}
	p.Lines = []string{"java -DsocksProxyHost=" + w.Host + " -DsocksProxyPort=" + w.Port + login + " -jar PROGRAM.jar"}
	p.Note = "URLConnection leaves names to the proxy then. java.net.http.HttpClient speaks no SOCKS: it wants a ProxySelector with HTTP CONNECT."
}

func systemd(p *Program, w *way) {
	p.Steps = []string{"Run systemctl edit NAME.service, add these lines, and restart the service:"}
	p.Lines = []string{"[Service]\nEnvironment=ALL_PROXY=" + w.url() + "\nEnvironment=HTTP_PROXY=" + w.url() + " HTTPS_PROXY=" + w.url()}
	p.Note = "This is for services that look at these variables, as most that use curl, Go or Python do."
}
