// Package leaks watches for clients that ask for an address where they could have asked
// for a name: looking that name up revealed the client's target to a DNS server. Tor
// calls it unsafe SOCKS.
//
// A [Watch] judges each request, identifies the program on this host that sent it, and
// reports which setting fixes it. It keeps counts, and no targets.
package leaks

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"hosier/socks"
)

// ErrUnsafe refuses a request with an address where a name was possible.
var ErrUnsafe = errors.New("leaks: the client sent an address where it could have sent a name: it may have looked one up outside the proxy")

// Mode is the treatment of unsafe requests.
type Mode int

// The modes.
const (
	Warn   Mode = iota // logged, at most once an hour for each source, with the fix
	Allow              // counted
	Refuse             // logged as by Warn, and refused
)

const (
	maxEntries   = 1024
	forgetEntry  = 24 * time.Hour
	tellAgain    = time.Hour // of one entry
	lookFor      = 100 * time.Millisecond
	looksASecond = 50 // searches for the programs of requests, while recently found programs match
	looksAtOnce  = 50
	namesASecond = 20 // searches by Program
)

// Watch judges requests. It must come from [New]; its methods may be called by many
// goroutines at once.
type Watch struct {
	log    *slog.Logger
	client func(netip.AddrPort) string

	answers answers
	told    *rate.Limiter // all lines
	accused *rate.Limiter // searches for programs to report
	cleared *rate.Limiter // and to absolve; a limit of its own, or a busy browser would shield others
	named   *rate.Limiter // searches by Program
	lookFor time.Duration // limit of one search; tests change it
	turn    chan struct{} // holds a token during a search
	finder  finder        // guarded by turn

	open    atomic.Int64 // entries of programs that are not absolved
	counted [4]atomic.Uint64

	mu      sync.Mutex
	entries map[culprit]*list.Element
	order   list.List // of *record, the one that was unsafe last at the back
}

// source is a sender of addresses: a program of this host, or another host.
type culprit struct {
	client  netip.Addr // zero: this host
	program string     // "" if it is not known
	uid     int
}

type record struct {
	culprit
	Entry
	cleared bool
	told    time.Time
}

// New returns a Watch that warns to log. The client function formats a client for the
// log; nil leaves clients out.
func New(log *slog.Logger, client func(netip.AddrPort) string) *Watch {
	return &Watch{
		log: log, client: client,
		told:    rate.NewLimiter(rate.Every(5*time.Second), 10),
		accused: rate.NewLimiter(looksASecond, looksAtOnce),
		cleared: rate.NewLimiter(looksASecond, looksAtOnce),
		named:   rate.NewLimiter(namesASecond, namesASecond),
		lookFor: lookFor,
		turn:    make(chan struct{}, 1),
		entries: map[culprit]*list.Element{},
	}
}

// Verdict is the result of [Watch.Judge].
type Verdict struct {
	// Unsafe reports that the request has an address that the client may have looked up.
	Unsafe bool
	// Look reports that [Watch.Look] must be called.
	Look bool
}

// Judge judges a request. Call it once for each. It does not block. The error, in mode
// Refuse, wraps [ErrUnsafe] and socks.NotAllowed.
//
// Only CONNECT with an address in the form of one can be unsafe. It is not if the same
// client got the address as an answer ([Watch.Answered]) before, as programs under
// torsocks do; nor if the address is private or of this host: such addresses are mostly
// typed and reveal little. They are counted separately, and no mode refuses them.
func (w *Watch) Judge(m Mode, r *socks.Request) (Verdict, error) {
	client := clientKey(r.Client.Addr())
	switch {
	case r.Command != socks.Connect:
		return Verdict{}, nil
	case !r.Literal:
		return w.good(m, r), nil
	case isPrivate(r.Addr.IP):
		w.counted[private].Add(1)
		return Verdict{}, nil
	case w.answers.has(client, r.Addr.IP.Unmap(), time.Now()):
		w.counted[answered].Add(1)
		return w.good(m, r), nil
	}
	w.counted[unsafe].Add(1)
	v := Verdict{Unsafe: true}
	if m == Allow {
		return v, nil
	}
	if v.Look = isLocal(r) && w.accused.Allow(); !isLocal(r) {
		w.accuse(culprit{client, "", -1}, program{}, r)
	}
	if m == Refuse {
		w.counted[refused].Add(1)
		return v, fmt.Errorf("%w: %w", ErrUnsafe, socks.NotAllowed)
	}
	return v, nil
}

// judgeSafe judges a request as it should be: its program may have been fixed.
func (w *Watch) good(m Mode, r *socks.Request) Verdict {
	return Verdict{Look: m != Allow && w.open.Load() > 0 && isLocal(r) && w.cleared.Allow()}
}

// Look finds the program of this host that sent the request, and reports or absolves it.
// Call it before the client gets its reply, since the program may end then. It takes
// about a millisecond, and never much more than 100; pid is the program's, if the caller
// knows it from a Unix socket, or else 0.
func (w *Watch) Look(ctx context.Context, v Verdict, r *socks.Request, pid int) {
	p := w.find(ctx, r.Client, proxyEnd(r), pid)
	who := culprit{netip.Addr{}, p.name, p.uid}
	if v.Unsafe {
		w.accuse(who, p, r)
	} else if p.name != "" {
		w.clear(who)
	}
}

