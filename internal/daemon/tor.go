package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hosier/egress/tor"
	"hosier/internal/config"
	"hosier/internal/private"
	"hosier/socks"
)

// torPorts are the addresses where a tor is looked for: the daemon's and Tor Browser's.
var torPorts = []string{"127.0.0.1:9050", "127.0.0.1:9150"}

// torPortsBeside returns the torPorts that none of hosier's own listeners has, which
// would look like a tor.
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
		return nil, UsageError{errors.New("tor: hosier's own listeners have the ports 9050 and 9150, so no tor can be there: say where it is with tor://HOST:PORT")}
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

// findTor returns the first of the addresses at which a SOCKS server answers; "" if there
// is none.
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

// KeyFile is the name of the file of the isolation key in the state directory.
const KeyFile = "isolation.key"

// loadKey reads the key of the isolation hash, or creates it. A state directory that
// nobody named and that cannot be had costs no more than that replicas and restarts
// choose other circuits, unless it is needed.
func loadKey(dir string, needed bool, log *slog.Logger) (tor.Key, error) {
	path, err := stateDir(dir)
	if err == nil {
		var k tor.Key
		if k, err = tor.LoadKey(filepath.Join(path, KeyFile)); err == nil {
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
	dir, err := StateDirPath(dir)
	if err == nil {
		err = private.MkdirAll(dir)
	}
	if err != nil {
		return "", fmt.Errorf("state directory (--state-dir): %w", err)
	}
	return dir, nil
}

// checkNamedStateDir checks an existing state directory that was configured explicitly,
// so that its refusal does not depend on the rest of the configuration.
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

// StateDirPath returns the directory without checking it, as systemd and the XDG
// specification define it.
func StateDirPath(dir string) (string, error) {
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
