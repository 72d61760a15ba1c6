package socks

import (
	"bytes"
	"crypto/sha3"
	"encoding/base32"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// maxName is the longest host name, in bytes: RFC 1928 section 5.
const maxName = 255

// Addr is an address of SOCKS: an IP or a name, never both, and a port. The zero
// Addr stands for none. Addrs can be compared with ==.
type Addr struct {
	IP   netip.Addr
	Name string // as the client sent it; not judged as a DNS name
	Port uint16 // 0 for RESOLVE and RESOLVE_PTR
}

// AddrFrom returns ap as an Addr, an IPv4 address always in its short form.
func AddrFrom(ap netip.AddrPort) Addr {
	return Addr{IP: ap.Addr().Unmap(), Port: ap.Port()}
}

// ParseHost returns what a client means by host, without a port: an address if it
// is an IPv4 or IPv6 literal, brackets allowed around the latter, else a name.
//
// A name has 1 to 255 bytes: labels of letters, digits, '-' and '_', of which
// neither of the last two begins a label, with at most one dot at the end. This is
// what C tor lets through. Anything else gives a [*FormatError] with GeneralFailure.
func ParseHost(host string) (Addr, error) {
	if host == "" {
		return Addr{}, &FormatError{GeneralFailure, "host name is empty"}
	}
	if len(host) > maxName {
		return Addr{}, &FormatError{GeneralFailure, "host name is longer than 255 bytes"}
	}
	if ip, ok := parseLiteral(host); ok {
		return Addr{IP: ip}, nil
	}
	if !validName(host) {
		return Addr{}, &FormatError{GeneralFailure, "host name has a byte or a label that no name has"}
	}
	return Addr{Name: host}, nil
}

// ParseAddr returns the address that "host:port" means. The port is a number.
func ParseAddr(hostport string) (Addr, error) {
	i := strings.LastIndexByte(hostport, ':')
	if i < 0 {
		return Addr{}, fmt.Errorf("address %q has no port", hostport)
	}
	host, port := hostport[:i], hostport[i+1:]
	if strings.Contains(host, ":") && !strings.HasPrefix(host, "[") {
		return Addr{}, fmt.Errorf("address %q: an IPv6 address stands in brackets before its port", hostport)
	}
	a, err := ParseHost(host)
	if err != nil {
		return Addr{}, fmt.Errorf("address %q: %w", hostport, err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return Addr{}, fmt.Errorf("address %q: port is not a number from 0 to 65535", hostport)
	}
	a.Port = uint16(n)
	return a, nil
}

func parseLiteral(host string) (netip.Addr, bool) {
	if len(host) > 2 && host[0] == '[' && host[len(host)-1] == ']' {
		ip, err := netip.ParseAddr(host[1 : len(host)-1])
		return ip, err == nil && ip.Is6() && ip.Zone() == ""
	}
	if (host[0] < '0' || host[0] > '9') && strings.IndexByte(host, ':') < 0 {
		return netip.Addr{}, false // most names end here, without the cost of an error
	}
	ip, err := netip.ParseAddr(host)
	return ip, err == nil && ip.Zone() == ""
}

func validName(name string) bool {
	start := true // of a label
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
			start = false
		case c == '-' || c == '_':
			if start {
				return false
			}
		case c == '.':
			if start {
				return false
			}
			start = true
		default:
			return false
		}
	}
	return true
}

// Host returns the IP or the name as text, without brackets; "" if there is neither.
func (a Addr) Host() string {
	if a.IP.IsValid() {
		return a.IP.String()
	}
	return a.Name
}

// String returns the address as host:port, ready for [ParseAddr].
func (a Addr) String() string {
	port := strconv.Itoa(int(a.Port))
	if a.IP.Is6() {
		return "[" + a.IP.String() + "]:" + port
	}
	return a.Host() + ":" + port
}

// under reports whether the name is the top-level domain tld or a name below it.
func (a Addr) under(tld string) bool {
	name := strings.TrimSuffix(a.Name, ".")
	if len(name) > len(tld) && name[len(name)-len(tld)-1] == '.' {
		name = name[len(name)-len(tld):]
	}
	return strings.EqualFold(name, tld)
}

// IsOnion reports whether the name is under .onion, which nothing but Tor may look
// up (RFC 7686).
func (a Addr) IsOnion() bool { return a.under("onion") }

// CheckOnion reports whether an onion name can exist: its label before .onion holds a
// key of version 3 with its right checksum (Tor's rend-spec-v3, section 6). The error
// wraps [OnionBadAddress]. Of a name that is not under .onion it says nothing.
func (a Addr) CheckOnion() error {
	if !a.IsOnion() || validOnion(strings.TrimSuffix(a.Name, ".")) {
		return nil
	}
	return &FormatError{OnionBadAddress, "onion name is not an address of version 3 with a right checksum"}
}

// validOnion takes a name that ends in ".onion" or is "onion".
func validOnion(name string) bool {
	label := strings.TrimSuffix(strings.ToLower(name), ".onion")
	label = label[strings.LastIndexByte(label, '.')+1:]
	if len(label) != 56 {
		return false
	}
	raw, err := base32.StdEncoding.DecodeString(strings.ToUpper(label))
	if err != nil || len(raw) != 35 { // less: the decoder skips padding and line ends
		return false
	}
	key, sum, version := raw[:32], raw[32:34], raw[34]
	text := append([]byte(".onion checksum"), key...)
	want := sha3.Sum256(append(text, version))
	return version == 3 && bytes.Equal(sum, want[:2])
}
