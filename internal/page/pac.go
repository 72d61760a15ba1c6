package page

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
)

// Rule is a rule of the proxy as an auto-configuration file has it. The first that matches
// decides, and what none matches goes through the proxy.
type Rule struct {
	// To is what it matches: "example.org", ".example.org" (and all below it), "*" (any
	// name), "10.0.0.0/8", "192.0.2.1"; everything if empty.
	To []string

	// Direct sends what it matches past the proxy. A rule that depends on anything but the
	// destination cannot: the browser does not know of it.
	Direct bool
}

// ServePAC writes the auto-configuration file of the listener that clients reach at
// address. With ?socks in the request it has the word SOCKS, too, for programs that know
// no SOCKS5 there. It is left out otherwise: browsers take it for SOCKS4, which Chromium
// turns to when a request by SOCKS5 fails, and for which it looks the name up itself.
func (l *Listener) ServePAC(w http.ResponseWriter, r *http.Request, address string) {
	protect(w.Header())
	w.Header().Set("Content-Type", "application/x-ns-proxy-autoconfig")
	w.Write(l.pac(address, r.URL.RawQuery == "socks"))
}

// pac is the script. It calls no function of the browser's, so it looks nothing up.
func (l *Listener) pac(address string, old bool) []byte {
	var b bytes.Buffer
	itself := "http://" + address + "/"
	if l.TLS {
		itself = "https://" + address + "/"
	}
	fmt.Fprintf(&b, pacHead, address, quote(l.through(address, old, false)), quote(l.through(address, old, true)), len(itself), quote(itself))
	tests := l.tests()
	for _, t := range tests {
		word := "through"
		if t.direct {
			word = `"DIRECT"`
		}
		fmt.Fprintf(&b, "  if (%s) return %s;\n", t.js, word)
	}
	b.WriteString("  return through;\n}\n")
	if len(tests) > 0 {
		b.WriteString(pacTail)
	}
	return b.Bytes()
}

// What a browser calls localhost does not leave its host. PROXY is not for http://, for
// which the proxy has a page in place of what was asked for.
const pacHead = `// The proxy at %s, for a browser's automatic proxy configuration.
// Nothing here looks a name up. What goes through the proxy goes no other way if that is away.
function FindProxyForURL(url, host) {
  var through = /^http:/i.test(url) ? %s : %s;
  host = host.toLowerCase().replace(/^\[|\]$|\.$/g, "");
  if (url.slice(0, %d) == %s) return "DIRECT"; // the proxy's own page
  if (/^(.+\.)?localhost$|^127(\.\d{1,3}){3}$|^::1$/.test(host)) return "DIRECT";
`

const pacTail = `
// below reports whether host is name or a name below it.
function below(host, name) {
  return host == name || host.slice(-name.length - 1) == "." + name;
}

// within reports whether host is written as an IPv4 address, and one of size addresses from first.
function within(host, first, size) {
  if (!/^\d{1,3}(\.\d{1,3}){3}$/.test(host)) return false;
  var part = host.split("."), n = 0;
  for (var i = 0; i < 4; i++) n = n * 256 + Number(part[i]);
  return n >= first && n < first + size;
}
`

// through is the way to the proxy, best first, and never DIRECT: fail closed. A tunnel is
// for anything but http://.
func (l *Listener) through(address string, old, tunnel bool) string {
	var all []string
	socks := !l.Users && !l.TLS // browsers send no SOCKS passwords
	add := func(on bool, word string) {
		if on {
			all = append(all, word+" "+address)
		}
	}
	add(l.TLS, "HTTPS")
	add(socks && l.SOCKS5, "SOCKS5")
	add(socks && old && (l.SOCKS4 || l.SOCKS5), "SOCKS")
	add(len(all) == 0 || l.CONNECT && tunnel && !l.TLS, "PROXY")
	return strings.Join(all, "; ")
}

// test is a condition on host.
type test struct {
	js     string
	direct bool
}

// tests are what decides before everything goes through; none if nothing goes direct.
func (l *Listener) tests() (all []test) {
	direct := 0     // how many are needed
	judged := false // a rule above is about addresses: the proxy would judge what a name leads to by it
	for _, r := range l.Rules {
		if len(r.To) == 0 {
			break
		}
		addresses := false
		for _, to := range r.To {
			if to == "*" {
				return all[:direct]
			}
			prefix, isAddress := parsePrefix(to)
			addresses = addresses || isAddress
			t := test{js: nameTest(to), direct: r.Direct && !judged}
			if isAddress {
				if !prefix.Addr().Is4() { // what is written in IPv6 goes through
					continue
				}
				t = test{js: addressTest(prefix), direct: r.Direct}
			}
			if all = append(all, t); t.direct {
				direct = len(all)
			}
		}
		judged = judged || addresses && !r.Direct
	}
	return all[:direct]
}

func parsePrefix(to string) (netip.Prefix, bool) {
	if ip, err := netip.ParseAddr(to); err == nil {
		return netip.PrefixFrom(ip, ip.BitLen()), true
	}
	p, err := netip.ParsePrefix(to)
	return p, err == nil
}

func nameTest(name string) string {
	if below, ok := strings.CutPrefix(name, "."); ok {
		return "below(host, " + quote(below) + ")"
	}
	return "host == " + quote(name)
}

func addressTest(p netip.Prefix) string {
	first := p.Masked().Addr().As4()
	n := uint64(first[0])<<24 | uint64(first[1])<<16 | uint64(first[2])<<8 | uint64(first[3])
	return fmt.Sprintf("within(host, %d, %d)", n, uint64(1)<<(32-p.Bits()))
}

// quote returns text as JavaScript has it.
func quote(text string) string {
	b, err := json.Marshal(text)
	must(err)
	return string(b)
}
