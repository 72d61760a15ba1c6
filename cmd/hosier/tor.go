package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"hosier/egress/tor"
	"hosier/internal/config"
	"hosier/internal/listen"
	"hosier/internal/private"
	"hosier/socks"
)

// torSpec is what the URL of a way out through Tor says.
type torSpec struct {
	find    bool         // look for a running tor
	daemons int          // to start
	members []tor.Member // that run already
}

// isTor reports whether via leads into Tor.
func isTor(via string) bool {
	return via == "tor" || strings.HasPrefix(via, "tor://") || strings.HasPrefix(via, "tor+spawn:")
}

// parseTor reads tor, tor://[:PASSWORD@]ADDR[,ADDR…][?control=ADDR[,ADDR…]] and
// tor+spawn://[?daemons=N]. Its errors show no password.
func parseTor(via string) (torSpec, error) {
	if via == "tor" {
		return torSpec{find: true}, nil
	}
	if strings.HasPrefix(via, "tor+spawn:") {
		n, err := parseSpawn(via)
		return torSpec{daemons: n}, err
	}
	rest := strings.TrimPrefix(via, "tor://")
	rest, query, _ := strings.Cut(rest, "?")
	password, hosts, err := cutPassword(rest)
	if err != nil || strings.Contains(query, "@") {
		return torSpec{}, errors.New("tor://: before an @ stands only :PASSWORD, that of the control port, " +
			"where %40 is an @, %2F a /, %3F a ? and %25 a %")
	}
	shown := "tor://" + hosts
	members, err := parseMembers(hosts, password)
	if err != nil {
		return torSpec{}, fmt.Errorf("%s: %w", shown, err)
	}
	if err := addControls(members, query); err != nil {
		return torSpec{}, fmt.Errorf("%s?%s: %w", shown, query, err)
	}
	if password != "" && query == "" {
		return torSpec{}, fmt.Errorf("%s: the password is for a control port, and there is none: add ?control=HOST:PORT", shown)
	}
	return torSpec{members: members}, nil
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

func parseMembers(hosts, password string) (all []tor.Member, err error) {
	for text := range strings.SplitSeq(strings.TrimSuffix(hosts, "/"), ",") {
		address, err := parseTorAddress(text)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(all, func(m tor.Member) bool { return m.SOCKS == address }) {
			return nil, fmt.Errorf("%s is there twice", address)
		}
		all = append(all, tor.Member{SOCKS: address, Password: password})
	}
	return all, nil
}

// addControls gives each member the control port that stands at its place.
func addControls(members []tor.Member, query string) error {
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
		return address, listen.CheckPath(path)
	}
	host, port, err := net.SplitHostPort(address)
	a, herr := parseHost(host)
	if err != nil || herr != nil || strings.Trim(port, "0123456789") != "" || port == "" {
		return "", fmt.Errorf("%q: write host:port, such as 127.0.0.1:9050, or unix:/path", address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("%q: %w", address, errPort)
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
			return 0, fmt.Errorf("%s: there is no %s=, only daemons=", via, key)
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

// isolationOf makes of the words of isolate and no-isolate what a pool shall do.
func isolationOf(words config.Isolation) (i tor.Isolation, err error) {
	set := func(key string, list []string, on bool) error {
		for _, w := range list {
			switch w {
			case "listener":
				i.NoListener = !on
			case "client":
				i.NoClient = !on
			case "credentials":
				i.NoAuth = !on
			case "destination":
				i.Destination = on
			case "port":
				i.Port = on
			case "protocol":
				i.Protocol = on
			default:
				return fmt.Errorf("%s %s: the words are listener, client, credentials, destination, port, protocol", key, w)
			}
			if !on && slices.Contains(words.Isolate, w) {
				return fmt.Errorf("isolate %s and no-isolate %[1]s: choose one", w)
			}
		}
		return nil
	}
	if err := set("isolate", words.Isolate, true); err != nil {
		return i, err
	}
	return i, set("no-isolate", words.NoIsolate, false)
}

// torPorts are where a tor is looked for: those of the daemon and of Tor Browser.
var torPorts = []string{"127.0.0.1:9050", "127.0.0.1:9150"}

// torPortsBeside returns the torPorts that no listener of hosier's own has, which would answer
// there like a tor.
func torPortsBeside(listeners []config.Listener) (all []string) {
	for _, address := range torPorts {
		_, port, _ := net.SplitHostPort(address)
		if !slices.ContainsFunc(listeners, func(l config.Listener) bool { return strings.HasSuffix(l.Address, ":"+port) }) {
			all = append(all, address)
		}
	}
	return all
}

// findMember returns the tor that runs at one of the addresses. One that is not there yet may
// still come, at boot or by hand, and is looked for with each request; these fail until then.
func findMember(ctx context.Context, addresses []string, log *slog.Logger) ([]tor.Member, error) {
	if len(addresses) == 0 {
		return nil, usageError{errors.New("tor: hosier's own listeners have the ports 9050 and 9150, so no tor can be there: say where it is with tor://HOST:PORT")}
	}
	address := findTor(ctx, addresses)
	if address != "" {
		return []tor.Member{{SOCKS: address}}, nil
	}
	log.Warn("no tor runs here yet, and requests through it fail until one does", "looked", strings.Join(addresses, " and "),
		"fix", "install and start Debian's package tor (apt-get install tor), name it with tor://HOST:PORT, "+
			"or have hosier start one with tor+spawn://")
	return []tor.Member{{SOCKS: addresses[0], Others: addresses[1:]}}, nil
}

// findTor returns the first of the addresses at which a SOCKS server answers, "" if there is
// none.
func findTor(ctx context.Context, addresses []string) string {
	for _, address := range addresses {
		if answersSOCKS(ctx, address) {
			return address
		}
	}
	return ""
}

func answersSOCKS(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := c.Write(socks.AppendMethods(nil, socks.NoAuth)); err != nil {
		return false
	}
	answer := make([]byte, 2)
	_, err = io.ReadFull(c, answer)
	return err == nil && answer[0] == 5
}

// keyFile is in the state directory.
const keyFile = "isolation.key"

// loadKey reads the key of the isolation hash, or makes it. A state directory that
// nobody named and that cannot be had costs no more than that replicas and restarts
// choose other circuits, unless it is needed.
func loadKey(dir string, needed bool, log *slog.Logger) (tor.Key, error) {
	path, err := stateDir(dir)
	if err == nil {
		var k tor.Key
		if k, err = tor.LoadKey(filepath.Join(path, keyFile)); err == nil {
			return k, nil
		}
	}
	if dir != "" || needed {
		return tor.Key{}, err
	}
	log.Warn("no state directory, so the isolation key is one for this run; name one with --state-dir", "error", err)
	return tor.Key{}, nil
}

// stateDir returns the directory that hosier keeps its state in, for its owner alone,
// and makes it if need be. One that other users own or may write in is refused: what stands
// there would be theirs, the admin token among it.
func stateDir(dir string) (string, error) {
	dir, err := stateDirPath(dir)
	if err == nil {
		err = private.MkdirAll(dir)
	}
	if err != nil {
		return "", fmt.Errorf("state directory (--state-dir): %w", err)
	}
	return dir, nil
}

// checkNamedStateDir judges a state directory that somebody named and that is there, so that
// whether it is refused does not depend on what else the configuration has.
func checkNamedStateDir(dir string) error {
	if dir == "" {
		return nil
	}
	err := private.CheckDir(dir)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("state directory (--state-dir): %w", err)
}

// stateDirPath chooses as systemd and the XDG specification say.
func stateDirPath(dir string) (string, error) {
	if dir != "" {
		return filepath.Abs(dir)
	}
	if list := os.Getenv("STATE_DIRECTORY"); list != "" {
		first, _, _ := strings.Cut(list, ":")
		return first, nil
	}
	if home := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, "hosier"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(home, ".local", "state", "hosier"), nil
}
