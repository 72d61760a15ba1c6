// Package resolver implements a stub resolver with a cache (RFC 1035), and connects by name.
//
// A [Resolver] asks DNS servers over UDP, TCP (RFC 7766), TLS (RFC 7858) or HTTPS (RFC 8484),
// reads the hosts file, and remembers what was answered for as long as the answer holds (RFC
// 2308, RFC 9520). Requests for one name that come together are one question. It does what
// getaddrinfo(3) of a host without further modules does; multicast DNS and the modules of
// nsswitch.conf(5) it does not have. It does not validate DNSSEC.
//
// A [Dialer] connects to a name's addresses, raced as RFC 8305 describes.
//
//	r := &resolver.Resolver{}                // the system's servers and hosts file
//	defer r.Close()
//	addrs, err := r.LookupNetIP(ctx, "ip", "www.example.org")
//	conn, err := resolver.Dialer{Lookup: r}.Dial(ctx, "tcp", "www.example.org", 443)
//
// # Errors
//
// A lookup that fails is a *net.DNSError, as of package net: IsNotFound is set if the name, or
// a record of the type asked for, does not exist; IsTimeout if no server answered in time or
// the context ended, whose error it wraps; IsTemporary for a server's failure. Its Server is
// the one that was asked last; of several that failed, Err has what each said. It wraps a
// [ServerError]. An error that is no *net.DNSError is of this side: [ErrBusy],
// net.ErrClosed after Close, errors.ErrUnsupported, or a syscall.Errno such as EMFILE.
package resolver

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	maxFlights  = 4096             // questions that are being asked at once
	askLimit    = 10 * time.Second // for one question, all servers and attempts together
	staleServed = 30 * time.Second // RFC 8767 section 5: TTL of a stale answer
	staleAfter  = 1800 * time.Millisecond
)

// Resolver is a stub resolver with a cache. The zero value asks the servers of resolv.conf. A
// Resolver may be used by many goroutines at once; its fields must not change, and it must not
// be copied, once it is used. It keeps sockets, connections and goroutines for some seconds
// after the last question; [Resolver.Close] ends them at once.
//
// It is bounded: 10,000 entries or 8 MiB of cache, 4,096 questions that are being asked, 48
// sockets and 4 connections for each server. A question, with all its repetitions, takes at
// most 10 s.
type Resolver struct {
	// Servers are asked in this order, the next as well when one does not answer within
	// 300 ms; a single one is asked again then, or after twice the time that it lately took.
	// One that was silent is asked last for 30 s. Names are then asked as they are,
	// without a search list. Empty: the system's, with its search list and options.
	// resolv.conf is read again when it changes.
	Servers []Server

	// NoHosts leaves the hosts file out. It is read again when it changes; one of more
	// than 64 KiB beside the lookups, which use what was read before until then.
	NoHosts bool

	// Stale is how long past its time an answer may serve while no server answers (RFC
	// 8767). 0: not at all.
	Stale time.Duration

	// MixCase sends letters in random case, and takes only answers that repeat it. It
	// makes forgery harder, but some servers do not repeat it.
	MixCase bool

	// RootCAs verify the certificates of servers; nil: the system's.
	RootCAs *x509.CertPool

	// Dial opens the connections to servers; network is "udp" or "tcp", address an IP
	// address with a port. For "udp" it must not wait. Nil: this host's network.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Sockets bounds the descriptors that wait for one server over UDP; 0: 48. Questions
	// share them. Each has a random source port (RFC 5452), used for 64 questions or 5 s.
	Sockets int

	resolvConf, hostsPath string // for tests; empty: the system's

	cache  cache
	hosts  watched[hosts]
	system watched[system]

	mu        sync.Mutex
	closed    bool
	upstreams map[Server]*upstream
	retired   map[*upstream]*time.Timer // of a resolv.conf of before; what waits may still be answered
	flights   map[key]*flight           // that others may join
	open      map[*flight]struct{}      // all of them

	hits, misses, coalesced, failures atomic.Uint64
	turn                              atomic.Uint32 // of options rotate
}

