package via

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Tor is what the URL of an egress into Tor says: one of the three fields.
type Tor struct {
	Find    bool     // look for a running tor
	Daemons int      // to start
	Members []Member // that run already
}

// Member is a tor that runs already. The addresses are host:port or unix:/path.
type Member struct {
	SOCKS    string
	Control  string // of its control port; "" if it is not known
	Password string // of the control port
}

// isTor reports whether via leads into Tor.
func isTor(via string) bool {
	return via == "tor" || strings.HasPrefix(via, "tor://") || strings.HasPrefix(via, "tor+spawn:")
}

// parseTor reads tor, tor://[:PASSWORD@]ADDR[,ADDR…][?control=ADDR[,ADDR…]] and
// tor+spawn://[?daemons=N]. Its errors show no password.
func parseTor(via string) (Tor, error) {
	if via == "tor" {
		return Tor{Find: true}, nil
	}
	if strings.HasPrefix(via, "tor+spawn:") {
		n, err := parseSpawn(via)
		return Tor{Daemons: n}, err
	}
	rest := strings.TrimPrefix(via, "tor://")
	rest, query, _ := strings.Cut(rest, "?")
	password, hosts, err := cutPassword(rest)
	if err != nil || strings.Contains(query, "@") {
		return Tor{}, errors.New("tor://: before an @ stands only :PASSWORD, that of the control port, " +
			"where %40 is an @, %2F a /, %3F a ? and %25 a %")
	}
	shown := "tor://" + hosts
	members, err := parseMembers(hosts, password)
	if err != nil {
		return Tor{}, fmt.Errorf("%s: %w", shown, err)
	}
	if err := addControls(members, query); err != nil {
		return Tor{}, fmt.Errorf("%s?%s: %w", shown, query, err)
	}
	if password != "" && query == "" {
		return Tor{}, fmt.Errorf("%s: the password is for a control port, and there is none: add ?control=HOST:PORT", shown)
	}
	return Tor{Members: members}, nil
}

func cutPassword(s string) (password, hosts string, err error) {
	i := strings.LastIndex(s, "@")
	if i < 0 {
		return "", s, nil
	}
	if !strings.HasPrefix(s, ":") || strings.ContainsAny(s[:i], "/#@") {
		return "", "", errors.New("not a password")
	}
	password, err = url.PathUnescape(s[1:i])
	return password, s[i+1:], err
}

func parseMembers(hosts, password string) (all []Member, err error) {
	for text := range strings.SplitSeq(strings.TrimSuffix(hosts, "/"), ",") {
		address, err := parseTorAddress(text)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(all, func(m Member) bool { return m.SOCKS == address }) {
			return nil, fmt.Errorf("%s is there twice", address)
		}
		all = append(all, Member{SOCKS: address, Password: password})
	}
	return all, nil
}

// addControls gives each member the control port that stands at its place.
func addControls(members []Member, query string) error {
	if query == "" {
		return nil
	}
	key, value, _ := strings.Cut(query, "=")
	switch {
	case key == "daemons":
		return fmt.Errorf("these are addresses of a tor that runs; to have hosier start some, write tor+spawn://?daemons=%s", value)
	case key != "control":
		return fmt.Errorf("there is no %s=, only control=", key)
	}
	list := strings.Split(value, ",")
	if len(list) != len(members) {
		return fmt.Errorf("%d SOCKS addresses and %d control addresses: write as many of both, in the same order, with commas", len(members), len(list))
	}
	for i, text := range list {
		address, err := parseTorAddress(text)
		if err != nil {
			return fmt.Errorf("control: %w", err)
		}
		members[i].Control = address
	}
	return nil
}

// parseTorAddress reads host:port or unix:/path.
func parseTorAddress(text string) (string, error) {
	address, err := url.PathUnescape(text)
	if err != nil {
		return "", fmt.Errorf("%s: %%25 stands for a %%", text)
	}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		if !filepath.IsAbs(path) {
			return "", fmt.Errorf("%s: write the whole path, such as unix:/run/tor/socks", address)
		}
		return address, CheckPath(path)
	}
	host, port, err := net.SplitHostPort(address)
	a, herr := ParseHost(host)
	if err != nil || herr != nil || strings.Trim(port, "0123456789") != "" || port == "" {
		return "", fmt.Errorf("%q: write host:port, such as 127.0.0.1:9050, or unix:/path", address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("%q: %w", address, ErrPort)
	}
	if isUnspecified(host) {
		return "", fmt.Errorf("%s: %w", address, errUnspecified)
	}
	return net.JoinHostPort(a.Host(), port), nil
}

func parseSpawn(via string) (daemons int, err error) {
	u, err := url.Parse(via)
	if err != nil || u.Opaque != "" || u.User != nil || u.Host != "" || u.Path != "" || u.Fragment != "" {
		return 0, errors.New("tor+spawn: write tor+spawn:// or tor+spawn://?daemons=N; the addresses are hosier's affair")
	}
	values := u.Query()
	for key := range values {
		if key != "daemons" {
			return 0, fmt.Errorf("tor+spawn: there is no %s=, only daemons=", key)
		}
	}
	if len(values) == 0 {
		return 1, nil
	}
	n, err := strconv.ParseUint(values.Get("daemons"), 10, 8)
	if err != nil || n < 1 || n > 64 {
		return 0, fmt.Errorf("%s: daemons= is not a number from 1 to 64", via)
	}
	return int(n), nil
}
