package resolver

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Transport is how a server is asked.
type Transport int

// The transports. UDP falls back to TCP for answers that do not fit. TLS (RFC 7858) and
// HTTPS (RFC 8484) never fall back to clear text.
const (
	UDP Transport = iota
	TCP
	TLS
	HTTPS
)

// Server is a DNS server. Servers can be compared.
type Server struct {
	Transport Transport
	Addr      netip.AddrPort
	// Name is what the server's certificate must be for; empty: its address. TLS and HTTPS
	// alone have one.
	Name string
	// Path is that of HTTPS; empty: /dns-query.
	Path string
}

// ParseServer reads a server as a person writes it: an IP address, for UDP; or tcp://, tls://
// or https:// and the address. A port may follow each. The name in the certificate of an
// encrypted one follows after a #, where it is not for the address:
//
//	9.9.9.9
//	[2620:fe::fe]:5353
//	tls://9.9.9.9#dns.quad9.net
//	https://9.9.9.9/dns-query#dns.quad9.net
//
// A server has no host name in place of an address, since nothing could look that up. The
// error does not repeat the text.
func ParseServer(text string) (Server, error) {
	if !strings.Contains(text, "://") {
		addr, err := parseAddr(text, 53)
		return Server{Addr: addr}, err
	}
	u, err := url.Parse(text)
	if err != nil {
		return Server{}, errors.New("not a URL")
	}
	var s Server
	port := uint16(53)
	switch u.Scheme {
	case "udp":
	case "tcp":
		s.Transport = TCP
	case "tls":
		s.Transport, port = TLS, 853
	case "https":
		s.Transport, port = HTTPS, 443
		s.Path = u.EscapedPath()
	default:
		return Server{}, errors.New("unknown scheme; use udp, tcp, tls or https")
	}
	if u.User != nil || u.RawQuery != "" || s.Transport != HTTPS && strings.Trim(u.Path, "/") != "" {
		return Server{}, errors.New("only an address and a port are expected")
	}
	if u.Fragment != "" {
		name, ok := canonical(u.Fragment)
		if !ok || s.Transport != TLS && s.Transport != HTTPS {
			return Server{}, errors.New("what follows # is not the name of a certificate")
		}
		s.Name = name
	}
	s.Addr, err = parseAddr(u.Host, port)
	if err != nil && s.Transport >= TLS {
		return Server{}, fmt.Errorf("%w; the name in its certificate goes after it: %s://ADDRESS#NAME", err, u.Scheme)
	}
	return s, err
}

// parseAddr reads an IP address with or without a port.
func parseAddr(text string, port uint16) (netip.AddrPort, error) {
	host := text
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), checkPort(ap.Port())
	}
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return netip.AddrPort{}, errors.New("not an IP address")
	}
	return netip.AddrPortFrom(ip.Unmap(), port), nil
}

func checkPort(port uint16) error {
	if port == 0 {
		return errors.New("the port is 0")
	}
	return nil
}

// String returns the form that ParseServer reads, with the port.
func (s Server) String() string {
	var b strings.Builder
	switch s.Transport {
	case TCP:
		b.WriteString("tcp://")
	case TLS:
		b.WriteString("tls://")
	case HTTPS:
		b.WriteString("https://")
	}
	b.WriteString(s.Addr.String())
	if s.Transport == HTTPS {
		b.WriteString(s.path())
	}
	if s.Name != "" {
		b.WriteString("#" + s.Name)
	}
	return b.String()
}

func (s Server) path() string {
	if s.Path == "" || s.Path == "/" {
		return "/dns-query"
	}
	return s.Path
}

// certificateName is what the server's certificate has to be for.
func (s Server) certificateName() string {
	if s.Name != "" {
		return s.Name
	}
	return s.Addr.Addr().String()
}

// url is where an HTTPS server is asked.
func (s Server) url() string {
	host := s.certificateName()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return "https://" + host + ":" + strconv.Itoa(int(s.Addr.Port())) + s.path()
}
