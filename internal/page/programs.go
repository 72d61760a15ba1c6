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

// known lists the programs with the schemes each supports and a function that fills in the
// steps for one of them. README has the same list: go test ./internal/page -update writes it
// there. A test of cmd/hosier runs each line, and fails for a line that it does not know.
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
			p.Note = k.name + " supports none of this listener's protocols."
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
		Note: "Of the programs listed here, only curl can reach a proxy over a Unix socket.",
	}
}

// login is what stands for name and password in a URL.
func (l *Listener) login() string {
	if l.Users {
		return "USER:PASSWORD@"
	}
	return ""
}

// tunnelsOnly is the limit of every program that uses HTTP CONNECT.
const tunnelsOnly = "HTTP CONNECT carries https:// only; http:// is refused with 501."

// firefoxAsks is of Firefox 153: with an automatic configuration, and now and then with an
// HTTP proxy, it looks for the HTTPS record of a name (type 65) before it asks the proxy.
const firefoxAsks = "Unless network.dns.native_https_query is false in about:config, Firefox then asks your DNS server about names. A SOCKS proxy configured by hand does not need this."

// firefoxQuiet is what stops that.
const firefoxQuiet = "In about:config, set network.dns.native_https_query to false; otherwise Firefox asks your DNS server about names."

func firefox(p *Program, w *way) {
	const own = " Firefox's own services, such as updates, bypass a failing proxy unless network.proxy.failover_direct and network.proxy.allow_bypass are false in about:config."
	p.Steps = []string{"Open Settings, search for “proxy”, and click “Settings…”."}
	switch w.Scheme {
	case secure:
		p.Steps = append(p.Steps, "Choose “Automatic proxy configuration URL” and enter the address below.", firefoxQuiet)
		p.Lines = []string{w.pac}
		p.Note = tunnelsOnly + own
	case connect:
		p.Steps = append(p.Steps,
			"Choose “Manual proxy configuration” and clear “SOCKS Host”.",
			"HTTP Proxy: "+w.Host+", Port: "+w.Port+", tick “Also use this proxy for HTTPS”, and click OK.", firefoxQuiet)
		p.Note = tunnelsOnly + own
		if w.Login != "" {
			p.Note = "Firefox cannot send SOCKS passwords. With HTTP it asks for user name and password when it opens the first page. " + p.Note
		}
	default:
		p.Steps = append(p.Steps,
			"Choose “Manual proxy configuration” and clear “HTTP Proxy” and “HTTPS Proxy”.",
			"SOCKS Host: "+w.Host+", Port: "+w.Port+", “SOCKS v5”.",
			"Tick “Proxy DNS when using SOCKS v5” and click OK.")
		p.Note = strings.TrimSpace(own)
	}
}