// View is a [Resolver] as one group of clients sees it: a cached answer shows that somebody
// asked for the name lately, so groups share none. [Resolver.For] and [Resolver.Uncached] make
// one; the zero View panics. It holds nothing, can be copied, and may be used by many
// goroutines at once.
type View struct {
	r       *Resolver
	group   string
	noCache bool
}

// For returns the view of the group of that name. Clients of one group share answers, and the
// questions that are being asked.
func (r *Resolver) For(group string) View { return View{r: r, group: group} }

// Uncached returns the view of clients that share nothing: each lookup is a question of its
// own, whose answer is not remembered. The hosts file counts all the same.
func (r *Resolver) Uncached() View { return View{r: r, noCache: true} }

// Answer is what is known of a name.
type Answer struct {
	Name   string       // that was asked for, in lower case
	Addrs  []netip.Addr // of A and AAAA; must not be changed
	Names  []string     // of PTR, without the dot at their ends; must not be changed
	TTL    time.Duration
	Server string // that answered, or "hosts file" and the like
	Cached bool
	NoName bool // the name has no records of any type (NXDOMAIN)
}

// flight is a question that is being asked, and what waits for its answer.
type flight struct {
	key
	ask *exchange

	// of r.mu
	waiters map[*waiter]struct{}
	keep    bool // the answer is remembered
	stale   *entry
	timer   *time.Timer // for the stale answer
	late    bool        // the stale answer is given to all that come
}

type waiter struct{ done func(*entry, bool) }

// Lookup returns the records of one type: [A], [AAAA] or [PTR]; of others errors.ErrUnsupported.
// When ctx ends the lookup does, but the question is asked to its end, and its answer remembered.
// Errors are those of the package's description.
func (v View) Lookup(ctx context.Context, name string, typ Type) (Answer, error) {
	return wait(ctx, name, func(done func(Answer, error)) func() { return v.Ask(name, typ, done) })
}

func contextError(ctx context.Context, name string) error {
	err := context.Cause(ctx)
	return &net.DNSError{
		UnwrapErr: err, Err: err.Error(), Name: name,
		IsTimeout: errors.Is(err, context.DeadlineExceeded),
	}
}

// Ask is [View.Lookup] without waiting: it calls done once, perhaps before it returns, and from
// any goroutine. done must not wait. After cancel it is perhaps not called. cancel may be called
// more than once.
func (v View) Ask(name string, typ Type, done func(Answer, error)) (cancel func()) {
	none := func() {}
	if typ != A && typ != AAAA && typ != PTR {
		done(Answer{}, fmt.Errorf("lookup %s: records of type %v: %w", name, typ, errors.ErrUnsupported))
		return none
	}
	if a, err, known := v.local(name, typ); known {
		done(a, err)
		return none
	}
	names := v.r.candidates(name)
	if len(names) == 0 {
		done(Answer{}, notFound(name, "", "not a name that DNS can hold"))
		return none
	}
	if len(names) == 1 {
		return v.ask(question{name: names[0], typ: typ}, func(e *entry, cached bool) { done(e.answer(name, cached)) })
	}
	s := &searchList{View: v, name: name, typ: typ, rest: names, done: done}
	s.next()
	return s.cancel
}

// answer is what e says to somebody who asked for name.
func (e *entry) answer(name string, cached bool) (Answer, error) {
	a := Answer{Name: e.name, Server: e.server, Cached: cached, TTL: max(0, time.Until(e.expires))}
	switch {
	case isOurs(e.err):
		return a, fmt.Errorf("lookup %s: %w", name, e.err)
	case e.err != nil:
		return a, &net.DNSError{
			UnwrapErr: &ServerError{e.server, e.err}, Err: e.err.Error(), Name: name, Server: e.server,
			IsTimeout: errors.Is(e.err, errTimeout), IsTemporary: true,
		}
	case e.noName:
		a.NoName = true
		return a, notFound(name, e.server, "no such host")
	case e.empty():
		return a, notFound(name, e.server, "no "+strings.TrimPrefix(e.typ.String(), "Type")+" record")
	}
	a.Addrs, a.Names = e.addrs, e.names
	return a, nil
}

