package via

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"

	"hosier/internal/rules"
	"hosier/socks"
)

// What people write as an address, in flags and arguments. Names of other scripts become
// those that DNS has (see [rules.ToASCII]); nothing is looked up.

var (
	ErrServer = errors.New("write host:port, such as 127.0.0.1:1080, or unix:/path")
	ErrPort   = errors.New("the port is not a number from 1 to 65535")
)

// ParseHost is [socks.ParseHost] of what a person wrote.
func ParseHost(text string) (socks.Addr, error) {
	ascii, err := rules.ToASCII(text)
	if err != nil {
		return socks.Addr{}, err
	}
	return socks.ParseHost(ascii)
}

// ParseServer returns the host:port or unix:/path of a server to connect to, ready to be
// dialled.
func ParseServer(text string) (string, error) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		if path == "" {
			return "", ErrServer
		}
		if err := CheckPath(path); err != nil {
			return "", err
		}
		return text, nil
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil || port == "" {
		return "", ErrServer
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", ErrPort
	}
	if host == "" { // this host
		return text, nil
	}
	if host, err = rules.ToASCII(host); err != nil {
		return "", err
	}
	return net.JoinHostPort(host, port), nil
}

// maxPath is how many bytes the path of a Unix socket has at most on this system.
const maxPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// CheckPath returns an error for the path of a Unix socket that no system call takes.
func CheckPath(path string) error {
	if len(path) > maxPath {
		return fmt.Errorf("the path has %d bytes, and that of a Unix socket at most %d: choose a shorter one", len(path), maxPath)
	}
	return nil
}

// ParseTarget reads host:port of what a client asks for, or a host alone, to which it adds
// the port.
func ParseTarget(text string, port uint16) (socks.Addr, error) {
	if i := strings.LastIndexByte(text, ':'); i >= 0 {
		if host, err := ParseHost(text[:i]); err == nil && (host.IP.Is4() || host.Name != "" || strings.HasPrefix(text, "[")) {
			n, err := strconv.ParseUint(text[i+1:], 10, 16)
			if err != nil {
				return socks.Addr{}, fmt.Errorf("%q: the port is not a number from 0 to 65535", text)
			}
			host.Port = uint16(n)
			return host, nil
		}
	}
	a, err := ParseHost(text)
	if err != nil {
		return a, fmt.Errorf("%q is neither a URL nor host:port: %w", text, err)
	}
	a.Port = port
	return a, nil
}

// IsLocalhost reports whether the name is loopback by itself (RFC 6761 section 6.3).
func IsLocalhost(name string) bool {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}
