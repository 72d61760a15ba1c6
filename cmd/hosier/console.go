package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hosier/internal/admin"
	"hosier/internal/daemon"
)

const (
	consoleTimeout = 10 * time.Second
	linkPath       = "/api/v1/signin-links"

	// openerTime is how long an opener may take to say that it cannot. One that goes on
	// after that has become the browser.
	openerTime = 3 * time.Second
)

func consoleCommand() *cobra.Command {
	var dir, address string
	var open bool
	cmd := &cobra.Command{
		Use:   "console [--state-dir DIR] [--admin ADDR] [--open]",
		Short: "Print a link that signs a browser in to the console",
		Long: `console prints a link to the console of the hosier that serves with the same state directory
and has an admin listener: hosier serve --admin 127.0.0.1:9180. The link signs one browser in,
once, within a minute; the browser stays signed in for 12 hours. Whoever may read the state
directory may sign in.

To see the console of another host, run ssh -L 9180:127.0.0.1:9180 HOST, with the port of its
admin listener at both ends, there run hosier console, and open the link here.`,
		Example: `  hosier console --open
  sudo hosier console`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			link, err := signInLink(cmd.Context(), dir, address)
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), link); err != nil || !open {
				return err
			}
			return openLink(cmd.Context(), link)
		},
	}
	f := cmd.Flags()
	f.StringVar(&dir, "state-dir", "", runningDirUsage)
	f.StringVar(&address, "admin", "", "the admin listener, if it cannot be found by the state directory: `ADDR` is host:port or unix:/path")
	f.BoolVar(&open, "open", false, "open the link in the browser, too; until it is used, other users of this host may see it among the processes")
	return cmd
}

// signInLink gets a link from the hosier of the state directory, by its admin listener.
func signInLink(ctx context.Context, dir, address string) (string, error) {
	dir, err := runningStateDir(dir, serviceStateDir)
	if err != nil {
		return "", fmt.Errorf("state directory (--state-dir): %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, consoleTimeout)
	defer cancel()
	if address == "" {
		return ownLink(ctx, dir)
	}
	network, at, err := adminAddress(address)
	if err != nil {
		return "", usageError{err}
	}
	token, err := admin.ReadToken(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("%w: no hosier with an admin listener has run with this state directory; name its --state-dir", err)
	case errors.Is(err, fs.ErrPermission):
		return "", fmt.Errorf("%w: ask as the user that hosier runs as", err)
	case err != nil:
		return "", err
	}
	return askLink(ctx, network, at, dir, token)
}

// ownLink gets a link from the hosier of the state directory by its socket there.
func ownLink(ctx context.Context, dir string) (string, error) {
	resp, err := askControl(ctx, dir, http.MethodPost, linkPath)
	if none := (*notFound)(nil); errors.As(err, &none) && !errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w, or start one with hosier serve --admin 127.0.0.1:9180", err)
	}
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusConflict {
		return "", fmt.Errorf("the hosier of %s runs without an admin listener for browsers: start it with --admin 127.0.0.1:9180, "+
			"or with admin = \"127.0.0.1:9180\" in its configuration file", dir)
	}
	return readLink(resp, daemon.ControlSocket(dir), dir)
}

// adminAddress reads what --admin of serve takes, and the URL that serve prints. The token
// is not for other hosts, and travels in the clear.
func adminAddress(text string) (network, address string, err error) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok && path != "" {
		return "unix", path, nil
	}
	address = strings.TrimSuffix(strings.TrimPrefix(text, "http://"), "/")
	host, port, err := net.SplitHostPort(address)
	if err != nil || port == "" {
		return "", "", fmt.Errorf("--admin %s: write host:port, such as 127.0.0.1:9180, or unix:/path", text)
	}
	if !isLoopbackHost(host) {
		return "", "", fmt.Errorf("--admin %s: an admin listener is on loopback; for that of another host, "+
			"run ssh -L %s:127.0.0.1:%[2]s HOST, and hosier console there", text, port)
	}
	return "tcp", address, nil
}

func isLoopbackHost(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// askLink asks the admin listener itself.
func askLink(ctx context.Context, network, address, dir string, token admin.Token) (string, error) {
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}
	host := address
	if network == "unix" {
		host = "hosier"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+host+linkPath, nil)
	if err != nil {
		return "", fmt.Errorf("admin listener %s: %w", address, err)
	}
	req.Header.Set("Authorization", "Bearer "+token.Reveal())
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return "", fmt.Errorf("admin listener %s: %w", address, err)
	}
	defer resp.Body.Close()
	return readLink(resp, address, dir)
}

// readLink reads the answer of an admin listener.
func readLink(resp *http.Response, address, dir string) (string, error) {
	var got struct{ Link, Error string }
	err := json.NewDecoder(io.LimitReader(resp.Body, maxStatus)).Decode(&got)
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		return "", fmt.Errorf("admin listener %s: it does not take the token of %s; name the --state-dir of the hosier that serves there", address, dir)
	case resp.StatusCode == http.StatusMisdirectedRequest:
		return "", fmt.Errorf("admin listener %s: it has another port; a tunnel needs the same at both ends", address)
	case resp.StatusCode == http.StatusConflict && err == nil:
		return "", fmt.Errorf("admin listener %s: %.200q", address, got.Error)
	case resp.StatusCode != http.StatusCreated || err != nil || checkedLink(got.Link) == "":
		return "", fmt.Errorf("admin listener %s: what answers there is no hosier (%.40q)", address, resp.Status)
	}
	return checkedLink(got.Link), nil
}

// checkedLink keeps what is no hosier from having something else opened or printed; then
// it is "".
func checkedLink(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" || !isLoopbackHost(u.Hostname()) || u.Path != "/signin" {
		return ""
	}
	return "http://" + u.Host + "/signin?code=" + url.QueryEscape(u.Query().Get("code"))
}

// openLink has the system's browser open the link.
func openLink(ctx context.Context, link string) error {
	words := []string{"xdg-open", link}
	switch runtime.GOOS {
	case "darwin":
		words[0] = "open"
	case "windows":
		words = []string{"rundll32", "url.dll,FileProtocolHandler", link}
	}
	// Not CommandContext: a browser that it starts outlives this command.
	cmd := exec.Command(words[0], words[1:]...)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("the link was not opened, open it by hand: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			return fmt.Errorf("the link was not opened, open it by hand: %s: %w", words[0], err)
		}
	case <-time.After(openerTime):
	case <-ctx.Done():
	}
	return nil
}
