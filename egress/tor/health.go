package tor

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"hosier/socks"
)

const (
	brokenLimit = 3                // requests in a row that tor itself failed take it out
	missedLimit = 8                // so many targets, none of them reached in time, likewise
	slowFailure = 10 * time.Second // a general failure after less is a verdict on the target

	slowGreeting = 2 * time.Second // no answer to the greeting in that time, if there is no more, is tor's failure

	// One that is out is tried with a request of its own keys after a pause, which
	// doubles as long as that fails.
	leastPause = time.Second
	mostPause  = 30 * time.Second

	warnPause = 10 * time.Second // between two lines that no tor is ready

	longWait  = 15 * time.Second // a request that has waited so long is worth a line
	waitPause = time.Minute      // between two of those
)

// member is a Member at work.
type member struct {
	Member
	slots  slots
	health health // guarded by the pool's mu
}

// health is what is known of a member.
type health struct {
	gone      bool // a daemon of ours that does not run
	version   version
	bootstrap int    // percent; -1 if unknown
	phase     string // of the bootstrap, in tor's words
	circuits  answer // whether tor can build them
	control   *control
	pid       int
	starts    int // of a daemon of ours

	out    bool      // what it is asked, fails
	again  time.Time // when a request may try all the same
	pause  backoff
	trying bool // one does
	broken int
	missed map[string]bool

	err   string
	errAt time.Time
}

// answer is what a control port says to a question, if it does.
type answer int8

const (
	unknown answer = iota
	no
	yes
)

func newMember(m Member, dials int) *member {
	if dials == 0 {
		dials = defaultDials
	}
	return &member{
		Member: m,
		slots:  slots{most: dials, keys: map[string]*slot{}},
		health: health{gone: m.Daemon != nil, bootstrap: -1, pause: backoff{least: leastPause, most: mostPause}, missed: map[string]bool{}},
	}
}

// State is what a member is good for.
type State string

// The states.
const (
	Ready    State = "ready"    // it serves its keys; as far as is known, without a control port
	Starting State = "starting" // it bootstraps
	Out      State = "out"      // it runs, but does not get through; others serve its keys
	Down     State = "down"     // a daemon of the pool that does not run
)

func (h *health) state() State {
	switch {
	case h.gone:
		return Down
	case h.bootstrap >= 0 && h.bootstrap < 100:
		return Starting
	case h.out:
		return Out
	}
	return Ready
}

// takeOut keeps requests away for a pause. The pool's mu is held, here and below.
func (h *health) takeOut(why string) {
	h.fail(why)
	h.out, h.trying = true, false
	h.again = time.Now().Add(h.pause.longer())
}

func (h *health) bringIn() {
	h.out, h.trying, h.broken = false, false, 0
	h.pause.reset()
	clear(h.missed)
}

func (h *health) fail(why string) { h.err, h.errAt = why, time.Now() }

// ranked puts the members in the order in which the key prefers them. A member that goes
// away leaves the order of the others as it was, so only its own keys move
// (rendezvous hashing).
func ranked(all []*member, token string) []*member {
	if len(all) == 1 {
		return all
	}
	type scored struct {
		score uint64
		*member
	}
	list := make([]scored, len(all))
	for i, m := range all {
		sum := sha256.Sum256([]byte(token + "\x00" + m.String()))
		list[i] = scored{binary.BigEndian.Uint64(sum[:]), m}
	}
	slices.SortFunc(list, func(a, b scored) int {
		if a.score != b.score {
			return map[bool]int{true: -1, false: 1}[a.score > b.score]
		}
		return strings.Compare(a.String(), b.String())
	})
	order := make([]*member, len(all))
	for i, s := range list {
		order[i] = s.member
	}
	return order
}

// choose returns the member to ask, nil if all were tried. It waits while there is none
// but daemons of ours that are not ready, until ctx ends, and calls leave before it does.
func (p *Pool) choose(ctx context.Context, leave func(), order []*member, tried map[*member]bool) (*member, error) {
	var long *time.Timer
	for {
		p.mu.Lock()
		m, wait := pick(order, tried)
		changed, stopped := p.changed, p.stopped
		p.mu.Unlock()
		if !wait {
			return m, nil
		}
		if stopped != nil {
			return nil, &socks.ProxyError{Proxy: p.String(), Err: stopped}
		}
		if long == nil {
			long = time.AfterFunc(longWait, p.warnWaiting)
			defer long.Stop()
		}
		leave()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, p.notReady(ctx)
		}
	}
}

// pick returns the first that is ready or may be tried; else the first that is at least
// there, since a tor that idles may need a request to build circuits again.
func pick(order []*member, tried map[*member]bool) (m *member, wait bool) {
	var spare *member
	for _, m := range order {
		h := &m.health
		state := h.state()
		switch {
		case tried[m]:
		case state == Ready:
			return m, false
		case state == Out && !h.trying && time.Now().After(h.again):
			h.trying = true
			return m, false
		case state == Down, state == Starting && m.Daemon != nil:
			wait = true
		case spare == nil:
			spare = m
		}
	}
	return spare, spare == nil && wait
}

