package tornet

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
)

const (
	authorities = 3
	exits       = 3
)

// run starts all parts of the network. What it began before an error, stop ends.
func (n *Network) run(ctx context.Context, o Options, choose portChooser) (err error) {
	if err := n.makeDir(o.Dir); err != nil {
		return err
	}
	if err := n.listen(); err != nil {
		return err
	}
	wanted := authorities*authorityPorts + exits*exitPorts + o.Clients*clientPorts + servicePorts
	if n.free, err = choose(n.host, wanted); err != nil {
		return err
	}
	if err := n.makeRelays(); err != nil {
		return err
	}
	for i := range o.Clients {
		c, err := n.newClient(fmt.Sprintf("client%d", i+1), o.ClientLines)
		if err != nil {
			return err
		}
		n.Clients = append(n.Clients, c)
	}
	if o.Onion {
		if err := n.makeService(); err != nil {
			return err
		}
	}
	return n.runDaemons(ctx)
}

// makeDir makes the network's directory.
func (n *Network) makeDir(dir string) (err error) {
	if dir == "" {
		n.dir, err = os.MkdirTemp("", "tornet")
		return err
	}
	n.keep = true
	if n.dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(n.dir)
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("directory %s is not empty", n.dir)
	}
	return err
}

// listen starts the servers of this process.
func (n *Network) listen() (err error) {
	if n.web, err = listenWeb(); err != nil {
		return err
	}
	n.Web = n.web.addr
	if n.zone, err = listenZone(n.host); err != nil {
		return err
	}
	n.DNS = netip.MustParseAddrPort(n.zone.conn.LocalAddr().String())
	return nil
}

// runDaemons starts the relays, and when these run all others: a client that
// finds no relay waits before it looks again.
func (n *Network) runDaemons(ctx context.Context) error {
	for _, r := range n.relays {
		if err := r.daemon.start(); err != nil {
			return err
		}
	}
	for _, r := range n.relays {
		if err := r.daemon.await(ctx, started); err != nil {
			return err
		}
	}
	others := n.clients()
	if n.service != nil {
		others = append(others, n.service)
	}
	for _, d := range others {
		if err := d.start(); err != nil {
			return err
		}
	}
	for _, d := range others {
		if err := d.await(ctx, bootstrapped); err != nil {
			return err
		}
	}
	if n.service == nil {
		return nil
	}
	return n.openService(ctx)
}

// newDaemon returns a daemon with as many of the free ports. It has no files
// before furnish.
func (n *Network) newDaemon(name string, ports int) *daemon {
	d := &daemon{
		name:    name,
		program: n.program,
		dir:     filepath.Join(n.dir, name),
		host:    n.host,
		ports:   n.free[:ports],
	}
	n.free = n.free[ports:]
	return d
}

// furnish writes what a daemon needs to start as a member of the network.
func (n *Network) furnish(d *daemon, torrc string) error {
	if err := n.directory.write(d.dir); err != nil {
		return err
	}
	return writeFiles(d.dir, map[string][]byte{"torrc": []byte(n.membership + d.torrc() + torrc)})
}
