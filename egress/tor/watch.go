package tor

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// pollPause is how often tor is asked though it tells of changes unasked: so that one
	// which has stopped without hanging up is noticed.
	pollPause = 15 * time.Second

	leastRetry = 250 * time.Millisecond // between two tries of a control port
	mostRetry  = 5 * time.Second
)

// Run watches the control ports of the members and runs the daemons, until ctx ends; then
// it ends the daemons and returns. Requests that only a daemon could have served fail from
// then on. Where there is neither, Run returns at once. It must be called at most once.
func (p *Pool) Run(ctx context.Context) {
	p.init()
	defer context.AfterFunc(ctx, func() { p.stop(context.Cause(ctx)) })()
	var all sync.WaitGroup
	for _, m := range p.all {
		switch {
		case m.Daemon != nil:
			all.Go(func() { p.runDaemon(ctx, m) })
		case m.Control != "":
			all.Go(func() { p.watchAttached(ctx, m) })
		}
	}
	all.Wait()
}

// stop wakes those that wait for a daemon.
func (p *Pool) stop(why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = why
	p.announce()
}

// watchAttached keeps in touch with a tor that somebody else runs.
func (p *Pool) watchAttached(ctx context.Context, m *member) {
	retry := backoff{least: leastRetry, most: mostRetry}
	told := ""
	for {
		worked, err := p.watch(ctx, m)
		if ctx.Err() != nil {
			return
		}
		p.update(m, func(h *health) {
			h.fail(err.Error())
			if worked { // the rest of tor has most likely gone with it
				h.takeOut(err.Error())
			}
		})
		if text := err.Error(); text != told { // the same again is no news
			told = text
			p.log.Warn("tor's control port does not tell how it is", "tor", m.String(), "error", err)
		}
		if worked {
			told = ""
			retry.reset()
		}
		if !retry.wait(ctx) {
			return
		}
	}
}

// watch keeps what is known of a member up to date by its control port, until that fails
// or ctx ends. It tells whether the port answered before.
func (p *Pool) watch(ctx context.Context, m *member) (worked bool, err error) {
	c, err := dialControl(ctx, m.Control, m.Password, func(line string) { p.event(m, line) })
	if err != nil {
		return false, err
	}
	defer func() {
		c.close()
		p.update(m, func(h *health) { h.lose(m.Daemon != nil) })
	}()
	if m.Daemon != nil { // it ends when this connection does
		if _, err := c.ask(ctx, "TAKEOWNERSHIP"); err != nil {
			return false, err
		}
	}
	if _, err := c.ask(ctx, "SETEVENTS STATUS_CLIENT"); err != nil {
		return false, err
	}
	poll := time.NewTicker(pollPause)
	defer poll.Stop()
	for {
		if err := p.poll(ctx, m, c); err != nil {
			return worked, err
		}
		worked = true
		select {
		case <-poll.C:
		case <-c.done:
			return true, c.err
		case <-ctx.Done():
			return true, context.Cause(ctx)
		}
	}
}

// poll asks how tor is.
func (p *Pool) poll(ctx context.Context, m *member, c *control) error {
	info, err := c.getInfo(ctx, "version", "status/bootstrap-phase", "status/circuit-established")
	if err != nil {
		return err
	}
	v, ok := parseVersion(info[0])
	if !ok {
		return fmt.Errorf("version %.40q is not one of tor", info[0])
	}
	p.update(m, func(h *health) {
		h.control, h.version = c, v
		h.bootstrapped(info[1])
		h.established(info[2] == "1", "tor cannot build circuits")
	})
	return nil
}

// event takes in what tor tells unasked: STATUS_CLIENT, a severity, what, and words.
func (p *Pool) event(m *member, line string) {
	rest, ok := strings.CutPrefix(line, "STATUS_CLIENT ")
	if !ok {
		return
	}
	_, rest, _ = strings.Cut(rest, " ")
	what, words, _ := strings.Cut(rest, " ")
	p.update(m, func(h *health) {
		switch what {
		case "BOOTSTRAP":
			h.bootstrapped(words)
			if text := keywords(words)["WARNING"]; text != "" {
				h.fail("bootstrap: " + text)
			}
		case "CIRCUIT_ESTABLISHED":
			h.established(true, "")
		case "CIRCUIT_NOT_ESTABLISHED":
			h.established(false, "tor cannot build circuits: "+keywords(words)["REASON"])
		}
	})
}

// bootstrapped takes in a line such as
// NOTICE BOOTSTRAP PROGRESS=100 TAG=done SUMMARY="Done".
func (h *health) bootstrapped(line string) {
	word := keywords(line)
	if n, err := strconv.Atoi(word["PROGRESS"]); err == nil {
		h.bootstrap, h.phase = min(max(n, 0), 100), word["SUMMARY"]
	}
}

// lose forgets what the control port told.
func (h *health) lose(daemon bool) {
	h.control, h.bootstrap, h.phase, h.circuits = nil, -1, "", unknown
	if daemon { // then nothing is known of it that would make it fit to be asked
		h.bootstrap = 0
	}
}

// established takes in whether tor can build circuits. That it still can is no news, and
// so does not make up for dials that fail.
func (h *health) established(can bool, why string) {
	before := h.circuits
	switch {
	case can:
		if h.circuits = yes; before != yes {
			h.bringIn()
		}
	case h.bootstrap < 100: // of course
		h.circuits = unknown
	default:
		if h.circuits = no; before != no {
			h.takeOut(why)
		}
	}
}

// backoff is a pause that doubles each time. The zero value starts with the least.
type backoff struct{ least, most, next time.Duration }

func (b *backoff) reset() { b.next = 0 }

// longer returns the next pause.
func (b *backoff) longer() time.Duration {
	b.next = min(max(2*b.next, b.least), b.most)
	return b.next
}

// wait returns false when ctx ends.
func (b *backoff) wait(ctx context.Context) bool {
	select {
	case <-time.After(b.longer()):
		return true
	case <-ctx.Done():
		return false
	}
}
