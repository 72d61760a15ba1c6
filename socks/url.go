package socks

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// URL is the address of a proxy as a person writes it:
//
//	scheme://[user[:password]@]host[:port]
//
// The scheme names the protocol. socks5 and socks5h mean the same here, and socks4a is
// SOCKS4 with names: host names always travel to the proxy, and are never looked up on this
// side. (curl and others look names up themselves for socks5://, and leave them to the proxy
// for socks5h:// alone.) No formatting, log or JSON of a URL shows the password.
type URL struct {
	Scheme string // in lower case; not judged
	Host   string // a name or an IP address without brackets; not empty, and not judged as a DNS name
	Port   uint16 // not 0
	Auth   Auth   // Method is UserPass if the URL has a user, an empty one too
}

// ErrURL is wrapped by the errors of [ParseURL] and [URL.Dialer]. None of them repeats a part
// of the text where a password may stand.
var ErrURL = errors.New("not the URL of a proxy")

// ParseURL reads the URL of a proxy. In the user and the password %40 is an @, %2F a /, %3A a :
// and %25 a %. A missing port is 1080 for the schemes of SOCKS and 80 for http; other schemes
// need one. Nothing but a single / may follow.
func ParseURL(text string) (*URL, error) {
	u, err := url.Parse(text)
	switch {
	// What is not taken for a password, such as one with a / in it, is not hidden either.
	case err != nil, strings.Contains(u.Opaque+u.Path+u.RawQuery+u.Fragment, "@"), u.Host == "":
		return nil, fmt.Errorf("%w: write scheme://user:password@host:port, with %%40 for an @, %%2F for a / and %%25 for a %% in user and password", ErrURL)
	case strings.TrimPrefix(u.Path, "/") != "", u.RawQuery != "", u.ForceQuery, u.Fragment != "":
		return nil, fmt.Errorf("%w: nothing may follow the port", ErrURL)
	case u.Hostname() == "":
		return nil, fmt.Errorf("%w: there is no host in it", ErrURL)
	}
	p := &URL{Scheme: u.Scheme, Host: u.Hostname()}
	if p.Port, err = portOf(u); err != nil {
		return nil, err
	}
	if u.User != nil {
		password, _ := u.User.Password()
		p.Auth = Auth{Method: UserPass, User: u.User.Username(), Password: password}
	}
	return p, nil
}

// The default ports: RFC 1928 section 3, RFC 9110 section 4.2.1.
const (
	socksPort = 1080
	httpPort  = 80
)

func portOf(u *url.URL) (uint16, error) {
	if text := u.Port(); text != "" {
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil || port == 0 {
			return 0, fmt.Errorf("%w: the port is not a number from 1 to 65535", ErrURL)
		}
		return uint16(port), nil
	}
	switch u.Scheme {
	case "socks5", "socks5h", "socks4a", "socks4":
		return socksPort, nil
	case "http":
		return httpPort, nil
	}
	return 0, fmt.Errorf("%w: there is no port in it", ErrURL)
}

// Address returns host:port, with brackets around an IPv6 address.
func (u *URL) Address() string { return net.JoinHostPort(u.Host, strconv.Itoa(int(u.Port))) }

// String returns the URL with xxxxx in place of the password.
func (u *URL) String() string {
	text := url.URL{Scheme: u.Scheme, Host: u.Address()}
	if u.Auth.Method == UserPass {
		text.User = url.User(u.Auth.User)
		if u.Auth.Password != "" {
			text.User = url.UserPassword(u.Auth.User, u.Auth.Password)
		}
	}
	return text.Redacted()
}

// Format writes what String returns, whatever the verb.
func (u URL) Format(f fmt.State, _ rune) { f.Write([]byte(u.String())) }

// Dialer returns a Dialer for a URL of scheme socks5, socks5h or socks4a. The error wraps
// [ErrURL] for any other scheme, and for a user or password that the protocol cannot carry.
// It matches errors.ErrUnsupported for socks4, which carries no names, and for http: that is
// hosier/egress.HTTP.
func (u *URL) Dialer() (*Dialer, error) {
	d := &Dialer{Proxy: u.Address(), Version: V5, Auth: u.Auth}
	switch u.Scheme {
	case "socks5", "socks5h":
	case "socks4a":
		d.Version = V4
		if d.Auth.Method = NoAuth; d.Auth.Password != "" {
			return nil, fmt.Errorf("%w: SOCKS4 has user names, but no passwords", ErrURL)
		}
	case "socks4":
		return nil, fmt.Errorf("%w: SOCKS4 carries no names, so they would have to be looked up here; write socks4a: %w", ErrURL, errors.ErrUnsupported)
	case "http":
		return nil, fmt.Errorf("%w: an HTTP proxy does not speak SOCKS: %w", ErrURL, errors.ErrUnsupported)
	default:
		return nil, fmt.Errorf("%w: the scheme is not socks5, socks5h or socks4a", ErrURL)
	}
	if _, err := d.encode(&Request{Command: Connect, Addr: Addr{Name: "x", Port: 1}}); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrURL, err)
	}
	return d, nil
}

// NewDialer returns the Dialer of a proxy's URL, as [ParseURL] and [URL.Dialer] make it. A
// Dialer is also ready as a literal; this is for what stands in a setting or in ALL_PROXY.
func NewDialer(text string) (*Dialer, error) {
	u, err := ParseURL(text)
	if err != nil {
		return nil, err
	}
	return u.Dialer()
}
