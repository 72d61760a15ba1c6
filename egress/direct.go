package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"hosier/resolver"
	"hosier/socks"
)

// directTimeout bounds a lookup, and connecting to what it found. A host that is
// there answers in far less; one that is not shall not hold a client for the two minutes that
// a kernel tries.
const directTimeout = 30 * time.Second

// Errors that [Direct] wraps beside a [socks.Status], for what it does not connect to.
var (
	// ErrUnspecified is about 0.0.0.0/8 and ::.
	ErrUnspecified = errors.New("address stands for no host, as DNS filters answer for names that they block")
	// ErrNotPublic is about an address that [PublicOnly] refuses.
	ErrNotPublic = errors.New("address is not public")
)

// Direct is the [Egress] that connects from this host, and resolves names here. Where a name
// has several addresses they are raced (RFC 8305). It never connects to 0.0.0.0/8 or ::, which
// the kernel would take for this host: DNS filters answer so for names that they block. A
// lookup has 30 s at most, and so has connecting. The zero value is ready, and connects wherever this host can,
// itself and its LAN included: see [PublicOnly]. A Direct may be used by many goroutines at
// once, and must not change or be copied meanwhile.
type Direct struct {
	// Resolver looks names up, and is its owner's to close. A *[resolver.Resolver] or a
	// [resolver.View] does so without a goroutine for each request. Nil is a
	// *resolver.Resolver of its own, which asks the system's servers.
	Resolver Resolver

	// Group returns the name of the group whose cached answers the client of r may share
	// ([resolver.Resolver.For]): an answer that comes at once shows that somebody asked
	// before. It is called where Resolver is nil or a *resolver.Resolver; nil is one group
	// for all.
	Group func(r *socks.Request) string

	// Allow judges each address before it is connected to, and each that a lookup
	// answers or is about, before Allow of the request does. Its error is the request's, if no
	// address is left. It must neither wait nor panic: it may be called from any goroutine. Nil
	// allows all.
	Allow func(r *socks.Request, ip netip.Addr) error

	own    resolver.Resolver
	worked resolver.Memory
}

// Resolver looks up addresses and names. *[resolver.Resolver], [resolver.View] and
// *[net.Resolver] implement it.
type Resolver interface {
	// LookupNetIP returns the addresses of a name; network is "ip", "ip4" or "ip6".
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	// LookupAddr returns the names of an address.
	LookupAddr(ctx context.Context, addr string) (names []string, err error)
}

