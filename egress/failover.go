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

// Way is one of the ways out of a [Failover].
type Way struct {
	Name string // for logs
	Egress

	// Ready says at once whether it is worth while to ask; nil is always. A way out
	// that would wait until it can serve should have it.
	Ready func() bool

	// Judged is called when a request has shown whether the way works: with the zero time
	// and nil if so, else with the end of the time for which it is passed over and its own
	// failure. It must not block. Nil is not called.
	Judged func(until time.Time, err error)
}

// Failover is the way out by the first of its ways that works. Whether one works is
// judged by what it says of itself, a *[socks.ProxyError]: a target that refuses, or that
// a way may not reach, is an answer and not asked for again elsewhere. A way that failed
// is passed over for a second, then two, up to a minute, unless all have; after that one
// request tries it, while others pass it over.
//
// Each way has an equal share of the time that is left until the deadline of the
// context, so one that hangs leaves the others theirs. A target that did not answer
// within the share of a way that works is not asked for elsewhere.
//
// A SOCKS proxy that hangs up on RESOLVE or RESOLVE_PTR leads to the next way, but may
// work otherwise, and is not passed over for that.
//
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
	trying   bool      // a request tries it after a failure
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
	return f.DialInLoop(ctx, nil, r)
}

// DialInLoop implements the interface [InLoop]. It leaves the loop when it comes to a way that
// does not implement it.
func (f *Failover) DialInLoop(ctx context.Context, l Loop, r *socks.Request) (c net.Conn, bound socks.Addr, err error) {
	err = f.try(ctx, r, func(ctx context.Context, w Way) (err error) {
		c, bound, err = dialIn(ctx, l, w.Egress, r)
		return err
	})
	return c, bound, err
}

// Resolve asks the first way that works. Its errors are those of Dial.
func (f *Failover) Resolve(ctx context.Context, r *socks.Request) (ip netip.Addr, err error) {
	err = f.try(ctx, r, func(ctx context.Context, w Way) (err error) {
		ip, err = w.Resolve(ctx, r)
		return err
	})
	return ip, err
}

// ResolvePTR asks the first way that works. Its errors are those of Dial.
func (f *Failover) ResolvePTR(ctx context.Context, r *socks.Request) (name string, err error) {
	err = f.try(ctx, r, func(ctx context.Context, w Way) (err error) {
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

// Attempts returns how many ways there are: so many connect timeouts a request may need.
func (f *Failover) Attempts() int { return len(f.Ways) }

// try asks the ways in their order, those that are passed over last.
func (f *Failover) try(ctx context.Context, r *socks.Request, ask func(context.Context, Way) error) error {
	err := errors.New("failover has no ways out")
	asked := make([]bool, len(f.Ways))
	for left := len(f.Ways); left > 0; left-- {
		i := f.choose(asked)
		asked[i] = true
		r.Member = ""
		err = f.attempt(ctx, i, left, ask)
		if len(f.Ways) > 1 {
			r.Member = strings.TrimSuffix(f.Ways[i].Name+" "+r.Member, " ")
		}
		if !leadsOn(err) || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// attempt asks way i, which is judged by what becomes of that, and not at all by a panic.
func (f *Failover) attempt(ctx context.Context, i, left int, ask func(context.Context, Way) error) (err error) {
	attempt, cancel := share(ctx, left)
	defer cancel()
	v := nothing
	defer func() { f.judge(i, v, err) }()
	err = ask(attempt, f.Ways[i])
	v = verdictOf(ctx, attempt, err)
	return err
}

// share returns ctx with the first of n equal parts of the time that it has left.
func share(ctx context.Context, n int) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok || n < 2 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, time.Until(end)/time.Duration(n))
}

// leadsOn reports whether err of one way is a reason to ask the next.
func leadsOn(err error) bool {
	silent := (*hungUpError)(nil)
	return isBroken(err) || errors.As(err, &silent)
}

// verdict is what a request has shown of a way.
type verdict int8

const (
	nothing verdict = iota
	works
	fails
)

// verdictOf judges by the error of one attempt of the request of ctx. That a client has
// gone shows nothing, and neither does what a way refuses without asking anybody.
func verdictOf(ctx, attempt context.Context, err error) verdict {
	switch {
	case err == nil, isAnswer(err):
		return works
	case isGone(ctx):
		return nothing
	case isBroken(err):
		return fails
	case attempt.Err() != nil, leadsOn(err), errors.Is(err, errors.ErrUnsupported), errors.Is(err, errOnion):
		return nothing
	}
	if format := (*socks.FormatError)(nil); errors.As(err, &format) {
		return nothing
	}
	return works
}

func isGone(ctx context.Context) bool { return errors.Is(context.Cause(ctx), context.Canceled) }

func ready(w Way) bool { return w.Ready == nil || w.Ready() }

// choose returns the first way that works and was not asked, or else the first that was
// not asked. One that failed before is tried by one request alone.
func (f *Failover) choose(asked []bool) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, chosen := time.Now(), -1
	for i, w := range f.Ways {
		if asked[i] {
			continue
		}
		h := f.of(i)
		if !h.until.After(now) && !h.trying && ready(w) {
			chosen = i
			break
		}
		if chosen < 0 {
			chosen = i
		}
	}
	h := f.of(chosen)
	h.trying = h.failures > 0
	return chosen
}

func (f *Failover) judge(i int, v verdict, err error) {
	f.mu.Lock()
	h := f.of(i)
	h.trying = false
	switch v {
	case fails:
		h.until = time.Now().Add(min(leastHold<<min(h.failures, 10), mostHold))
		h.failures++
		h.err = err
	case works:
		h.failures, h.until, err = 0, time.Time{}, nil
	}
	until := h.until
	f.mu.Unlock()
	if judged := f.Ways[i].Judged; judged != nil && v != nothing {
		judged(until, err)
	}
}

// of returns the health of way i. f.mu is held.
func (f *Failover) of(i int) *health {
	if f.health == nil {
		f.health = make([]health, len(f.Ways))
	}
	return &f.health[i]
}
