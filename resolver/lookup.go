package resolver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"
)

// familyGrace is how long the addresses of one family are waited for when those of the
// other are there.
const familyGrace = 250 * time.Millisecond

// typesOf returns the records that hold addresses for a network as package net names it.
func typesOf(network string) ([]Type, error) {
	switch network {
	case "ip", "tcp", "udp":
		return []Type{A, AAAA}, nil
	case "ip4", "tcp4", "udp4":
		return []Type{A}, nil
	case "ip6", "tcp6", "udp6":
		return []Type{AAAA}, nil
	}
	return nil, net.UnknownNetworkError(network)
}

// LookupNetIP returns the addresses of a name: for the network "ip" those of both families,
// IPv4 first, and for "ip4" and "ip6" of one. A family whose server is silent is waited for
// 250 ms at most once the other has answered. The slice is the caller's if it holds both
// families, and else must not be changed. The errors are those of [View.Lookup].
func (v View) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	a, err := v.Addresses(ctx, network, host)
	return slices.Clone(a.Addrs), err // the caller may change what it gets, and the cache has it, too
}

// Addresses is [View.LookupNetIP] with all that is known of the answer. Its TTL is the shorter one
// of the two families.
func (v View) Addresses(ctx context.Context, network, host string) (Answer, error) {
	types, err := typesOf(network)
	if err != nil {
		return Answer{}, err
	}
	if len(types) == 1 {
		return v.Lookup(ctx, host, types[0])
	}
	found := make(chan family, len(types))
	for _, typ := range types {
		defer v.Ask(host, typ, func(a Answer, err error) { found <- family{a, typ, err} })()
	}
	var (
		got   [2]family
		grace <-chan time.Time
	)
	for n := range got {
		select {
		case got[n] = <-found:
		case <-grace:
			return got[0].Answer, nil
		case <-ctx.Done():
			return Answer{}, contextError(ctx, host)
		}
		if n == 0 && got[0].NoName {
			return got[0].Answer, got[0].err
		}
		if n == 0 && got[0].err == nil {
			timer := time.NewTimer(familyGrace)
			defer timer.Stop()
			grace = timer.C
		}
	}
	return merge(got[0], got[1])
}

// family is what was found of one family.
type family struct {
	Answer
	typ Type
	err error
}

// merge joins the answers of both families. A failure counts when there is no address at
// all, and then more than an answer that there is none.
func merge(x, y family) (Answer, error) {
	switch {
	case x.err != nil && y.err != nil:
		if isNotFound(x.err) {
			return y.Answer, y.err
		}
		return x.Answer, x.err
	case x.err != nil:
		return y.Answer, nil
	case y.err != nil:
		return x.Answer, nil
	}
	if x.typ != A {
		x, y = y, x
	}
	a := x.Answer
	a.Addrs = append(append(make([]netip.Addr, 0, len(x.Addrs)+len(y.Addrs)), x.Addrs...), y.Addrs...)
	a.TTL = min(x.TTL, y.TTL)
	a.Cached = x.Cached && y.Cached
	return a, nil
}

func isNotFound(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}

// LookupAddr returns the names of an address, without dots at their ends.
func (v View) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		return nil, fmt.Errorf("look up %q: not an IP address", addr)
	}
	if names := v.reverse(ip); len(names) > 0 {
		return names, nil
	}
	a, err := v.Lookup(ctx, reverseName(ip)+".", PTR)
	if dns := (*net.DNSError)(nil); errors.As(err, &dns) {
		dns.Name = addr
	}
	return slices.Clone(a.Names), err
}

// LookupNetIP is [View.LookupNetIP] of the group "".
func (r *Resolver) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return r.For("").LookupNetIP(ctx, network, host)
}

// LookupAddr is [View.LookupAddr] of the group "".
func (r *Resolver) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	return r.For("").LookupAddr(ctx, addr)
}

// Lookup is [View.Lookup] of the group "".
func (r *Resolver) Lookup(ctx context.Context, name string, typ Type) (Answer, error) {
	return r.For("").Lookup(ctx, name, typ)
}
