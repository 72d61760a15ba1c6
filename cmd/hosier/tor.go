package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"hosier/egress/tor"
	"hosier/proxy"
	"hosier/socks"
)

// torSpec is what a --via that leads into Tor says.
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
		return torSpec{}, errors.New("--via tor://: before an @ stands only :PASSWORD, that of the control port, " +
			"where %40 is an @, %2F a /, %3F a ? and %25 a %")
	}
	shown := "--via tor://" + hosts
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
		return address, nil
	}
	host, port, err := net.SplitHostPort(address)
	n, perr := strconv.ParseUint(port, 10, 16)
	if _, herr := socks.ParseHost(host); err != nil || perr != nil || herr != nil || n == 0 {
		return "", fmt.Errorf("%q: write host:port, such as 127.0.0.1:9050, or unix:/path", address)
	}
	return address, nil
}

func parseSpawn(via string) (daemons int, err error) {
	u, err := url.Parse(via)
	if err != nil || u.Opaque != "" || u.User != nil || u.Host != "" || u.Path != "" || u.Fragment != "" {
		return 0, errors.New("--via tor+spawn: write tor+spawn:// or tor+spawn://?daemons=N; the addresses are hosier's affair")
	}
	values := u.Query()
	for key := range values {
		if key != "daemons" {
			return 0, fmt.Errorf("--via %s: there is no %s=, only daemons=", via, key)
		}
	}
	if len(values) == 0 {
		return 1, nil
	}
	n, err := strconv.ParseUint(values.Get("daemons"), 10, 8)
	if err != nil || n < 1 || n > 64 {
		return 0, fmt.Errorf("--via %s: daemons= is not a number from 1 to 64", via)
	}
	return int(n), nil
}

// torOptions are the options of serve that only a way out through Tor has.
type torOptions struct {
	isolate   []string
	noIsolate []string
	torrc     string
}

// isolationWords are what --isolate and --no-isolate take.
const isolationWords = "listener, client, credentials, destination, port, protocol"

// isolation makes of the words what the pool shall do.
func (o torOptions) isolation() (i tor.Isolation, err error) {
	set := func(flag string, words []string, on bool) error {
		for _, w := range words {
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
				return fmt.Errorf("--%s %s: the words are %s", flag, w, isolationWords)
			}
			if !on && slices.Contains(o.isolate, w) {
				return fmt.Errorf("--isolate %s and --no-isolate %[1]s: choose one", w)
			}
		}
		return nil
	}
	if err := set("isolate", o.isolate, true); err != nil {
		return i, err
	}
	return i, set("no-isolate", o.noIsolate, false)
}

// onlyTor refuses them for other ways out.
func (o torOptions) onlyTor(via string) error {
	switch {
	case len(o.isolate)+len(o.noIsolate) > 0:
		return fmt.Errorf("--isolate and --no-isolate: only a way out through Tor has circuits, and --via %s has none", redacted(via))
	case o.torrc != "":
		return fmt.Errorf("--torrc %s: it is for the tor that hosier starts: --via tor+spawn://", o.torrc)
	}
	return nil
}

// torPorts are where a tor is looked for: those of the daemon and of Tor Browser.
var torPorts = []string{"127.0.0.1:9050", "127.0.0.1:9150"}

// findTor returns the first of the addresses at which a SOCKS server answers.
func findTor(ctx context.Context, addresses []string) (string, error) {
	for _, address := range addresses {
		if answersSOCKS(ctx, address) {
			return address, nil
		}
	}
	return "", fmt.Errorf("--via tor: no tor runs on %s: install and start Debian's package tor (apt-get install tor), "+
		"say where it is with --via tor://HOST:PORT, or have hosier start one with --via tor+spawn://", strings.Join(addresses, " or "))
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

// openTor makes the pool that via and the options ask for. It starts nothing.
func openTor(ctx context.Context, o serveOptions, log *slog.Logger) (*tor.Pool, error) {
	spec, err := parseTor(o.via)
	if err != nil {
		return nil, usageError{err}
	}
	isolation, err := o.tor.isolation()
	if err != nil {
		return nil, usageError{err}
	}
	if o.tor.torrc != "" && spec.daemons == 0 {
		return nil, usageError{o.tor.onlyTor(o.via)}
	}
	p := &tor.Pool{Members: spec.members, Isolation: isolation, Log: log}
	if p.Key, err = loadKey(o.stateDir, spec.daemons > 0, log); err != nil {
		return nil, err
	}
	switch {
	case spec.find:
		address, err := findTor(ctx, torPorts)
		if err != nil {
			return nil, err
		}
		p.Members = []tor.Member{{SOCKS: address}}
	case spec.daemons > 0:
		p.Members, err = spawn(ctx, o, spec.daemons)
	}
	return p, err
}

func spawn(ctx context.Context, o serveOptions, n int) ([]tor.Member, error) {
	lines := []byte(nil)
	if o.tor.torrc != "" {
		var err error
		if lines, err = os.ReadFile(o.tor.torrc); err != nil {
			return nil, usageError{fmt.Errorf("--torrc: %w", err)}
		}
	}
	dir, err := stateDir(o.stateDir)
	if err != nil {
		return nil, err
	}
	members, err := tor.Spawn(ctx, "", dir, n, string(lines))
	if err != nil {
		return nil, fmt.Errorf("--via %s: %w", o.via, err)
	}
	return members, nil
}

// loadKey reads the key of the isolation hash, or makes it. A state directory that
// nobody named and that cannot be had costs no more than that replicas and restarts
// choose other circuits, unless it is needed.
func loadKey(dir string, needed bool, log *slog.Logger) (tor.Key, error) {
	path, err := stateDir(dir)
	if err == nil {
		var k tor.Key
		if k, err = tor.LoadKey(filepath.Join(path, "isolation.key")); err == nil {
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
// and makes it if need be.
func stateDir(dir string) (string, error) {
	dir, err := stateDirPath(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return "", fmt.Errorf("state directory (--state-dir): %w", err)
	}
	return dir, nil
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

// startTor runs the pool that out may be, and answers hosier status about it. The function
// that it returns ends both, and the daemons.
func startTor(ctx context.Context, out proxy.Egress, o serveOptions, changed func(tor.Status), log *slog.Logger) (stop func(), err error) {
	p, ok := out.(*tor.Pool)
	if !ok {
		return func() {}, nil
	}
	p.Changed = changed
	status, err := serveStatus(ctx, p, o)
	if err != nil {
		if slices.ContainsFunc(p.Members, func(m tor.Member) bool { return m.Daemon != nil }) {
			return nil, err // another hosier may run daemons in the same directories
		}
		log.Warn("hosier status will not find this one", "error", err)
	}
	running, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	var pool sync.WaitGroup
	pool.Go(func() { p.Run(running) })
	return func() {
		cancel(errors.New("hosier is stopping"))
		pool.Wait()
		if status != nil {
			status.Close()
		}
	}, nil
}
