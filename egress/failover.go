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
	leastHold = time.Second // how long a failed member is skipped, doubled each time
	mostHold  = time.Minute
	// proxyTimeout bounds connecting to another proxy. One that is there answers in far
	// less, and a next one may be waiting for its turn.
	proxyTimeout = 10 * time.Second
)

// Member is one of the egresses of a [Failover].
type Member struct {
	Name string // for logs
	Egress

	// Ready reports without blocking whether the member can serve; nil means always. A
	// member that would wait until it can serve should have it.
	Ready func() bool

	// Judged is called when a request has shown whether the member works: with the zero
	// time and nil if so, else with the time until which it is skipped and its own
	// failure. It must not block. It may be nil.
	Judged func(until time.Time, err error)
}

// Failover uses the first member that works. Only a *[socks.ProxyError] marks a member as
// failed: a target that refuses, or that a member may not reach, is an answer, and no
// other member is asked. A failed member is skipped for a second, then two, up to a
// minute, unless all have failed; after that one request tries it, while others still
// skip it.
//
// Each member has an equal share of the time that is left until the deadline of the
// context, so one that hangs leaves the others theirs. If a target does not answer within
// the share of a working member, no other member is asked.
//
// A SOCKS proxy that hangs up on RESOLVE or RESOLVE_PTR leads to the next member, but may
// work otherwise, and is not skipped for that.
//
// Only members are ever asked. A Failover may be used by many goroutines at once, and its
// Members must not change.
type Failover struct {
	Members []Member

	mu     sync.Mutex
	health []health // of each member
}

type health struct {
	failures int
	until    time.Time // it is skipped
	trying   bool      // a request tries it after a failure
	err      error     // the last
}

// MemberStatus is the state of a member.
type MemberStatus struct {
	Name    string
	Working bool
	Err     error // the last failure, also when it is over; nil if there was none
}

// Dial connects through the first member that works, and sets the request's Member to its
// name. The error is that of the last member that was asked.
func (f *Failover) Dial(ctx context.Context, r *socks.Request) (c net.Conn, bound socks.Addr, err error) {
	return f.DialInLoop(ctx, nil, r)
}

// DialInLoop implements the interface [InLoop]. It leaves the loop when it comes to a member that
// does not implement it.
func (f *Failover) DialInLoop(ctx context.Context, l Loop, r *socks.Request) (c net.Conn, bound socks.Addr, err error) {
	err = f.try(ctx, r, func(ctx context.Context, w Member) (err error) {
		c, bound, err = dialIn(ctx, l, w.Egress, r)
		return err
	})
	return c, bound, err
}

// Resolve asks the first member that works. Its errors are those of Dial.
func (f *Failover) Resolve(ctx context.Context, r *socks.Request) (ip netip.Addr, err error) {
	err = f.try(ctx, r, func(ctx context.Context, w Member) (err error) {
		ip, err = w.Resolve(ctx, r)
		return err
	})
	return ip, err
}

// ResolvePTR asks the first member that works. Its errors are those of Dial.
func (f *Failover) ResolvePTR(ctx context.Context, r *socks.Request) (name string, err error) {
	err = f.try(ctx, r, func(ctx context.Context, w Member) (err error) {
		name, err = w.ResolvePTR(ctx, r)
		return err
	})
	return name, err
}

// Status returns the state of all members, in their order.
func (f *Failover) Status() []MemberStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []MemberStatus
	for i, w := range f.Members {
		h := f.of(i)
		all = append(all, MemberStatus{w.Name, h.until.Before(time.Now()) && ready(w), h.err})
	}
	return all
}

func (f *Failover) String() string {
	var names []string
	for _, w := range f.Members {
		names = append(names, w.Name)
	}
	return strings.Join(names, ",")
}

// Attempts returns the number of members: a request may need as many connect timeouts.
func (f *Failover) Attempts() int { return len(f.Members) }

// try asks the members in order, skipped ones last.
func (f *Failover) try(ctx context.Context, r *socks.Request, ask func(context.Context, Member) error) error {
	err := errors.New("failover has no members")
	asked := make([]bool, len(f.Members))
	for left := len(f.Members); left > 0; left-- {
		i := f.choose(asked)
		asked[i] = true
		r.Member = ""
		err = f.attempt(ctx, i, left, ask)
		if len(f.Members) > 1 {
			r.Member = strings.TrimSuffix(f.Members[i].Name+" "+r.Member, " ")
		}
		if !leadsOn(err) || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// attempt asks member i and judges it by the result, but not after a panic.
func (f *Failover) attempt(ctx context.Context, i, left int, ask func(context.Context, Member) error) (err error) {
	attempt, cancel := share(ctx, left)
	defer cancel()
	v := nothing
	defer func() { f.judge(i, v, err) }()
	err = ask(attempt, f.Members[i])
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

// leadsOn reports whether err is a reason to ask the next member.
func leadsOn(err error) bool {
	silent := (*hungUpError)(nil)
	return isBroken(err) || errors.As(err, &silent)
}

// verdict is what a request has shown about a member.
type verdict int8

const (
	nothing verdict = iota
	works
	fails
)

// verdictOf judges a member by the error of one attempt of the request of ctx. A client
// that has gone shows nothing, and neither does a refusal before anything was asked.
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

func ready(w Member) bool { return w.Ready == nil || w.Ready() }

// choose returns the first member that works and was not asked, or else the first that was
// not asked. One that failed before is tried by one request alone.
func (f *Failover) choose(asked []bool) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, chosen := time.Now(), -1
	for i, w := range f.Members {
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
	if judged := f.Members[i].Judged; judged != nil && v != nothing {
		judged(until, err)
	}
}

// of returns the health of member i.
func (f *Failover) of(i int) *health {
	if f.health == nil {
		f.health = make([]health, len(f.Members))
	}
	return &f.health[i]
}
