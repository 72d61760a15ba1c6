package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"hosier/socks"
)

// lookupWait is how long a lookup waits for its turn. It is as long as a DNS server that does
// not answer is waited for, so that the lookups that such a one holds up have ended by then.
const lookupWait = 10 * time.Second

// lookup returns the addresses of a name, at least one, unmapped. The network is "ip" or
// "ip4". Everything that Direct looks up comes by here or lookupAddr. An error wraps a
// *net.DNSError, or says nothing of the name: that there were too many lookups under way, or no
// descriptor for this one.
func (d *Direct) lookup(ctx context.Context, network, name string) ([]netip.Addr, error) {
	if isLocalhost(name) {
		return loopback(network), nil
	}
	end, err := d.begin(ctx, name)
	if err != nil {
		return nil, err
	}
	defer end()
	if bare := strings.TrimSuffix(name, "."); !strings.Contains(bare, ".") && d.rooted(name) != bare {
		if all, err := hostsFile.LookupNetIP(ctx, network, bare); err == nil {
			return unmapped(all), nil
		}
	}
	var all []netip.Addr
	err = d.ask(name, func(r *net.Resolver) (err error) {
		all, err = r.LookupNetIP(ctx, network, d.rooted(name))
		return err
	})
	return unmapped(all), err
}

// lookupAddr returns the names of an address, at least one. Its errors are those of lookup.
func (d *Direct) lookupAddr(ctx context.Context, ip netip.Addr) (names []string, err error) {
	end, err := d.begin(ctx, ip.String())
	if err != nil {
		return nil, err
	}
	defer end()
	err = d.ask(ip.String(), func(r *net.Resolver) (err error) {
		names, err = r.LookupAddr(ctx, ip.String())
		return err
	})
	return names, err
}

// isLocalhost reports whether the name is localhost or lies below it. Such names are loopback
// by themselves, and not to be asked of any DNS server (RFC 6761 section 6.3).
func isLocalhost(name string) bool {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

func loopback(network string) []netip.Addr {
	all := []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	if network == "ip4" {
		return all[:1]
	}
	return all
}

func unmapped(all []netip.Addr) []netip.Addr {
	for i := range all {
		all[i] = all[i].Unmap()
	}
	return all
}

// begin waits for a place among the lookups under way, which the caller gives back by end.
func (d *Direct) begin(ctx context.Context, name string) (end func(), err error) {
	if d.Lookups == nil {
		return func() {}, nil
	}
	select {
	case d.Lookups <- struct{}{}: // mostly; without a timer
		return func() { <-d.Lookups }, nil
	default:
	}
	timer := time.NewTimer(lookupWait)
	defer timer.Stop()
	select {
	case d.Lookups <- struct{}{}:
		return func() { <-d.Lookups }, nil
	case <-timer.C:
		return nil, fmt.Errorf("lookup %s: %w: %w", name, ErrLookups, socks.GeneralFailure)
	case <-ctx.Done():
		return nil, fmt.Errorf("lookup %s: %w: %w: %w", name, ErrLookups, socks.GeneralFailure, context.Cause(ctx))
	}
}

// ask has a resolver look something up, and makes of its error one that is true: it names the
// DNS server that was asked, and a shortage of this host's is none of the name's.
func (d *Direct) ask(name string, look func(*net.Resolver) error) error {
	var shortage atomic.Pointer[error]
	err := look(d.resolver(func(err error) { shortage.Store(&err) }))
	dns := (*net.DNSError)(nil)
	if !errors.As(err, &dns) {
		return err
	}
	// Go's resolver keeps no cause but a context's end. An answer from a server, if there was
	// one for the other family, counts.
	if cause := shortage.Load(); cause != nil && !dns.IsNotFound {
		return fmt.Errorf("lookup %s: %w", name, *cause)
	}
	told := *dns
	told.Name = name
	if d.DNS != "" && told.Server != "" {
		told.Server = d.DNS // Go names resolv.conf's
	}
	return &told
}

// resolver asks the DNS server of d. Short is told of each socket that this host is too short of
// something to open, from whatever goroutine.
func (d *Direct) resolver(short func(error)) *net.Resolver {
	return &net.Resolver{
		PreferGo: d.DNS != "",
		Dial: func(ctx context.Context, network, server string) (net.Conn, error) {
			if d.DNS != "" {
				server = d.DNS
			}
			c, err := new(net.Dialer).DialContext(ctx, network, server)
			if err != nil {
				if isShortage(err) {
					short(err)
				}
				return nil, err
			}
			// Without this a lookup that nobody waits for goes on for seconds. The
			// context is that of the one question, and ends with it.
			context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
			return c, nil
		},
	}
}

// isShortage reports whether err is for want of descriptors or memory.
func isShortage(err error) bool {
	for _, e := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// hostsFile looks names up in the system's hosts file alone. Names of one label are not found
// there when asked with the dot that keeps a search list away.
var hostsFile = net.Resolver{
	PreferGo: true,
	Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("only the hosts file is asked")
	},
}

// rooted keeps a search list away from a name.
func (d *Direct) rooted(name string) string {
	if d.DNS == "" || strings.HasSuffix(name, ".") {
		return name
	}
	return name + "."
}
