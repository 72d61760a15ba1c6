package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"hosier/socks"
)

const (
	leastHold = time.Second // how long a way that failed is passed over, doubled each time
	mostHold  = time.Minute
	// proxyTimeout is how long another proxy may take to accept a connection. One that
	// is there answers in far less, and a next one may be waiting for its turn.
	proxyTimeout = 10 * time.Second
)

// Egress is what a [hosier/proxy.Egress] is, by the same methods.
type Egress interface {
	Dial(ctx context.Context, r *socks.Request) (c net.Conn, bound socks.Addr, err error)
	Resolve(ctx context.Context, r *socks.Request) (netip.Addr, error)
	ResolvePTR(ctx context.Context, r *socks.Request) (string, error)
}

// Way is one of the ways out of a [Failover].
type Way struct {
	Name string // for logs
	Egress

	// Ready says at once whether it is worth while to ask; nil is always. A way out
	// that would wait until it can serve should have it.
	Ready func() bool

	// Judged is told after each request until when the way is passed over, the zero time if
	// it works. It must not block. Nil is not told.
	Judged func(until time.Time)
}

// Failover is the way out by the first of its ways that works. Whether one works is
// judged by what it says of itself, a *[socks.ProxyError]: a target that refuses, or that
// a way may not reach, is an answer and not asked for again elsewhere. A way that failed
// is passed over for a second, then two, up to a minute, unless all have.
// No way out is ever asked that is not in the list. It may be used by many goroutines at
// once, and its Ways must not change.
type Failover struct {
	Ways []Way

	mu     sync.Mutex
	health []health // of each way
}

type health struct {
	failures int
	until    time.Time // it is passed over
	err      error     // the last
}

// WayStatus is what is known of a way.
type WayStatus struct {
	Name    string
	Working bool
	Err     error // the last failure, also when it is over; nil if there was none
}

// Dial connects by the first way that works, and notes it as the request's Member. The
// error is that of the last way that was asked.
func (f *Failover) Dial(ctx context.Context, r *socks.Request) (c net.Conn, bound socks.Addr, err error) {
	err = f.try(ctx, r, func(w Way) (err error) {
		c, bound, err = w.Dial(ctx, r)
		return err
	})
	return c, bound, err
}

// Resolve asks the first way that works. Its errors are those of Dial.
func (f *Failover) Resolve(ctx context.Context, r *socks.Request) (ip netip.Addr, err error) {
	err = f.try(ctx, r, func(w Way) (err error) {
		ip, err = w.Resolve(ctx, r)
		return err
	})
	return ip, err
}

// ResolvePTR asks the first way that works. Its errors are those of Dial.
func (f *Failover) ResolvePTR(ctx context.Context, r *socks.Request) (name string, err error) {
	err = f.try(ctx, r, func(w Way) (err error) {
		name, err = w.ResolvePTR(ctx, r)
		return err
	})
	return name, err
}

// Status returns the state of all ways, in their order.
func (f *Failover) Status() []WayStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []WayStatus
	for i, w := range f.Ways {
		h := f.of(i)
		all = append(all, WayStatus{w.Name, h.until.Before(time.Now()) && ready(w), h.err})
	}
	return all
}

func (f *Failover) String() string {
	var names []string
	for _, w := range f.Ways {
		names = append(names, w.Name)
	}
	return strings.Join(names, ",")
}

// try asks the ways in their order, those that are passed over last.
func (f *Failover) try(ctx context.Context, r *socks.Request, ask func(Way) error) error {
	err := errors.New("failover has no ways out")
	for _, i := range f.order() {
		w := f.Ways[i]
		r.Member = ""
		err = ask(w)
		broken := isBroken(ctx, err)
		if err == nil || !isGone(ctx) {
			f.judge(i, broken, err)
		}
		if r.Member = strings.TrimSuffix(w.Name+" "+r.Member, " "); !broken || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// isBroken reports whether err is about the way out. That a client has gone says nothing.
func isBroken(ctx context.Context, err error) bool {
	proxy := (*socks.ProxyError)(nil)
	return errors.As(err, &proxy) && !isGone(ctx)
}

func isGone(ctx context.Context) bool { return errors.Is(context.Cause(ctx), context.Canceled) }

func ready(w Way) bool { return w.Ready == nil || w.Ready() }

// order returns the indexes of the ways, those that work first.
func (f *Failover) order() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	var first, last []int
	for i, w := range f.Ways {
		if f.of(i).until.After(now) || !ready(w) {
			last = append(last, i)
		} else {
			first = append(first, i)
		}
	}
	return append(first, last...)
}

func (f *Failover) judge(i int, broken bool, err error) {
	f.mu.Lock()
	h := f.of(i)
	if broken {
		h.until = time.Now().Add(min(leastHold<<min(h.failures, 10), mostHold))
		h.failures++
		h.err = err
	} else {
		h.failures, h.until = 0, time.Time{}
	}
	until := h.until
	f.mu.Unlock()
	if judged := f.Ways[i].Judged; judged != nil {
		judged(until)
	}
}

// of returns the health of way i. f.mu is held.
func (f *Failover) of(i int) *health {
	if f.health == nil {
		f.health = make([]health, len(f.Ways))
	}
	return &f.health[i]
}
