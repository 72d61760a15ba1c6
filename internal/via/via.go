// Package via reads what people write as an address or an egress: host:port, direct, and the
// URLs of upstreams and tors. It connects to nothing, looks nothing up, and its errors show
// no password.
package via

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"hosier/egress"
	"hosier/internal/rules"
	"hosier/socks"
)

// Kind checks what names a way out, and tells its kind. Its errors show no password.
func Kind(via string) (rules.Kind, error) {
	switch {
	case via == "direct":
		return rules.Direct, nil
	case IsTor(via):
		_, err := ParseTor(via)
		return rules.Tor, err
	}
	_, err := Proxy(via, nil)
	return rules.Proxy, err
}

// Proxy makes the way out through the proxy that via names. Judge looks at each connection
// to it before it is used; nil takes all.
func Proxy(via string, judge func(net.Conn) error) (egress.Egress, error) {
	u, err := ParseURL(via)
	if err != nil {
		return nil, err
	}
	if u.Host, err = asciiHost(u); err != nil {
		return nil, fmt.Errorf("%s: %w", u.Redacted(), err)
	}
	var out egress.Egress
	auth := viaAuth(u)
	switch u.Scheme {
	case "socks5", "socks5h":
		out = &egress.SOCKS{Dialer: socks.Dialer{Proxy: u.Host, Version: socks.V5, Auth: auth}, Connected: judge}
	case "socks4a":
		auth.Method = socks.NoAuth
		out = &egress.SOCKS{Dialer: socks.Dialer{Proxy: u.Host, Version: socks.V4, Auth: auth}, Connected: judge}
	case "http":
		out = &egress.HTTP{Proxy: u.Host, Auth: auth, Connected: judge}
	case "socks4":
		return nil, fmt.Errorf("%s: SOCKS4 cannot carry names, so they would have to be looked up here; write socks4a://", u.Redacted())
	default:
		return nil, fmt.Errorf("%s: write direct, socks5://, socks4a://, http:// or tor://, and then host:port", u.Redacted())
	}
	if err := checkAddress(u); err != nil {
		return nil, fmt.Errorf("%s: %w", u.Redacted(), err)
	}
	return out, nil
}

// ParseURL refuses a URL in which a password may stand where none belongs, such as one
// with a '/' in it. Redacted does not find it there, and the errors of url.Parse would
// repeat it.
func ParseURL(via string) (*url.URL, error) {
	u, err := url.Parse(via)
	if err != nil || strings.Contains(u.Opaque+u.Path+u.RawQuery+u.Fragment, "@") {
		return nil, errNotURL
	}
	return u, nil
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

// checkAddress tells whether the URL is one of a host and a port.
func checkAddress(u *url.URL) error {
	switch {
	case u.Hostname() == "":
		return errors.New("there is no host in it")
	case u.Path != "" && u.Path != "/", u.RawQuery != "", u.Fragment != "":
		return errors.New("nothing may follow the port")
	case u.Port() == "":
		return errors.New("there is no port in it")
	case IsUnspecified(u.Hostname()):
		return errUnspecified
	}
	if port, err := strconv.ParseUint(u.Port(), 10, 16); err != nil || port == 0 {
		return errors.New("the port is not a number from 1 to 65535")
	}
	return nil
}

// errUnspecified is about an upstream that Linux would take for this host. Other systems, and
// tor itself, do not.
var errUnspecified = errors.New("nobody can be reached at this address; of this host, write 127.0.0.1 or [::1]")

// IsUnspecified reports whether the host is 0.0.0.0 or ::.
func IsUnspecified(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsUnspecified()
}

func viaAuth(u *url.URL) socks.Auth {
	if u.User == nil {
		return socks.Auth{}
	}
	password, _ := u.User.Password()
	return socks.Auth{Method: socks.UserPass, User: u.User.Username(), Password: password}
}

// Redacted is for messages: via without its password, however malformed it is.
func Redacted(via string) string {
	u, err := ParseURL(via)
	if err != nil {
		return "the proxy"
	}
	return u.Redacted()
}