// Dial connects to the target. The bound address is the connection's own.
func (d *Direct) Dial(ctx context.Context, r *socks.Request) (net.Conn, socks.Addr, error) {
	if err := refuseOnion(r.Addr); err != nil {
		return nil, socks.Addr{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, directTimeout)
	defer cancel()
	c, err := d.dial(ctx, r)
	if err != nil {
		return nil, socks.Addr{}, err
	}
	local, _ := c.LocalAddr().(*net.TCPAddr)
	return c, socks.AddrFrom(local.AddrPort()), nil
}

func (d *Direct) dial(ctx context.Context, r *socks.Request) (net.Conn, error) {
	ip := r.Addr.IP.Unmap()
	switch {
	case !ip.IsValid():
		return d.dialer(r).Dial(ctx, network(r), r.Addr.Name, r.Addr.Port)
	case r.Version == socks.V4 && !ip.Is4():
		return nil, &net.AddrError{Err: "SOCKS4 has no IPv6", Addr: ip.String()}
	}
	if err := d.judge(r, ip); err != nil {
		return nil, err
	}
	return resolver.Connect(ctx, network(r), netip.AddrPortFrom(ip, r.Addr.Port))
}

// dialer is what connects to a name for r.
func (d *Direct) dialer(r *socks.Request) resolver.Dialer {
	return resolver.Dialer{
		Lookup: d.names(r), Memory: &d.worked,
		Allow: func(ip netip.Addr) error { return d.judge(r, ip) },
	}
}

// names is what looks names up for r.
func (d *Direct) names(r *socks.Request) Resolver {
	own := &d.own
	switch given := d.Resolver.(type) {
	case nil:
	case *resolver.Resolver:
		own = given
	default: // a resolver.View among them
		return given
	}
	if d.Group == nil {
		return own.For("")
	}
	return own.For(d.Group(r))
}

// network is that of connections for r. SOCKS4 cannot use IPv6: not even the bound address
// could be put into its reply.
func network(r *socks.Request) string {
	if r.Version == socks.V4 {
		return "tcp4"
	}
	return "tcp"
}

// Plain implements the interface [Plain]: it returns what Dial, Resolve and ResolvePTR would do,
// where that is to connect to one address or to answer with one, and where the event loop can
// have a name looked up without a goroutine.
func (d *Direct) Plain(r *socks.Request) (Step, error) {
	isIP := r.Addr.IP.IsValid()
	switch {
	case r.Command == socks.ResolvePTR && isIP:
		return d.plainPTR(r)
	case r.Command != socks.Connect && r.Command != socks.Resolve:
		return Step{}, nil
	case r.Addr.IsOnion():
		return Step{}, refuseOnion(r.Addr)
	case r.Command == socks.Resolve && isIP:
		return Step{Answer: socks.Addr{IP: r.Addr.IP}}, nil
	case r.Command == socks.Resolve:
		return d.plainResolve(r)
	case isIP:
		ip := r.Addr.IP.Unmap()
		if ip.Zone() != "" || r.Version == socks.V4 && !ip.Is4() {
			return Step{}, nil
		}
		return Step{To: netip.AddrPortFrom(ip, r.Addr.Port), Limit: directTimeout}, d.judge(r, ip)
	}
	dialer := d.dialer(r)
	if _, ok := dialer.Lookup.(resolver.View); !ok {
		return Step{}, nil
	}
	if t, err, known := dialer.Cached(network(r), r.Addr.Name); known {
		return step(t, r.Addr.Port), err
	}
	return Step{Limit: directTimeout, Find: func(ready func(Step, error)) (cancel func()) {
		return dialer.Find(network(r), r.Addr.Name, func(t resolver.Targets, err error) {
			ready(step(t, r.Addr.Port), err)
		})
	}}, nil
}

// plainResolve is Plain of a RESOLVE. What is cached is found before Find returns.
func (d *Direct) plainResolve(r *socks.Request) (Step, error) {
	v, ok := d.names(r).(resolver.View)
	if !ok {
		return Step{}, nil
	}
	return Step{Limit: directTimeout, Find: func(ready func(Step, error)) (cancel func()) {
		return v.AskAddresses(families(r), r.Addr.Name, func(a resolver.Answer, err error) {
			var s Step
			if err == nil {
				s.Answer.IP, err = d.choose(r, a.Addrs)
			}
			ready(s, err)
		})
	}}, nil
}

// plainPTR is Plain of a RESOLVE_PTR.
func (d *Direct) plainPTR(r *socks.Request) (Step, error) {
	v, ok := d.names(r).(resolver.View)
	if !ok {
		return Step{}, nil
	}
	ip := r.Addr.IP.Unmap()
	if err := d.allow(r, ip); err != nil {
		return Step{}, err
	}
	return Step{Limit: directTimeout, Find: func(ready func(Step, error)) (cancel func()) {
		return v.AskNames(ip, func(a resolver.Answer, err error) {
			var s Step
			if err == nil {
				s.Answer.Name = unrooted(a.Names[0])
			}
			ready(s, err)
		})
	}}, nil
}

// step is to connect to the first of the targets. Where there are others it has the time that
// RFC 8305 gives one attempt before the next.
func step(t resolver.Targets, port uint16) Step {
	s := Step{To: netip.AddrPortFrom(t.First, port), Limit: directTimeout, More: t.More}
	if t.More {
		s.Limit = resolver.AttemptDelay
	}
	return s
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
	all, err := d.names(r).LookupNetIP(ctx, families(r), r.Addr.Name)
	if err != nil {
		return netip.Addr{}, err
	}
	return d.choose(r, all)
}

// families is the network of the addresses that a RESOLVE may be answered with.
func families(r *socks.Request) string {
	if r.Version == socks.V4 {
		return "ip4"
	}
	return "ip"
}

// choose returns which of the addresses of a name answers a RESOLVE.
func (d *Direct) choose(r *socks.Request, all []netip.Addr) (first netip.Addr, err error) {
	for _, ip := range all {
		ip = ip.Unmap()
		switch refusal := d.allow(r, ip); {
		case refusal != nil && err == nil:
			err = refusal
		case refusal != nil:
		case ip.Is4():
			return ip, nil
		case !first.IsValid():
			first = ip
		}
	}
	if first.IsValid() {
		err = nil
	}
	return first, err
}

// ResolvePTR looks the name of the address up, in the form that a RESOLVE takes:
// without the dot at its end.
func (d *Direct) ResolvePTR(ctx context.Context, r *socks.Request) (string, error) {
	ip := r.Addr.IP.Unmap()
	if err := d.allow(r, ip); err != nil {
		return "", err
	}
	names, err := d.names(r).LookupAddr(ctx, ip.String())
	if err != nil {
		return "", err
	}
	return unrooted(names[0]), nil
}

// unrooted returns a name without the dot at its end.
func unrooted(name string) string { return strings.TrimSuffix(name, ".") }

func (d *Direct) String() string { return "direct" }

func (d *Direct) allow(r *socks.Request, ip netip.Addr) error {
	if d.Allow != nil {
		if err := d.Allow(r, ip); err != nil {
			return err
		}
	}
	if r.Allow == nil {
		return nil
	}
	return r.Allow(ip)
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
