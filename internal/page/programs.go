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
	{"node", "node"}, // fetch
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

// known are the programs with their schemes and what to do, given one of these. README has
// the same list: go test ./internal/page -update writes it there. Each of its lines is run
// by a test of cmd/hosier, which fails for a line that it does not know.
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
	{"rsync", "rsync", "socks5h http", rsync},
	{"nc", "ncat, nc", "socks5h http", nc},
	{"apt", "apt", "socks5h http https", apt},
	{"pip", "pip", "socks5h socks4a http", pip},
	{"npm", "npm", "socks5h socks4a http https", npm},
	{"requests", "Python requests", "socks5h socks4a http", requests},
	{"node", "Node.js programs", "socks5h socks4a http", node},
	{"go", "Go programs", "socks5h http https", goes},
	{"java", "Java", "http", java},
	{"proxychains", "Programs without a proxy setting", "socks5h http", proxychains},
	{"variables", "Programs that read ALL_PROXY", "socks5h socks4a http https", variables},
	{"systemd", "systemd services", "socks5h socks4a http https", systemd},
}

// Programs returns what to do in each program that this package knows, for the listener at
// an IP address or host name and a port.
func (l *Listener) Programs(host, port string) []Program {
	return l.programs(address{Host: host, Port: port})
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
		w.Login = l.login()
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

// login is what stands for name and password in a URL.
func (l *Listener) login() string {
	if l.Users {
		return "USER:PASSWORD@"
	}
	return ""
}

// tunnelsOnly is true of whatever goes by HTTP CONNECT.
const tunnelsOnly = "By HTTP CONNECT it opens https:// addresses alone: http:// is refused with 501."

// firefoxAsks is of Firefox 153: with an automatic configuration, and now and then with an
// HTTP proxy, it looks for the HTTPS record of a name (type 65) before it asks the proxy.
const firefoxAsks = "Unless network.dns.native_https_query is false in about:config, Firefox then asks your DNS server about names. A SOCKS proxy set by hand needs no such care."

// firefoxQuiet is what stops that.
const firefoxQuiet = "In about:config set network.dns.native_https_query to false: Firefox would ask your DNS server about names."

func firefox(p *Program, w *way) {
	const own = " Firefox's own services, such as updates, go past a proxy that fails them, unless network.proxy.failover_direct is false in about:config."
	p.Steps = []string{"Open Settings, search for “proxy”, and press “Settings…”."}
	switch w.Scheme {
	case secure:
		p.Steps = append(p.Steps, "Choose “Automatic proxy configuration URL”, and enter the address below.", firefoxQuiet)
		p.Lines = []string{w.pac}
		p.Note = tunnelsOnly + own
	case connect:
		p.Steps = append(p.Steps,
			"Choose “Manual proxy configuration”, and empty the field “SOCKS Host”.",
			"HTTP Proxy: "+w.Host+", Port: "+w.Port+", tick “Also use this proxy for HTTPS”, and press OK.", firefoxQuiet)
		p.Note = tunnelsOnly + own
		if w.Login != "" {
			p.Note = "Firefox cannot send SOCKS passwords. This way it asks for name and password when it opens the first page. " + p.Note
		}
	default:
		p.Steps = append(p.Steps,
			"Choose “Manual proxy configuration”, and empty the fields “HTTP Proxy” and “HTTPS Proxy”.",
			"SOCKS Host: "+w.Host+", Port: "+w.Port+", and “SOCKS v5”.",
			"Tick “Proxy DNS when using SOCKS v5”, and press OK.")
		p.Note = strings.TrimSpace(own)
	}
}

func chromium(p *Program, w *way) {
	p.Steps = []string{"Close all windows of Chromium, Chrome or Edge, and start it with:"}
	switch {
	case w.Scheme == socks5h: // Chromium's own socks5:// leaves names to the proxy
		p.Lines = []string{`chromium --proxy-server="socks5://` + w.At + `"`, `chromium --proxy-pac-url="` + w.pac + `"`}
		p.Note = "Either is enough. Chromium leaves names to a SOCKS5 proxy, but cannot send it a password. With socks4:// it looks names up itself."
	case w.Login != "":
		p.Lines = []string{`chromium --proxy-server="` + w.Scheme + "://" + w.At + `"`}
		p.Note = "Chromium cannot send SOCKS passwords. This way it asks for name and password. " + tunnelsOnly
	default:
		p.Lines = []string{`chromium --proxy-server="` + w.Scheme + "://" + w.At + `"`}
		p.Note = tunnelsOnly
	}
}

func curlLine(w *way) string {
	line := "curl -x " + w.url() + " URL"
	if w.Scheme == connect || w.Scheme == secure {
		line += " --proxytunnel"
	}
	return line
}

func curl(p *Program, w *way) { p.Lines = []string{curlLine(w)} }

func git(p *Program, w *way) {
	p.Lines = []string{"git config --global http.proxy " + w.url()}
	p.Note = "This is for https:// remotes. Remotes by ssh use the settings of ssh."
}

func wget(p *Program, w *way) {
	p.Lines = []string{"https_proxy=" + w.url() + " wget https://HOST/FILE"}
	p.Note = "wget has no SOCKS. " + tunnelsOnly
}

// ncat is the line that connects standard input and output to a host by way of the proxy.
func ncat(w *way) string {
	kind, auth := "socks5", ""
	if w.Scheme == connect {
		kind = "http"
	}
	if w.Login != "" {
		auth = " --proxy-auth USER:PASSWORD"
	}
	return "ncat --proxy " + w.At + " --proxy-type " + kind + " --proxy-dns remote" + auth
}

func ssh(p *Program, w *way) {
	p.Lines = []string{"ssh -o ProxyCommand='" + ncat(w) + " %h %p' HOST"}
	p.Note = "In ~/.ssh/config the option is a line “ProxyCommand ncat …”. nc can do the same (-X 5), but ncat can send a password."
}

func rsync(p *Program, w *way) {
	p.Lines = []string{`rsync -e "ssh -o ProxyCommand='` + ncat(w) + ` %h %p'" HOST:FILE .`}
	if w.connects {
		p.Lines = append(p.Lines, "RSYNC_PROXY="+w.Login+w.At+" rsync rsync://HOST/FILE .")
		p.Note = "The first is for rsync by ssh, the second for an rsync server."
	}
}

func nc(p *Program, w *way) {
	p.Lines = []string{ncat(w) + " HOST PORT"}
	switch {
	case w.Login != "":
		p.Note = "nc has no option for a password."
	case w.Scheme == connect:
		p.Lines = append(p.Lines, "nc -X connect -x "+w.At+" HOST PORT")
	default:
		p.Lines = append(p.Lines, "nc -X 5 -x "+w.At+" HOST PORT")
		p.Note = "nc is OpenBSD's here (netcat-openbsd); with -X 4 it looks names up itself."
	}
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
	p.Lines = []string{"pip install --proxy " + w.url() + " PACKAGE", "pip config set global.proxy " + w.url()}
	p.Note = "The second is for good."
	if w.Scheme == socks5h || w.Scheme == socks4a {
		p.Note += " If pip misses dependencies for SOCKS, it lacks the package pysocks."
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
		p.Note = "Or in the program: proxies={\"http\": \"" + w.url() + "\", \"https\": \"" + w.url() + "\"}. It needs requests[socks]."
	}
}

func node(p *Program, w *way) {
	name, agent := "socks-proxy-agent", "SocksProxyAgent"
	if w.Scheme == connect {
		name, agent = "https-proxy-agent", "HttpsProxyAgent"
	}
	p.Steps = []string{"Run npm install " + name + ", and give its agent to each request:"}
	p.Lines = []string{"const { " + agent + " } = require(\"" + name + "\");\n" +
		"require(\"https\").get(\"https://HOST/\", { agent: new " + agent + "(\"" + w.url() + "\") }, (r) => r.pipe(process.stdout));"}
	p.Note = "fetch, http and https read no proxy variables by themselves."
}

func goes(p *Program, w *way) {
	p.Lines = []string{"export HTTP_PROXY=" + w.url() + " HTTPS_PROXY=" + w.url()}
	p.Note = "This is for programs that use net/http as it comes, go itself among them. ALL_PROXY means nothing to them. If an old one does not know socks5h, socks5 does the same in Go."
	if w.Scheme != socks5h {
		p.Note = tunnelsOnly
	}
}

func java(p *Program, w *way) {
	const socks = " -DsocksProxyHost is no way around: Java looks names up before it asks a SOCKS proxy."
	if w.Login != "" {
		p.Note = "Java has no option for the password of a proxy: give it a listener without users." + socks
		return
	}
	p.Lines = []string{"java -Dhttps.proxyHost=" + w.Host + " -Dhttps.proxyPort=" + w.Port + " -jar PROGRAM.jar"}
	p.Note = tunnelsOnly + socks
}

func proxychains(p *Program, w *way) {
	line := "socks5"
	if w.Scheme == connect {
		line = "http"
	}
	line += " " + w.Host + " " + w.Port
	if w.Login != "" {
		line += " USER PASSWORD"
	}
	p.Steps = []string{"In /etc/proxychains4.conf leave proxy_dns as it is, and put the first of these in place of the line socks4 127.0.0.1 9050 at its end:"}
	p.Lines = []string{line, "proxychains4 -q PROGRAM"}
	p.Note = "It does not reach into statically linked programs, such as those in Go: these go past the proxy."
}

func variables(p *Program, w *way) {
	p.Lines = []string{"export ALL_PROXY=" + w.url()}
	p.Note = "These are curl, git, pip and Python requests. wget, Go, Node.js, npm, apt, Java, ssh and rsync ignore ALL_PROXY and go past the proxy: set each as its own entry says."
}

func systemd(p *Program, w *way) {
	p.Steps = []string{"Run systemctl edit NAME.service, add these lines, and restart the service:"}
	p.Lines = []string{"[Service]\nEnvironment=ALL_PROXY=" + w.url() + "\nEnvironment=HTTP_PROXY=" + w.url() + " HTTPS_PROXY=" + w.url()}
	p.Note = "This is for services that read these variables, as those that use curl, Go or Python requests do."
}
