package tornet

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
)

// Client is a tor daemon that takes requests. Its addresses are host:port and
// stay the same when it is killed and started again. Several goroutines may use
// it at once.
type Client struct {
	SOCKS         string // the SocksPort
	SOCKSExtended string // a SocksPort with the flag ExtendedErrors
	HTTPTunnel    string // the HTTPTunnelPort
	Control       string // the ControlPort
	Cookie        string // the file with the control port's cookie
	Dir           string // the DataDirectory; the log is the file log in it

	daemon *daemon
}

const clientPorts = 4

// newClient returns a client that is not yet started.
func (n *Network) newClient(name string, lines []string) (*Client, error) {
	d := n.newDaemon(name, clientPorts)
	c := &Client{
		SOCKS:         d.address(0),
		SOCKSExtended: d.address(1),
		HTTPTunnel:    d.address(2),
		Control:       d.address(3),
		Cookie:        d.cookie(),
		Dir:           d.dir,
		daemon:        d,
	}
	text := fmt.Sprintf(`SocksPort %s
SocksPort %s ExtendedErrors
HTTPTunnelPort %s
ControlPort %s
CookieAuthentication 1
`, c.SOCKS, c.SOCKSExtended, c.HTTPTunnel, c.Control)
	return c, n.furnish(d, text+strings.Join(lines, "\n")+"\n")
}

// PID returns the daemon's process number, 0 while it does not run.
func (c *Client) PID() int { return c.daemon.pid() }

// Kill ends the daemon with SIGKILL and returns when it is gone. If it is gone
// already, Kill does nothing.
func (c *Client) Kill() error { return c.daemon.kill() }

// Start runs the daemon again after its end and returns when it has built a
// circuit, or after a minute at most.
func (c *Client) Start(ctx context.Context) error {
	ctx, cancel := withLimit(ctx)
	defer cancel()
	if err := c.daemon.start(); err != nil {
		return err
	}
	return c.daemon.await(ctx, bootstrapped)
}

// address returns the daemon's i-th address.
func (d *daemon) address(i int) string { return fmt.Sprintf("%s:%d", d.host, d.ports[i]) }

// cookie returns the file that opens the daemon's control port.
func (d *daemon) cookie() string { return filepath.Join(d.dir, "control_auth_cookie") }
