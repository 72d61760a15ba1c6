// Package via reads what people write as an address or an egress: host:port, direct, and the
// URLs of upstreams and tors. It connects to nothing, looks nothing up, and its errors show
// no password.
package via

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"hosier/internal/rules"
	"hosier/socks"
)

// Egress is an egress as it was written: direct, tor, or the URL of an upstream or of tors. The
// zero Egress is none. No formatting, log or JSON of it shows a user or a password.
type Egress struct{ at **parsed } // fmt asks no method of an unexported field, and may follow one pointer

type parsed struct {
	text     string
	kind     rules.Kind
	tor      Tor
	upstream Upstream
}

// Upstream is a proxy, as its URL says.
type Upstream struct {
	Scheme  string // socks5, socks5h, socks4a or http
	Address string // host:port, the host as DNS has it
	Auth    socks.Auth
}

// Parse reads an egress.
func Parse(text string) (Egress, error) {
	p := &parsed{text: text, kind: rules.Proxy}
	var err error
	switch {
	case text == "direct":
		p.kind = rules.Direct
	case isTor(text):
		p.kind = rules.Tor
		p.tor, err = parseTor(text)
	default:
		p.upstream, err = parseUpstream(text)
	}
	if err != nil {
		return Egress{}, err
	}
	return Egress{&p}, nil
}

// Kind returns 0 for the zero Egress.
func (e Egress) Kind() rules.Kind {
	if e.at == nil {
		return 0
	}
	return (*e.at).kind
}

// Tor returns what the URL of an egress of the kind Tor says.
func (e Egress) Tor() Tor {
	if e.at == nil {
		return Tor{}
	}
	return (*e.at).tor
}

// Upstream returns the proxy of an egress of the kind Proxy.
func (e Egress) Upstream() Upstream {
	if e.at == nil {
		return Upstream{}
	}
	return (*e.at).upstream
}

// Reveal returns what was written, with the password.
func (e Egress) Reveal() string {
	if e.at == nil {
		return ""
	}
	return (*e.at).text
}

// String returns e without what stands before an @.
func (e Egress) String() string { return Redact(e.Reveal()) }

// Format hides what String hides, whatever the verb.
func (e Egress) Format(f fmt.State, _ rune) { f.Write([]byte(e.String())) }

// LogValue hides what String hides.
func (e Egress) LogValue() slog.Value { return slog.StringValue(e.String()) }

// MarshalText hides what String hides.
func (e Egress) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// Redact returns the scheme, host and port of a URL, of one into Tor also what follows, and
// direct, a name or host:port as it is. Of anything else, which could hold a password, it returns
// no more than the scheme.
func Redact(text string) string {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		host, port, _ := strings.Cut(text, ":")
		if strings.ContainsAny(host, "@ ") || strings.Trim(port, "0123456789") != "" {
			return "a proxy"
		}
		return text
	}
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		rest = rest[i+1:]
	}
	if !isTor(text) {
		if i := strings.IndexAny(rest, "/?#"); i >= 0 {
			rest = rest[:i]
		}
	}
	return scheme + "://" + rest
}

// parseUpstream reads scheme://[user[:password]@]host:port.
func parseUpstream(text string) (Upstream, error) {
	u, err := url.Parse(text)
	// A password in which a / stands, say, is no password to Parse: Redacted does not find it
	// there, and the errors of Parse would repeat it.
	if err != nil || u.Scheme == "" || strings.Contains(u.Opaque+u.Path+u.RawQuery+u.Fragment, "@") {
		return Upstream{}, errNotURL
	}
	up := Upstream{Scheme: u.Scheme, Auth: authOf(u)}
	if up.Address, err = asciiHost(u); err != nil {
		return Upstream{}, fmt.Errorf("%s: %w", Redact(text), err)
	}
	switch u.Scheme {
	case "socks5", "socks5h", "http":
	case "socks4a":
		up.Auth.Method = socks.NoAuth
	case "socks4":
		return Upstream{}, fmt.Errorf("%s: SOCKS4 cannot carry names, so they would have to be looked up here; write socks4a://", Redact(text))
	default:
		return Upstream{}, fmt.Errorf("%s: write direct, socks5://, socks4a://, http:// or tor://, and then host:port", Redact(text))
	}
	err = checkAddress(u)
	if host, _, _ := net.SplitHostPort(up.Address); err == nil && isUnspecified(host) {
		err = errUnspecified
	}
	if err != nil {
		return Upstream{}, fmt.Errorf("%s: %w", Redact(text), err)
	}
	return up, nil
}

var errNotURL = errors.New("this is not a URL; write direct, socks5://, socks4a://, http:// or tor://, and then " +
	"host:port or user:password@host:port, where %40 is an @ in a password, %2F a / and %25 a %")

// asciiHost returns host:port of a URL with the host as DNS has it.
func asciiHost(u *url.URL) (string, error) {
	host, err := rules.ToASCII(u.Hostname())
	if err != nil || host == u.Hostname() {
		return u.Host, err
	}
	return net.JoinHostPort(host, u.Port()), nil
}

// checkAddress returns an error unless the URL is one of a host and a port.
func checkAddress(u *url.URL) error {
	switch {
	case u.Hostname() == "":
		return errors.New("there is no host in it")
	case u.Path != "" && u.Path != "/", u.RawQuery != "", u.Fragment != "":
		return errors.New("nothing may follow the port")
	case u.Port() == "":
		return errors.New("there is no port in it")
	}
	if port, err := strconv.ParseUint(u.Port(), 10, 16); err != nil || port == 0 {
		return errors.New("the port is not a number from 1 to 65535")
	}
	return nil
}

// errUnspecified is about an upstream that Linux would take for this host. Other systems, and
// tor itself, do not.
var errUnspecified = errors.New("nobody can be reached at this address; of this host, write 127.0.0.1 or [::1]")

// isUnspecified reports whether the host is 0.0.0.0 or ::.
func isUnspecified(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsUnspecified()
}

func authOf(u *url.URL) socks.Auth {
	if u.User == nil {
		return socks.Auth{}
	}
	password, _ := u.User.Password()
	return socks.Auth{Method: socks.UserPass, User: u.User.Username(), Password: password}
}
