package egress

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"hosier/socks"
)

// directTimeout bounds one connection attempt. A host that is there answers in far
// less; one that is not shall not hold a client for the two minutes that a kernel tries.
const directTimeout = 30 * time.Second

// Direct is the way out by this host's own network: it looks names up, and connects.
// Where a name has several addresses they are raced (RFC 8305, as net.Dialer does it).
// The zero value is ready. A Direct may be used by many goroutines at once, and must
// not change meanwhile.
type Direct struct {
	// DNS is the server, ip:port, that is asked instead of the system's. Names are then
	// asked exactly as the client gave them, without the system's search list. The
	// system's hosts file counts nevertheless.
	DNS string

	// Allow judges each address before it is connected to, and each that a lookup
	// answers or is about. Its error is the request's. It must not wait. Nil allows all.
	Allow func(r *socks.Request, ip netip.Addr) error
}

// Dial connects to the target. The bound address is the connection's own.
func (d *Direct) Dial(ctx context.Context, r *socks.Request) (net.Conn, socks.Addr, error) {
	if err := refuseOnion(r.Addr); err != nil {
		return nil, socks.Addr{}, err
	}
	dialer := net.Dialer{Timeout: directTimeout, Resolver: d.resolver()}
	// Nobody wins anything by MPTCP to an arbitrary server, and its sockets cannot be spliced.
	dialer.SetMultipathTCP(false)
	if d.Allow != nil {
		dialer.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(address)
			if err != nil {
				return fmt.Errorf("address to dial: %w", err)
			}
			return d.Allow(r, ap.Addr().Unmap())
		}
	}
	network := "tcp"
	if r.Version == socks.V4 {
		network = "tcp4" // an IPv6 bound address could not even be told
	}
	c, err := dialer.DialContext(ctx, network, d.target(r.Addr))
	if err != nil {
		return nil, socks.Addr{}, err
	}
	local, _ := c.LocalAddr().(*net.TCPAddr)
	return c, socks.AddrFrom(local.AddrPort()), nil
}

// Plain says that nothing but to connect is to be done for an address, once Allow has.
func (d *Direct) Plain(r *socks.Request) (to netip.AddrPort, limit time.Duration, err error) {
	ip := r.Addr.IP.Unmap()
	if !ip.IsValid() || ip.Zone() != "" || r.Version == socks.V4 && !ip.Is4() {
		return to, 0, nil
	}
	return netip.AddrPortFrom(ip, r.Addr.Port), directTimeout, d.allow(r, ip)
}

// Resolve looks the name up: its IPv4 address if it has one, else, not for SOCKS4, its
// IPv6 address. An address is its own answer.
func (d *Direct) Resolve(ctx context.Context, r *socks.Request) (netip.Addr, error) {
	if err := refuseOnion(r.Addr); err != nil {
		return netip.Addr{}, err
	}
	if r.Addr.IP.IsValid() {
		return r.Addr.IP, nil
	}
	network := "ip"
	if r.Version == socks.V4 {
		network = "ip4"
	}
	all, err := d.resolver().LookupNetIP(ctx, network, d.rooted(r.Addr.Name))
	if err != nil {
		return netip.Addr{}, err
	}
	best := all[0].Unmap()
	for _, ip := range all {
		if ip = ip.Unmap(); ip.Is4() {
			best = ip
			break
		}
	}
	return best, d.allow(r, best)
}

// ResolvePTR looks the name of the address up, in the form that a RESOLVE takes:
// without the dot at its end.
func (d *Direct) ResolvePTR(ctx context.Context, r *socks.Request) (string, error) {
	ip := r.Addr.IP.Unmap()
	if err := d.allow(r, ip); err != nil {
		return "", err
	}
	names, err := d.resolver().LookupAddr(ctx, ip.String())
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

func (d *Direct) resolver() *net.Resolver {
	return &net.Resolver{
		PreferGo: d.DNS != "",
		Dial: func(ctx context.Context, network, server string) (net.Conn, error) {
			if d.DNS != "" {
				server = d.DNS
			}
			c, err := new(net.Dialer).DialContext(ctx, network, server)
			if err == nil {
				// Without this a lookup that nobody waits for goes on for seconds. The
				// context is that of the one question, and ends with it.
				context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
			}
			return c, err
		},
	}
}

// rooted keeps a search list away from a name.
func (d *Direct) rooted(name string) string {
	if d.DNS == "" || strings.HasSuffix(name, ".") {
		return name
	}
	return name + "."
}

func (d *Direct) target(a socks.Addr) string {
	if a.Name != "" {
		a.Name = d.rooted(a.Name)
	}
	return a.String()
}
