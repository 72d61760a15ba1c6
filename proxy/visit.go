package proxy

import (
	"bytes"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// visit is what tells a lost program, or a person's own look at the port, from a web page
// that makes somebody's browser ask.
type visit struct {
	method, target       string
	host                 string // without a port; "" if it was not said
	site, origin, accept string // Sec-Fetch-Site, Origin, Accept
	browser              bool
	cut                  bool // the head went on, and what would tell may be there
}

func visitOf(req *http.Request) visit {
	h := req.Header
	return visit{
		method: req.Method, target: req.RequestURI, host: hostOf(req.Host),
		site: h.Get("Sec-Fetch-Site"), origin: h.Get("Origin"), accept: h.Get("Accept"),
		browser: strings.HasPrefix(h.Get("User-Agent"), "Mozilla/"),
	}
}

// visitOfHead is visitOf for a head that could not be read, as far as it goes: a browser
// can be made to send one of those, too.
func visitOfHead(e *headError) visit {
	v := visit{cut: e.cut}
	line, rest, _ := bytes.Cut(e.head, []byte("\n"))
	if part := strings.Fields(string(line)); len(part) > 1 {
		v.method, v.target = part[0], part[1]
	}
	if len(line) > 0 && isAbsolute(v.target) {
		_, host, _ := strings.Cut(v.target, "://")
		host, _, _ = strings.Cut(host, "/")
		v.host = hostOf(host)
	}
	for whole := true; whole; {
		line, rest, whole = bytes.Cut(rest, []byte("\n"))
		name, value, _ := strings.Cut(string(line), ":")
		value = strings.TrimSpace(value)
		switch name := strings.ToLower(strings.TrimSpace(name)); {
		case !whole:
		case name == "host" && !isAbsolute(v.target):
			v.host = hostOf(value)
		case name == "sec-fetch-site":
			v.site = value
		case name == "origin":
			v.origin = value
		case name == "accept":
			v.accept = value
		case name == "user-agent":
			v.browser = strings.HasPrefix(value, "Mozilla/")
		}
	}
	return v
}

// showsSender reports whether a line of a head is one that visitOfHead looks at.
func showsSender(line []byte) bool {
	name, _, _ := bytes.Cut(line, []byte(":"))
	switch strings.ToLower(string(bytes.TrimSpace(name[:min(len(name), 20)]))) {
	case "host", "sec-fetch-site", "origin", "accept", "user-agent":
		return true
	}
	return false
}

// isAbsolute reports whether a request's target is a whole URL: the client takes this for
// its HTTP proxy.
func isAbsolute(target string) bool { return strings.Contains(target, "://") && target[0] != '/' }

// hostOf cuts the port off.
func hostOf(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return strings.ToLower(host)
	}
	return strings.ToLower(strings.Trim(hostport, "[]"))
}

// mayKnow reports whether who sent this may learn that somebody is here. A web page may
// not: neither one from elsewhere, nor one that has made its own name lead here, which the
// names are not that this server was given. A browser that takes this for its HTTP proxy may, whatever it wanted to fetch.
func (v visit) mayKnow(c net.Conn, names []string) bool {
	own := v.host == "" || isOwn(v.host, c) || slices.Contains(names, strings.TrimSuffix(v.host, "."))
	switch {
	case isAbsolute(v.target) && !own:
		return true
	case !own || v.cut:
		return false
	case v.site != "":
		return v.site == "none" || v.site == "same-origin"
	case v.origin != "":
		return false
	}
	// Browsers say Sec-Fetch-Site to this host alone. Elsewhere a picture, a style or a form
	// shows by what it accepts, and what is left by Cross-Origin-Resource-Policy.
	get := v.method == http.MethodGet || v.method == http.MethodHead
	return !v.browser || get && (v.accept == "" || v.accept == "*/*" || strings.Contains(v.accept, "text/html"))
}

// isOwn reports whether host names this host in a way that no DNS server can make up: a
// loopback name or address, the address that the client came to, or what TLS has shown a
// certificate for.
func isOwn(host string, c net.Conn) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	if s, ok := c.(interface{ ConnectionState() tls.ConnectionState }); ok && host == strings.ToLower(s.ConnectionState().ServerName) {
		return true
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	local, ok := c.LocalAddr().(*net.TCPAddr)
	return ip.Unmap().IsLoopback() || ok && local.AddrPort().Addr().Unmap().WithZone("") == ip.Unmap().WithZone("")
}
