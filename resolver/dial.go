package resolver

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"
)

// AttemptDelay is how long one address is tried before the next is tried as well: RFC 8305
// section 5.
const AttemptDelay = 250 * time.Millisecond

const (
	resolutionDelay = 50 * time.Millisecond  // for IPv6, when IPv4 is there: section 3
	hastyDelay      = 150 * time.Millisecond // after hastyAfter attempts that did not connect
	hastyAfter      = 3
	maxAttempts     = 4 // in flight, each with a descriptor
	preferIPv4For   = 10 * time.Minute
)

// A Lookup finds the addresses of a name. *net.Resolver, *Resolver and View are some.
type Lookup interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Dialer connects to the addresses of a name, raced as RFC 8305 describes: both families
// are looked up at once, attempts begin a little after each other, and the first that
// connects is kept. The zero value is ready. A Dialer may be used by many goroutines at
// once, and copied; its fields must not change while it is used.
type Dialer struct {
	Lookup Lookup // nil: net.DefaultResolver

	// Allow judges each address before it is connected to. Its error counts as that of an
	// attempt. It must not wait. Nil allows all.
	Allow func(netip.Addr) error

	// DialAddr connects to one address; network is tcp4 or tcp6. Nil: this host's network.
	DialAddr func(ctx context.Context, network string, addr netip.AddrPort) (net.Conn, error)

	// Memory is where it is remembered which addresses worked; nil: nowhere.
	Memory *Memory
}

// Dial connects over TCP; network is tcp, tcp4 or tcp6. The error is that of the lookup, or
// of the first attempt that failed.
func (d Dialer) Dial(ctx context.Context, network, host string, port uint16) (net.Conn, error) {
	types, err := typesOf(network)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &race{
		Dialer: d, ctx: ctx, host: host, port: port,
		families: make(chan family, len(types)), results: make(chan attempt),
		awaited: len(types),
	}
	for _, typ := range types {
		defer d.find(ctx, host, typ, r.families)()
	}
	return r.run()
}

// find sends what is found of one family.
func (d Dialer) find(ctx context.Context, host string, typ Type, to chan<- family) (cancel func()) {
	lookup, network := d.Lookup, "ip4"
	if typ == AAAA {
		network = "ip6"
	}
	switch lookup.(type) {
	case nil:
		lookup = net.DefaultResolver
	case View, *Resolver: // no goroutine has to wait
		return d.view().Ask(host, typ, func(a Answer, err error) { to <- family{a, typ, err} })
	}
	go func() {
		found, err := lookup.LookupNetIP(ctx, network, host)
		addrs := make([]netip.Addr, 0, len(found)) // net.Resolver has IPv4 addresses in IPv6 form
		for _, ip := range found {
			addrs = append(addrs, ip.Unmap())
		}
		to <- family{Answer{Addrs: addrs}, typ, err}
	}()
	return func() {}
}

// race is one Dial.
type race struct {
	Dialer
	ctx  context.Context
	host string
	port uint16

	families chan family
	awaited  int // families of which nothing is known yet
	lookup   error

	v4, v6  []netip.Addr // not tried yet
	again   []netip.Addr // given up for others before they failed
	next6   bool         // whose turn it is
	next    time.Time    // of the attempt that follows
	begun   int
	tried6  bool
	flying  []flying // the oldest first
	results chan attempt
	failed  error // of the first attempt that failed
}

// flying is an attempt under way.
type flying struct {
	id     int
	addr   netip.Addr
	cancel context.CancelFunc
}

type attempt struct {
	id   int
	addr netip.Addr
	conn net.Conn
	err  error
}

func (r *race) run() (net.Conn, error) {
	r.next6 = !r.Memory.prefersIPv4()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		left := len(r.v4) + len(r.v6)
		if len(r.flying) < maxAttempts {
			left += len(r.again)
		}
		if r.awaited == 0 && left == 0 && len(r.flying) == 0 {
			return nil, r.err()
		}
		var next <-chan time.Time
		if left > 0 {
			timer.Reset(time.Until(r.next))
			next = timer.C
		}
		select {
		case f := <-r.families:
			r.found(f)
		case <-next:
			r.attempt()
		case a := <-r.results:
			if a.err == nil {
				r.won(a.addr)
				return a.conn, nil
			}
			r.lost(a)
		case <-r.ctx.Done():
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: contextError(r.ctx, r.host)}
		}
	}
}