// Program returns the program that connected from one loopback address to another,
// without reporting it. If it cannot be found the name is empty: on systems other than
// Linux, without permission to inspect other users' programs, beyond 20 a second, and
// after 100 ms. The name has at most 32 characters, all printable; the program chose it,
// so it may contain markup.
func (w *Watch) Program(ctx context.Context, client, server netip.AddrPort) (name string, pid int) {
	isLoopback := func(a netip.AddrPort) bool { return a.Addr().Unmap().IsLoopback() }
	if !isLoopback(client) || !isLoopback(server) || !w.named.Allow() {
		return "", 0
	}
	p := w.find(ctx, client, server, 0)
	return p.name, p.pid
}

// find returns a program without a name if it cannot be found in time.
func (w *Watch) find(ctx context.Context, client, server netip.AddrPort, pid int) program {
	ctx, cancel := context.WithTimeout(ctx, w.lookFor)
	defer cancel()
	select {
	case w.turn <- struct{}{}:
	case <-ctx.Done():
		return program{uid: -1}
	}
	defer func() { <-w.turn }()
	if pid > 0 {
		return describe(pid)
	}
	return w.finder.find(ctx, client, server)
}

func (w *Watch) accuse(who culprit, p program, r *socks.Request) {
	now := time.Now()
	w.mu.Lock()
	e := w.enter(who, now)
	if e.cleared || e.Unsafe == 0 {
		e.cleared, e.First, e.Unsafe = false, now, 0
		w.count(e, 1)
	}
	e.Unsafe++
	e.Last, e.PID = now, p.pid
	tell := now.Sub(e.told) >= tellAgain && w.told.Allow()
	if tell {
		e.told = now
	}
	entry := e.Entry
	w.mu.Unlock()
	if tell {
		w.tell(entry, r)
	}
}

func (w *Watch) tell(e Entry, r *socks.Request) {
	attrs := []slog.Attr{slog.Uint64("requests", e.Unsafe), slog.String("fix", e.Fix)}
	switch {
	case e.Program != "":
		attrs = append(attrs, slog.String("program", e.Program), slog.Int("pid", e.PID))
	case e.Client == "":
		attrs = append(attrs, slog.String("program", "one of this host"))
	case w.client != nil:
		attrs = append(attrs, slog.String("client", w.client(r.Client)))
	}
	w.log.LogAttrs(context.Background(), slog.LevelWarn, "a client sends addresses in place of names, and may look them up outside the proxy", attrs...)
}

// enter returns the record of a source, a new one if need be. w.mu is held.
func (w *Watch) enter(who culprit, now time.Time) *record {
	w.forget(now)
	if at := w.entries[who]; at != nil {
		w.order.MoveToBack(at)
		return at.Value.(*record)
	}
	for len(w.entries) >= maxEntries {
		w.drop(w.order.Front())
	}
	client := ""
	if who.client.IsValid() {
		client = who.client.String()
	}
	e := &record{culprit: who, Entry: Entry{Client: client, Program: who.program, UID: who.uid, Fix: fixFor(who.program)}}
	w.entries[who] = w.order.PushBack(e)
	return e
}

func (w *Watch) forget(now time.Time) {
	for at := w.order.Front(); at != nil && now.Sub(at.Value.(*record).Last) >= forgetEntry; at = w.order.Front() {
		w.drop(at)
	}
}

func (w *Watch) drop(at *list.Element) {
	e := w.order.Remove(at).(*record)
	delete(w.entries, e.culprit)
	if !e.cleared {
		w.count(e, -1)
	}
}

// count maintains w.open.
func (w *Watch) count(e *record, by int64) {
	if e.program != "" {
		w.open.Add(by)
	}
}

// absolve keeps the record, so that a program that sends both is not logged each time.
func (w *Watch) clear(who culprit) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if at := w.entries[who]; at != nil && !at.Value.(*record).cleared {
		e := at.Value.(*record)
		e.cleared = true
		w.count(e, -1)
	}
}

// Answered records an answer to a client's RESOLVE.
func (w *Watch) Answered(client netip.Addr, ip netip.Addr) {
	w.answers.add(clientKey(client), ip.Unmap(), time.Now())
}

// Entry is a program or a client that sends addresses.
type Entry struct {
	Client  string    `json:"client"`        // of IPv6 the network of 64 bits; "" for this host
	Program string    `json:"program"`       // its name; "" if not known, which is so for other hosts
	PID     int       `json:"pid,omitempty"` // that it had last; 0 if not known
	UID     int       `json:"-"`             // of whom it runs as; -1 if not known
	Unsafe  uint64    `json:"unsafe"`        // requests
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
	Fix     string    `json:"fix"` // which setting to change, for people
}

// Report returns the sources of unsafe requests of the last 24 hours that have not sent a
// name since, the latest first. Names are credited to programs only: another host, or an
// unknown program, stays in the report.
func (w *Watch) Report() []Entry {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forget(time.Now())
	var all []Entry
	for at := w.order.Back(); at != nil; at = at.Prev() {
		if e := at.Value.(*record); !e.cleared {
			all = append(all, e.Entry)
		}
	}
	return all
}

// Counts says how many requests had an address where a name was possible.
type Counts struct {
	Unsafe   uint64 `json:"unsafe"`   // reported, unless the mode was Allow
	Refused  uint64 `json:"refused"`  // of these
	Private  uint64 `json:"private"`  // not reported: addresses of private networks
	Answered uint64 `json:"answered"` // not reported: addresses that this server had answered to the client
}

const (
	unsafe = iota
	refused
	private
	answered
)

// Counts returns the counts so far.
func (w *Watch) Counts() Counts {
	return Counts{
		Unsafe: w.counted[unsafe].Load(), Refused: w.counted[refused].Load(),
		Private: w.counted[private].Load(), Answered: w.counted[answered].Load(),
	}
}
