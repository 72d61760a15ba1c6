package resolver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
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
	return wait(ctx, host, func(done func(Answer, error)) func() { return v.AskAddresses(network, host, done) })
}

// AskAddresses is [View.Addresses] without waiting, as [View.Ask] is [View.Lookup].
func (v View) AskAddresses(network, host string, done func(Answer, error)) (cancel func()) {
	types, err := typesOf(network)
	if err != nil {
		done(Answer{}, err)
		return func() {}
	}
	if len(types) == 1 {
		return v.Ask(host, types[0], done)
	}
	p := &pair{done: done}
	var cancels [2]func()
	for i, typ := range types {
		cancels[i] = v.Ask(host, typ, func(a Answer, err error) { p.found(family{a, typ, err}) })
	}
	return func() {
		p.cancel()
		for _, cancel := range cancels {
			cancel()
		}
	}
}

// wait calls begin, and blocks until that calls done or ctx ends.
func wait[T any](ctx context.Context, name string, begin func(done func(T, error)) (cancel func())) (T, error) {
	type outcome struct {
		found T
		err   error
	}
	ch := make(chan outcome, 1)
	cancel := begin(func(found T, err error) { ch <- outcome{found, err} })
	select {
	case o := <-ch:
		return o.found, o.err
	case <-ctx.Done():
		cancel()
		var none T
		return none, contextError(ctx, name)
	}
}

// pair waits for both families of a name.
type pair struct {
	done func(Answer, error)

	mu    sync.Mutex
	got   []family
	grace *time.Timer // for the second, while the first has addresses
	over  bool
}

func (p *pair) found(f family) {
	p.mu.Lock()
	p.got = append(p.got, f)
	if len(p.got) == 1 && !f.settles() {
		if f.err == nil && !p.over {
			p.grace = time.AfterFunc(familyGrace, p.end)
		}
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	p.end()
}

// end reports what there is, the first time it is called.
func (p *pair) end() {
	p.mu.Lock()
	over, got := p.over, p.got
	p.over = true
	if p.grace != nil {
		p.grace.Stop()
	}
	p.mu.Unlock()
	switch {
	case over:
	case len(got) == 1:
		p.done(got[0].Answer, got[0].err)
	default:
		p.done(merge(got[0], got[1]))
	}
}

func (p *pair) cancel() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	if p.grace != nil {
		p.grace.Stop()
	}
}

// family is what was found of one family.
type family struct {
	Answer
	typ Type
	err error
}

// settles reports whether nothing is left to be known of the name: it does not exist. Some
// servers say so of names that have an IPv4 address when they are asked for IPv6 (RFC 4074
// section 4.2), so that the answer about IPv4 alone counts.
func (f family) settles() bool { return f.NoName && f.typ == A }

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
	a, err := wait(ctx, addr, func(done func(Answer, error)) func() { return v.AskNames(ip, done) })
	return slices.Clone(a.Names), err
}

// AskNames looks up the names of an address, of the hosts file if that has some, without
// waiting, as [View.Ask] does.
func (v View) AskNames(ip netip.Addr, done func(Answer, error)) (cancel func()) {
	if names := v.reverse(ip); len(names) > 0 {
		done(Answer{Name: reverseName(ip), Names: names, Server: "hosts file"}, nil)
		return func() {}
	}
	return v.Ask(reverseName(ip)+".", PTR, func(a Answer, err error) {
		if dns := (*net.DNSError)(nil); errors.As(err, &dns) {
			dns.Name = ip.String()
		}
		done(a, err)
	})
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
