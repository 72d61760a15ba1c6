// Package tornet runs a private Tor network for tests: real tor daemons on
// loopback, a DNS server that is the only one the network's exits know, and a
// web server to fetch pages from. Nothing leaves loopback.
//
// A test that needs a network of its own takes it from [ForTest]; tests that can
// share one use [Shared]. A start takes one to two seconds, and one to two more
// with an onion service.
//
// # Names
//
// The DNS server answers for these names under [Domain], for those given to
// [Network.SetHost], and NXDOMAIN for all others:
//
//	www, web    127.0.0.1, where the web server listens
//	two         127.0.0.2, where it listens too
//	six         ::1, and there too if the machine has that address
//	dual        127.0.0.1 and ::1
//	ptr         203.0.113.7, whose own name is this
//	ptr6        2001:db8::7, whose own name is this
//	map         198.51.100.9
//	slow        never an answer
//	broken      SERVFAIL
//
// An exit remembers answers, and asks nobody for the names of private addresses.
// A test that counts questions needs a name that no test used before.
//
// # How it starts so fast
//
// A Tor network that starts from nothing waits for its authorities' first vote.
// This one starts as after a restart: the relays' keys are made here, and every
// data directory holds a consensus about them that is signed with the keys of
// the authorities. It is good for half an hour; then the authorities vote.
package tornet

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"time"
)

// Domain ends every name that the network's DNS server knows from the start.
const Domain = "tornet.test"

const (
	// startLimit is how long a start may take, many times what it does take.
	startLimit = time.Minute
	// startTries is how often a start is tried while ports are lost to others.
	startTries = 3
)

// ErrNotInstalled is what [Start] returns where there is no tor to run.
var ErrNotInstalled = errors.New("install Debian's package tor (apt-get install tor)")

// Options says what a network has besides three authorities and three exits.
// With the zero value it has no clients but those that join by
// [Network.ClientTorrc].
type Options struct {
	// Dir is where the daemons' files go: a new or empty directory, kept after
	// Close. If empty, it is a temporary one that Close removes.
	Dir string
	// Clients is the number of client daemons.
	Clients int
	// ClientLines are further torrc lines for each of them.
	ClientLines []string
	// Onion asks for an onion service whose port 80 is the web server.
	Onion bool
}

// Network is a running Tor network. Several goroutines may use it at once.
type Network struct {
	Clients []*Client
	Onion   string         // the name of the onion service, "" if there is none
	Web     netip.AddrPort // the web server: the page "/" is Greeting, "/bytes/N" is Bytes(N)
	DNS     netip.AddrPort // the DNS server, over UDP

	program    string
	dir        string
	keep       bool // whether dir outlives the network
	host       string
	free       []uint16 // ports of host that no daemon has yet
	web        *web
	zone       *zone
	relays     []*relay
	service    *daemon // has the onion service; nil if there is none
	directory  directory
	membership string // the torrc lines of every daemon
	close      func() error
}

// Start runs a network. It returns when every client has built a circuit and,
// if there is an onion service, its descriptor is published and the first client
// has fetched a page from it; an error says which daemon was not ready and what
// that last logged. The context bounds the start alone, which gives up after a
// minute in any case. The caller must close the network.
func Start(ctx context.Context, o Options) (*Network, error) {
	return start(ctx, o, freePorts)
}

// start is Start with a choice of how ports are chosen.
func start(ctx context.Context, o Options, choose portChooser) (*Network, error) {
	program, err := exec.LookPath("tor")
	if err != nil {
		return nil, fmt.Errorf("tornet: %w: %w", err, ErrNotInstalled)
	}
	ctx, cancel := withLimit(ctx)
	defer cancel()
	for try := 1; ; try++ {
		n := &Network{program: program, host: randomHost()}
		n.close = sync.OnceValue(n.stop)
		err := n.run(ctx, o, choose)
		if err == nil {
			return n, nil
		}
		err = errors.Join(err, n.Close())
		if try == startTries || !errors.Is(err, errPortTaken) {
			return nil, fmt.Errorf("tornet: %w", err)
		}
	}
}

// withLimit returns ctx, ended at the latest when a start has taken too long.
func withLimit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("not ready after %v", startLimit))
}

// ClientTorrc returns the torrc lines that make a tor started by someone else a
// client of this network. It lacks a DataDirectory and ports.
func (n *Network) ClientTorrc() string { return n.membership }

// Queries returns what the DNS server was asked so far, in order.
func (n *Network) Queries() []Query { return n.zone.asked() }

// SetHost makes addrs the addresses of a name, and the name that of those
// addresses that had none. Without addresses, the name is no more.
func (n *Network) SetHost(name string, addrs ...netip.Addr) { n.zone.set(name, addrs) }

// Close kills the daemons and returns when they are gone. It reports daemons
// that had died before, except clients: a test may have had its reasons. A
// second call does nothing and returns what the first did.
func (n *Network) Close() error { return n.close() }

func (n *Network) stop() error {
	errs := []error{n.check()}
	for _, d := range append(n.servers(), n.clients()...) {
		errs = append(errs, d.kill())
	}
	if n.zone != nil {
		errs = append(errs, n.zone.close())
	}
	if n.web != nil {
		errs = append(errs, n.web.close())
	}
	if n.dir != "" && !n.keep {
		errs = append(errs, os.RemoveAll(n.dir))
	}
	return errors.Join(errs...)
}

// check reports the daemons that died though nobody asked them to.
func (n *Network) check() error {
	var errs []error
	for _, d := range n.servers() {
		errs = append(errs, d.check())
	}
	return errors.Join(errs...)
}

// servers returns the daemons that the clients rely on.
func (n *Network) servers() []*daemon {
	var out []*daemon
	for _, r := range n.relays {
		out = append(out, r.daemon)
	}
	if n.service != nil {
		out = append(out, n.service)
	}
	return out
}

func (n *Network) clients() []*daemon {
	var out []*daemon
	for _, c := range n.Clients {
		out = append(out, c.daemon)
	}
	return out
}
