package tornet

import (
	"fmt"
	"os"
	"path/filepath"
)

// relay is one of the network's routers: an authority or an exit.
type relay struct {
	daemon    *daemon
	keys      relayKeys
	authority *authorityKeys // nil for an exit
}

// How many ports relays have: an ORPort, and an authority a DirPort.
const (
	authorityPorts = 2
	exitPorts      = 1
)

// makeRelays makes the relays and the directory that lists them, and writes the
// relays' files.
func (n *Network) makeRelays() error {
	for i := range authorities {
		if err := n.addRelay(fmt.Sprintf("auth%d", i+1), authorityPorts); err != nil {
			return err
		}
	}
	for i := range exits {
		if err := n.addRelay(fmt.Sprintf("exit%d", i+1), exitPorts); err != nil {
			return err
		}
	}
	var err error
	if n.directory, err = newDirectory(n.relays); err != nil {
		return err
	}
	n.membership = membershipTorrc(n.relays)
	resolver := filepath.Join(n.dir, "resolv.conf")
	if err := os.WriteFile(resolver, fmt.Appendf(nil, "nameserver %s\n", n.DNS), 0o600); err != nil {
		return err
	}
	for _, r := range n.relays {
		if err := r.writeKeys(n.directory); err != nil {
			return err
		}
		if err := n.furnish(r.daemon, r.torrc(n.directory, resolver)); err != nil {
			return err
		}
	}
	return nil
}

func (n *Network) addRelay(name string, ports int) (err error) {
	r := &relay{daemon: n.newDaemon(name, ports)}
	if r.keys, err = newRelayKeys(); err != nil {
		return err
	}
	if ports == authorityPorts {
		if r.authority, err = newAuthorityKeys(); err != nil {
			return err
		}
	}
	n.relays = append(n.relays, r)
	return nil
}

// writeKeys puts the relay's keys where its daemon looks for them.
func (r *relay) writeKeys(d directory) error {
	files := r.keys.files()
	if r.authority != nil {
		certificate, err := r.certificate(d.start)
		if err != nil {
			return err
		}
		files["authority_certificate"] = certificate
		files["authority_signing_key"] = privatePEM(r.authority.signing)
	}
	return writeFiles(filepath.Join(r.daemon.dir, "keys"), files)
}

// orPort returns the port for other daemons.
func (r *relay) orPort() uint16 { return r.daemon.ports[0] }

// dirPort returns an authority's port for plain directory requests, 0 for an
// exit.
func (r *relay) dirPort() uint16 {
	if r.authority == nil {
		return 0
	}
	return r.daemon.ports[1]
}

// fingerprint returns the relay's identity.
func (r *relay) fingerprint() []byte { return fingerprint(r.keys.identity) }

// voter returns an authority's identity as a signer of consensuses, nil for an
// exit.
func (r *relay) voter() []byte {
	if r.authority == nil {
		return nil
	}
	return fingerprint(r.authority.identity)
}

// flags returns what the consensus says of the relay.
func (r *relay) flags() string {
	if r.authority == nil {
		return "Exit Fast Guard HSDir Running Stable V2Dir Valid"
	}
	return "Authority Fast Guard HSDir Running Stable V2Dir Valid"
}