// isOurs reports whether err says nothing of a name or a server: this host is short of
// something, or the Resolver closed.
func isOurs(err error) bool {
	for _, e := range []error{
		ErrBusy, net.ErrClosed, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// notFound is the error for a name of which the server says why it has nothing; "" is no server.
func notFound(name, server, why string) error {
	err := &net.DNSError{Err: why, Name: name, Server: server, IsNotFound: true}
	if server != "" {
		err.UnwrapErr = &ServerError{server, errors.New(why)}
	}
	return err
}

// ServerError is wrapped by the errors of lookups that were a server's to answer, for those who
// must not show names, but may show which server failed.
type ServerError struct {
	Server string // as [Server.String] has it, or "hosts file" and the like
	Err    error  // what the server said, such as an [RCodeError], or how it could not be asked
}

func (e *ServerError) Error() string { return e.Server + ": " + e.Err.Error() }
func (e *ServerError) Unwrap() error { return e.Err }

// ask calls done with the entry for q: of the cache, or when a server has answered.
func (v View) ask(q question, done func(e *entry, cached bool)) (cancel func()) {
	k := key{q, v.group}
	var stale *entry
	if !v.noCache {
		now := time.Now()
		e := v.r.cache.get(k)
		if e != nil && now.Before(e.expires) {
			v.r.hits.Add(1)
			done(e, true)
			return func() {}
		}
		if e != nil && e.err == nil && now.Before(e.fresh.Add(v.r.Stale)) {
			stale = e
		}
	}
	return v.r.join(k, stale, !v.noCache, done)
}

// join waits for the question that is being asked already, or asks it.
func (r *Resolver) join(k key, stale *entry, share bool, done func(*entry, bool)) (cancel func()) {
	w := &waiter{done}
	servers, limit := r.servers()
	r.mu.Lock()
	f := r.flights[k]
	var refusal error
	switch {
	case r.closed:
		refusal = net.ErrClosed
	case share && f != nil:
		r.coalesced.Add(1)
		if f.late {
			r.mu.Unlock()
			done(f.stale, true)
			return func() {}
		}
		f.waiters[w] = struct{}{}
		r.mu.Unlock()
		return func() { r.leave(f, w) }
	case len(r.open) >= maxFlights:
		refusal = ErrBusy
	}
	if refusal != nil {
		r.mu.Unlock()
		done(&entry{key: k, err: refusal, expires: time.Now()}, false)
		return func() {}
	}
	r.misses.Add(1)
	f = &flight{key: k, keep: share, waiters: map[*waiter]struct{}{w: {}}, stale: stale, ask: r.exchange(k.question, servers, limit)}
	f.ask.done = func(found records, s *upstream, err error) { r.land(f, found, s, err) }
	if r.flights == nil {
		r.flights = make(map[key]*flight)
		r.open = make(map[*flight]struct{})
	}
	r.open[f] = struct{}{}
	if share {
		r.flights[k] = f
	}
	if stale != nil {
		f.timer = time.AfterFunc(staleAfter, func() { r.serve(f, stale, true) })
	}
	r.mu.Unlock()
	f.ask.start()
	return func() { r.leave(f, w) }
}

func (r *Resolver) leave(f *flight, w *waiter) {
	r.mu.Lock()
	delete(f.waiters, w)
	r.mu.Unlock()
}

// serve gives e, which is old or the outcome of f, to all that wait for f.
func (r *Resolver) serve(f *flight, e *entry, old bool) {
	r.mu.Lock()
	waiters := f.waiters
	f.waiters, f.late = make(map[*waiter]struct{}), old
	r.mu.Unlock()
	for w := range waiters {
		w.done(e, old)
	}
}

// land ends a flight: its outcome is remembered and handed out.
func (r *Resolver) land(f *flight, found records, s *upstream, err error) {
	now, old := time.Now(), false
	e := &entry{key: f.key, records: found, err: err, server: s.String(), expires: now.Add(found.ttl)}
	e.fresh = e.expires
	if err != nil {
		r.failures.Add(1)
		if !isOurs(err) {
			e.expires = now.Add(failureTTL)
		}
		if f.stale != nil && now.Before(f.stale.fresh.Add(r.Stale)) {
			e, old = f.stale.until(now.Add(min(staleServed, f.stale.fresh.Add(r.Stale).Sub(now)))), true
		}
	}
	r.mu.Lock()
	if f.keep && now.Before(e.expires) && !r.closed {
		r.cache.put(e) // with r.mu held: nothing of before a Flush comes after it
	}
	delete(r.open, f)
	if r.flights[f.key] == f {
		delete(r.flights, f.key)
	}
	if f.timer != nil {
		f.timer.Stop()
	}
	r.mu.Unlock()
	r.serve(f, e, old)
}

// servers returns those to ask, and the time that they have together.
func (r *Resolver) servers() ([]Server, time.Duration) {
	if len(r.Servers) > 0 {
		return r.Servers, askLimit
	}
	s := r.systemView()
	servers := s.servers
	if n := len(servers); s.rotate && n > 1 {
		first := int(r.turn.Add(1)) % n
		servers = append(slices.Clone(servers[first:]), servers[:first]...)
	}
	return servers, min(askLimit, s.timeout*time.Duration(s.attempts))
}

// exchange is called with r.mu held. A server that is named twice is asked as one: it would
// fail once, and the question would wait for the other.
func (r *Resolver) exchange(q question, servers []Server, limit time.Duration) *exchange {
	x := &exchange{question: q, mixCase: r.MixCase, limit: limit}
	var muted []*upstream
	for i, s := range servers {
		u := r.upstream(s)
		switch {
		case slices.Contains(servers[:i], s):
		case u.silent():
			muted = append(muted, u)
		default:
			x.servers = append(x.servers, u)
		}
	}
	x.servers = append(x.servers, muted...)
	return x
}

// upstream is called with r.mu held.
func (r *Resolver) upstream(s Server) *upstream {
	if u := r.upstreams[s]; u != nil {
		return u
	}
	u := &upstream{Server: s, transport: r.transport(s)}
	if r.upstreams == nil {
		r.upstreams = make(map[Server]*upstream)
	}
	r.upstreams[s] = u
	return u
}

func (r *Resolver) transport(s Server) transport {
	dial := r.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	config := &tls.Config{
		ServerName: s.certificateName(), RootCAs: r.RootCAs, MinVersion: tls.VersionTLS12,
		ClientSessionCache: tls.NewLRUClientSessionCache(4),
	}
	switch s.Transport {
	case TCP:
		return &streamTransport{server: s, dial: dial}
	case TLS:
		return &streamTransport{server: s, dial: dial, tls: config}
	case HTTPS:
		return newHTTPS(s, dial, config)
	}
	return &udpTransport{server: s, dial: dial, max: cmp.Or(r.Sockets, maxSockets), tcp: &streamTransport{server: s, dial: dial}}
}

// Flush empties the cache and returns the number of answers that it held. Questions that are
// being asked get their answers, which are not remembered.
func (r *Resolver) Flush() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.forget()
}

// forget is called with r.mu held.
func (r *Resolver) forget() int {
	for f := range r.open {
		f.keep = false
	}
	clear(r.flights)
	return r.cache.flush()
}

// retire is called with r.mu held when resolv.conf has changed: other servers may know other
// names, so that nothing of before counts. What waits may still be answered.
func (r *Resolver) retire() {
	r.forget()
	if r.retired == nil {
		r.retired = make(map[*upstream]*time.Timer)
	}
	for _, u := range r.upstreams {
		r.retired[u] = time.AfterFunc(askLimit, func() {
			r.mu.Lock()
			delete(r.retired, u)
			r.mu.Unlock()
			u.close()
		})
	}
	clear(r.upstreams)
}

// Close closes the connections to servers. Questions that are being asked, and those that come
// later, fail with net.ErrClosed; a cached answer may still be given. Close waits for nothing,
// may be called more than once, and returns nil.
func (r *Resolver) Close() error {
	r.mu.Lock()
	r.closed = true
	all, open := slices.Collect(maps.Values(r.upstreams)), slices.Collect(maps.Keys(r.open))
	for u, timer := range r.retired {
		timer.Stop()
		all = append(all, u)
	}
	r.upstreams, r.retired = nil, nil
	r.forget()
	r.mu.Unlock()
	for _, f := range open {
		f.ask.end(records{}, f.ask.servers[0], net.ErrClosed)
	}
	for _, u := range all {
		u.close()
	}
	return nil
}
