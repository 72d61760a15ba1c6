package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"hosier/socks"
)

// directTimeout bounds one request for a connection, the lookup included. A host that is
// there answers in far less; one that is not shall not hold a client for the two minutes that
// a kernel tries.
const directTimeout = 30 * time.Second

// Why [Direct] does not do what a request asks for. Each stands beside a [socks.Status].
var (
	// ErrUnspecified is about 0.0.0.0/8 and ::.
	ErrUnspecified = errors.New("address stands for no host, as DNS filters answer for names that they block")
	// ErrNotPublic is about an address that [PublicOnly] refuses.
	ErrNotPublic = errors.New("address is not public")
	// ErrLookups is the end of a lookup that never began: no fault of the name's.
	ErrLookups = errors.New("too many lookups are under way")
)

// Direct is the way out by this host's own network: it looks names up, and connects. Where a
// name has several addresses they are raced (RFC 8305). It never connects to 0.0.0.0/8 or
// ::, which the kernel would take for this host: DNS filters answer so for names that they
// block. The zero value is ready. A Direct may be used by many goroutines at once, and must
// not change meanwhile.
type Direct struct {
	// DNS is the server, ip:port, that is asked instead of the system's. Names are then
	// asked exactly as the client gave them, without the system's search list. The
	// system's hosts file counts nevertheless.
	DNS string

	// Allow judges each address before it is connected to, and each that a lookup
	// answers or is about. Its error is the request's, if no address is left. It must not
	// wait. Nil allows all.
	Allow func(r *socks.Request, ip netip.Addr) error

	// Lookups bounds the lookups under way, of all Directs that share the channel: each
	// holds a place in it, and waits up to 10 s for one. Nil does not bound them.
	Lookups chan struct{}
}

// Dial connects to the target. The bound address is the connection's own.
func (d *Direct) Dial(ctx context.Context, r *socks.Request) (net.Conn, socks.Addr, error) {
	if err := refuseOnion(r.Addr); err != nil {
		return nil, socks.Addr{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, directTimeout)
	defer cancel()
	all, err := d.addresses(ctx, r)
	if err != nil {
		return nil, socks.Addr{}, err
	}
	all, err = keep(all, func(ip netip.Addr) error { return d.judge(r, ip) })
	if err != nil {
		return nil, socks.Addr{}, err
	}
	c, err := race(ctx, all, r.Addr.Port)
	if err != nil {
		return nil, socks.Addr{}, err
	}
	local, _ := c.LocalAddr().(*net.TCPAddr)
	return c, socks.AddrFrom(local.AddrPort()), nil
}

// addresses are those of the target, of which SOCKS4 cannot use IPv6: not even the bound
// address could be put into its reply.
func (d *Direct) addresses(ctx context.Context, r *socks.Request) ([]netip.Addr, error) {
	if !r.Addr.IP.IsValid() {
		return d.lookup(ctx, networkOf(r), r.Addr.Name)
	}
	ip := r.Addr.IP.Unmap()
	if r.Version == socks.V4 && !ip.Is4() {
		return nil, &net.AddrError{Err: "SOCKS4 has no IPv6", Addr: ip.String()}
	}
	return []netip.Addr{ip}, nil
}

// networkOf is "ip4" where only IPv4 addresses are of use, and otherwise "ip".
func networkOf(r *socks.Request) string {
	if r.Version == socks.V4 {
		return "ip4"
	}
	return "ip"
}

// Plain says that nothing but to connect is to be done for an address, once Allow has.
func (d *Direct) Plain(r *socks.Request) (to netip.AddrPort, limit time.Duration, err error) {
	ip := r.Addr.IP.Unmap()
	if !ip.IsValid() || ip.Zone() != "" || r.Version == socks.V4 && !ip.Is4() {
		return to, 0, nil
	}
	return netip.AddrPortFrom(ip, r.Addr.Port), directTimeout, d.judge(r, ip)
}

// Resolve looks the name up: its IPv4 address if it has one, else, not for SOCKS4, its
// IPv6 address. An address is its own answer. What the answer is, 0.0.0.0 as well, is the
// client's to judge.
func (d *Direct) Resolve(ctx context.Context, r *socks.Request) (netip.Addr, error) {
	if err := refuseOnion(r.Addr); err != nil {
		return netip.Addr{}, err
	}
	if r.Addr.IP.IsValid() {
		return r.Addr.IP, nil
	}
	all, err := d.lookup(ctx, networkOf(r), r.Addr.Name)
	if err != nil {
		return netip.Addr{}, err
	}
	all, err = keep(all, func(ip netip.Addr) error { return d.allow(r, ip) })
	if err != nil {
		return netip.Addr{}, err
	}
	for _, ip := range all {
		if ip.Is4() {
			return ip, nil
		}
	}
	return all[0], nil
}

// ResolvePTR looks the name of the address up, in the form that a RESOLVE takes:
// without the dot at its end.
func (d *Direct) ResolvePTR(ctx context.Context, r *socks.Request) (string, error) {
	ip := r.Addr.IP.Unmap()
	if err := d.allow(r, ip); err != nil {
		return "", err
	}
	names, err := d.lookupAddr(ctx, ip)
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(names[0], "."), nil
}

func (d *Direct) String() string { return "direct" }

func (d *Direct) allow(r *socks.Request, ip netip.Addr) error {
	if d.Allow == nil {
		return nil
	}
	return d.Allow(r, ip)
}

// thisNetwork is what Linux connects to as if it were 127.0.0.1, where it connects to it at all
// (RFC 1122 section 3.2.1.3: never a destination).
var thisNetwork = netip.MustParsePrefix("0.0.0.0/8")

// judge is whether this host may connect to ip. A refusal by a rule comes first: it says more.
func (d *Direct) judge(r *socks.Request, ip netip.Addr) error {
	if err := d.allow(r, ip); err != nil {
		return err
	}
	if isUnspecified(ip) {
		return fmt.Errorf("%v: %w: %w", ip, ErrUnspecified, socks.HostUnreachable)
	}
	return nil
}

func isUnspecified(ip netip.Addr) bool { return ip.IsUnspecified() || thisNetwork.Contains(ip) }

// keep returns the addresses that are not refused; the error is that of the first if all are.
func keep(all []netip.Addr, judge func(netip.Addr) error) (kept []netip.Addr, err error) {
	for _, ip := range all {
		refusal := judge(ip)
		if refusal == nil {
			kept = append(kept, ip)
		} else if err == nil {
			err = refusal
		}
	}
	if len(kept) > 0 {
		return kept, nil
	}
	return nil, err
}