// notReady is the error of a request that waited in vain for a tor.
func (p *Pool) notReady(ctx context.Context) error {
	text, log := p.excuse(&p.warned, warnPause)
	if log {
		p.log.Warn("no tor is ready, so requests fail", "why", text)
	}
	return &socks.ProxyError{Proxy: p.String(), Err: fmt.Errorf("no tor is ready (%s): %w", text, context.Cause(ctx))}
}

// warnWaiting logs that requests wait for a tor, which a person may take for a hang.
func (p *Pool) warnWaiting() {
	if text, log := p.excuse(&p.waiting, waitPause); log {
		p.log.Warn("no tor is ready yet, so requests wait", "why", text)
	}
}

// excuse returns how all members are, and whether the last time that it was logged is
// over for as long as pause; if so it is now.
func (p *Pool) excuse(last *time.Time, pause time.Duration) (text string, log bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var why []string
	for _, m := range p.all {
		why = append(why, fmt.Sprintf("%v: %s", m, m.health.describe()))
	}
	if log = time.Since(*last) >= pause; log {
		*last = time.Now()
	}
	return strings.Join(why, "; "), log
}

func (h *health) describe() string {
	text := string(h.state())
	if h.state() == Starting {
		text = fmt.Sprintf("bootstrapped %d%% (%s)", h.bootstrap, h.phase)
	}
	if h.err != "" {
		text += ", last error: " + h.err
	}
	return text
}

// abandon ends a request that came to nothing before it reached m.
func (p *Pool) abandon(m *member) {
	p.mu.Lock()
	m.health.trying = false
	p.mu.Unlock()
}

// judge draws from what a request met with what the member is good for.
func (p *Pool) judge(m *member, r *socks.Request, met met) {
	p.update(m, func(h *health) {
		h.trying = false
		switch {
		case met.err == nil:
			h.bringIn()
		case met.silent():
			h.takeOut(met.err.Error())
		case met.over && (!met.connected || met.took < slowFailure): // tor had no chance
		case !met.connected:
			h.takeOut(met.err.Error())
		case isProxyError(met.err):
			if h.broken++; h.out || h.broken >= brokenLimit {
				h.takeOut(met.err.Error())
			}
		case !met.missed():
			h.bringIn() // that much of an answer came through Tor
		default:
			h.missed[r.Addr.Host()] = true
			if h.out || len(h.missed) >= missedLimit {
				h.takeOut(fmt.Sprintf("none of %d targets was reached in time", len(h.missed)))
				clear(h.missed)
			}
		}
	})
}

func isProxyError(err error) bool {
	proxy := (*socks.ProxyError)(nil)
	return errors.As(err, &proxy)
}

// unasked reports whether tor failed before it got the request.
func (m met) unasked() bool {
	proxy := (*socks.ProxyError)(nil)
	return errors.As(m.err, &proxy) && !proxy.Asked
}

// silent reports whether tor did not even answer the greeting, in its own time or in enough
// of the request's.
func (m met) silent() bool {
	return m.connected && m.unasked() && m.took >= slowGreeting &&
		(errors.Is(m.err, os.ErrDeadlineExceeded) || errors.Is(m.err, context.DeadlineExceeded))
}

// missed reports whether the failure is what a tor that gets nowhere would tell.
func (m met) missed() bool {
	return m.over || errors.Is(m.err, socks.TTLExpired) ||
		errors.Is(m.err, socks.GeneralFailure) && m.took >= slowFailure
}

// update changes what is known of a member, wakes the requests that wait for that and
// tells who wants to know.
func (p *Pool) update(m *member, change func(*health)) {
	type visible struct {
		state     State
		bootstrap int
		phase     string
		circuits  answer
		version   version
		pid       int
	}
	look := func(h *health) visible {
		return visible{h.state(), h.bootstrap, h.phase, h.circuits, h.version, h.pid}
	}
	p.mu.Lock()
	before := look(&m.health)
	change(&m.health)
	after := look(&m.health)
	if before == after {
		p.mu.Unlock()
		return
	}
	p.announce()
	reason, stopped := m.health.err, p.stopped != nil
	p.mu.Unlock()
	if before.state != after.state {
		m.slots.cool()
	}
	if before.state != after.state && !stopped {
		p.logState(m, after.state, reason)
	}
	if p.Changed != nil {
		p.telling.Lock()
		defer p.telling.Unlock()
		p.Changed(p.status(m))
	}
}

// announce wakes the requests that wait for a change. p.mu is held.
func (p *Pool) announce() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Pool) logState(m *member, s State, reason string) {
	switch s {
	case Out, Down:
		p.log.Warn("tor is "+string(s), "tor", m.String(), "reason", reason)
	case Ready:
		p.log.Info("tor is ready", "tor", m.String())
	}
}