func chromium(p *Program, w *way) {
	p.Steps = []string{"Close all windows of Chromium, Chrome or Edge, then start it with:"}
	switch {
	case w.Scheme == socks5h: // Chromium's own socks5:// leaves names to the proxy
		p.Lines = []string{`chromium --proxy-server="socks5://` + w.At + `"`, `chromium --proxy-pac-url="` + w.pac + `"`}
		p.Note = "Either line will do. Chromium leaves names to a SOCKS5 proxy but cannot send it a password. With socks4:// it resolves names itself."
	case w.Login != "":
		p.Lines = []string{`chromium --proxy-server="` + w.Scheme + "://" + w.At + `"`}
		p.Note = "Chromium cannot send SOCKS passwords. With HTTP it asks for user name and password. " + tunnelsOnly
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
	p.Note = "This is for https:// remotes; for remotes over ssh, configure ssh."
}

func wget(p *Program, w *way) {
	p.Lines = []string{"https_proxy=" + w.url() + " wget https://HOST/FILE"}
	p.Note = "wget does not support SOCKS. " + tunnelsOnly
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
	p.Note = "In ~/.ssh/config, write it as “ProxyCommand ncat …”. nc -X 5 also works but cannot send a password."
}

func rsync(p *Program, w *way) {
	p.Lines = []string{`rsync -e "ssh -o ProxyCommand='` + ncat(w) + ` %h %p'" HOST:FILE .`}
	if w.connects {
		p.Lines = append(p.Lines, "RSYNC_PROXY="+w.Login+w.At+" rsync rsync://HOST/FILE .")
		p.Note = "The first line is for rsync over ssh, the second for an rsync daemon."
	}
}

func nc(p *Program, w *way) {
	p.Lines = []string{ncat(w) + " HOST PORT"}
	switch {
	case w.Login != "":
		p.Note = "nc cannot send a password."
	case w.Scheme == connect:
		p.Lines = append(p.Lines, "nc -X connect -x "+w.At+" HOST PORT")
	default:
		p.Lines = append(p.Lines, "nc -X 5 -x "+w.At+" HOST PORT")
		p.Note = "This nc is OpenBSD's (netcat-openbsd). With -X 4 it resolves names itself."
	}
}

func apt(p *Program, w *way) {
	p.Steps = []string{"Write these lines to /etc/apt/apt.conf.d/90proxy:"}
	p.Lines = []string{
		`Acquire::http::Proxy "` + w.url() + `";` + "\n" + `Acquire::https::Proxy "` + w.url() + `";`,
	}
	if w.Scheme != socks5h {
		p.Note = tunnelsOnly
	}
}

func pip(p *Program, w *way) {
	p.Lines = []string{"pip install --proxy " + w.url() + " PACKAGE", "pip config set global.proxy " + w.url()}
	p.Note = "The second line makes it permanent."
	if w.Scheme == socks5h || w.Scheme == socks4a {
		p.Note += " If pip reports missing dependencies for SOCKS support, install pysocks"
		if w.connects {
			p.Note += ": pip install --proxy http://" + w.Login + w.At + " pysocks"
		} else {
			p.Note += "."
		}
	}
}

func npm(p *Program, w *way) {
	p.Lines = []string{"npm config set proxy " + w.url() + "\nnpm config set https-proxy " + w.url()}
}

func requests(p *Program, w *way) {
	p.Lines = []string{"export ALL_PROXY=" + w.url()}
	if w.Scheme == socks5h || w.Scheme == socks4a {
		p.Note = "Or in the program: proxies={\"http\": \"" + w.url() + "\", \"https\": \"" + w.url() + "\"}. SOCKS needs requests[socks]."
	}
}

func node(p *Program, w *way) {
	name, agent := "socks-proxy-agent", "SocksProxyAgent"
	if w.Scheme == connect {
		name, agent = "https-proxy-agent", "HttpsProxyAgent"
	}
	p.Steps = []string{"Run npm install " + name + ", and pass its agent to each request:"}
	p.Lines = []string{"const { " + agent + " } = require(\"" + name + "\");\n" +
		"require(\"https\").get(\"https://HOST/\", { agent: new " + agent + "(\"" + w.url() + "\") }, (r) => r.pipe(process.stdout));"}
	p.Note = "By default fetch, http and https ignore proxy variables."
}

func goes(p *Program, w *way) {
	p.Lines = []string{"export HTTP_PROXY=" + w.url() + " HTTPS_PROXY=" + w.url()}
	p.Note = "This is for programs that use the defaults of net/http, such as the go command; they ignore ALL_PROXY. If an old one rejects socks5h, use socks5, which means the same in Go."
	if w.Scheme != socks5h {
		p.Note = tunnelsOnly
	}
}

func java(p *Program, w *way) {
	const socks = " -DsocksProxyHost does not help: Java resolves names before it connects to a SOCKS proxy."
	if w.Login != "" {
		p.Note = "Java has no option for a proxy password: use a listener without users." + socks
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
	p.Steps = []string{"In /etc/proxychains4.conf, keep proxy_dns and replace the last line (socks4 127.0.0.1 9050) with the first line below; start programs with the second:"}
	p.Lines = []string{line, "proxychains4 -q PROGRAM"}
	p.Note = "Statically linked programs, such as those written in Go, bypass it and the proxy."
}

func variables(p *Program, w *way) {
	p.Lines = []string{"export ALL_PROXY=" + w.url()}
	p.Note = "curl, git, pip and Python requests do. wget, Go, Node.js, npm, apt, Java, ssh and rsync ignore it and bypass the proxy: see their own entries."
}

func systemd(p *Program, w *way) {
	p.Steps = []string{"Run systemctl edit NAME.service, add these lines, and restart the service:"}
	p.Lines = []string{"[Service]\nEnvironment=ALL_PROXY=" + w.url() + "\nEnvironment=HTTP_PROXY=" + w.url() + " HTTPS_PROXY=" + w.url()}
	p.Note = "This is for services that read these variables, such as those that use curl, Go or Python requests."
}