// found takes the addresses of one family, and says when they are tried.
func (r *race) found(f family) {
	r.awaited--
	if f.settles() {
		r.awaited = 0 // whatever the other question would be answered
	}
	best := r.Memory.get(r.host)
	switch {
	case f.err != nil:
		if r.lookup == nil || isNotFound(r.lookup) {
			r.lookup = f.err
		}
	case f.typ == A:
		r.v4 = bestFirst(f.Addrs, best)
	default:
		r.v6 = bestFirst(f.Addrs, best)
	}
	if best.IsValid() && slices.Contains(f.Addrs, best) {
		r.next6 = best.Is6()
	}
	switch preferred := r.next6 == (f.typ == AAAA); {
	case r.begun > 0 && len(r.flying) > 0: // they take their turn
	case r.begun == 0 && r.awaited > 0 && !preferred:
		r.next = time.Now().Add(resolutionDelay) // section 3
	default:
		r.next = time.Now()
	}
}

// bestFirst returns addrs with best at its front, if it is among them.
func bestFirst(addrs []netip.Addr, best netip.Addr) []netip.Addr {
	i := slices.Index(addrs, best)
	if i <= 0 {
		return addrs
	}
	moved := make([]netip.Addr, 0, len(addrs))
	return append(append(append(moved, best), addrs[:i]...), addrs[i+1:]...)
}

// attempt begins the next one.
func (r *race) attempt() {
	list := &r.v4
	switch {
	case len(r.v4)+len(r.v6) == 0:
		list = &r.again
	case r.next6 && len(r.v6) > 0 || len(r.v4) == 0:
		list = &r.v6
	}
	addr := (*list)[0]
	*list = (*list)[1:]
	r.next6 = addr.Is4() // families take turns: section 4
	r.tried6 = r.tried6 || addr.Is6()
	if len(r.flying) == maxAttempts { // the oldest has had the time of some attempts
		r.flying[0].cancel()
		r.again = append(r.again, r.flying[0].addr)
		r.flying = r.flying[1:]
	}
	ctx, cancel := context.WithCancel(r.ctx)
	r.begun++
	id := r.begun
	r.flying = append(r.flying, flying{id, addr, cancel})
	r.next = time.Now().Add(AttemptDelay)
	if r.begun >= hastyAfter {
		r.next = time.Now().Add(hastyDelay)
	}
	go func() {
		conn, err := r.dial(ctx, netip.AddrPortFrom(addr, r.port))
		select {
		case r.results <- attempt{id, addr, conn, err}:
		case <-r.ctx.Done():
			if conn != nil {
				conn.Close()
			}
		}
	}()
}

func (r *race) dial(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	network := "tcp4"
	if addr.Addr().Is6() {
		network = "tcp6"
	}
	if r.Allow != nil {
		if err := r.Allow(addr.Addr()); err != nil {
			return nil, err
		}
	}
	if r.DialAddr != nil {
		return r.DialAddr(ctx, network, addr)
	}
	return Connect(ctx, network, addr)
}

// Connect connects to one address over TCP from this host, as a Dialer without DialAddr does.
func Connect(ctx context.Context, network string, addr netip.AddrPort) (net.Conn, error) {
	var d net.Dialer
	// Nobody wins anything by MPTCP to an arbitrary server, and its sockets cannot be spliced.
	d.SetMultipathTCP(false)
	return d.DialContext(ctx, network, addr.String())
}

func (r *race) lost(a attempt) {
	i := slices.IndexFunc(r.flying, func(f flying) bool { return f.id == a.id })
	if i < 0 {
		return // it was given up for another
	}
	r.flying[i].cancel()
	r.flying = slices.Delete(r.flying, i, i+1)
	if r.failed == nil {
		r.failed = a.err
	}
	r.next = time.Now()
}

// won remembers what a connection to the next client of the name may begin with.
func (r *race) won(addr netip.Addr) {
	if r.begun > 1 {
		r.Memory.put(r.host, addr)
	}
	if addr.Is6() || r.tried6 {
		r.Memory.preferIPv4(addr.Is4())
	}
}

func (r *race) err() error {
	switch {
	case r.failed != nil:
		return r.failed
	case r.lookup != nil:
		return &net.OpError{Op: "dial", Net: "tcp", Err: r.lookup}
	}
	return fmt.Errorf("dial %s: no address connected in time", r.host)
}
