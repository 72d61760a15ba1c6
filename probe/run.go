package probe

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"hosier/internal/printable"
)

// prober is one run.
type prober struct {
	cfg     Config
	targets targets
	unmet   map[need]string // why a need is not met; those that are met are missing
	seed    string          // tells this run from the others, whose names may be cached

	mu   sync.Mutex
	done int
	last int // the last token
}

// open checks that there is a proxy, and makes the targets ready.
func (p *prober) open(ctx context.Context) error {
	c, err := p.dial(ctx)
	if err != nil {
		return fmt.Errorf("proxy %s: %w", p.cfg.Proxy, err)
	}
	c.Close()
	if p.cfg.Remote == "" {
		p.targets = newLocalTargets(p.cfg.Host)
		return nil
	}
	p.targets, err = dialTargets(ctx, p.cfg.Remote, p.cfg.Timeout)
	return err
}

func (p *prober) dial(ctx context.Context) (net.Conn, error) {
	network, address := "tcp", p.cfg.Proxy
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", path
	}
	d := net.Dialer{Timeout: p.cfg.Timeout}
	d.SetMultipathTCP(false)
	return d.DialContext(ctx, network, address)
}

// token is a word that nothing else in this run has.
func (p *prober) token() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last++
	return fmt.Sprintf("t%s-%d", p.seed, p.last)
}

// runAll keeps the order of checks in its results. Slow checks begin at once and take
// no place among the others: all that they do is wait.
func (p *prober) runAll(ctx context.Context, checks []Check) []Result {
	results := make([]Result, len(checks))
	jobs := make(chan struct{}, p.cfg.Jobs)
	var all sync.WaitGroup
	one := func(i int) {
		defer all.Done()
		results[i] = p.runOne(ctx, checks[i])
		p.tell(len(checks), &results[i])
	}
	for i, c := range checks {
		if c.slow {
			all.Add(1)
			go one(i)
		}
	}
	for i, c := range checks {
		if c.slow {
			continue
		}
		jobs <- struct{}{}
		all.Add(1)
		go func() {
			defer func() { <-jobs }()
			one(i)
		}()
	}
	all.Wait()
	return results
}

func (p *prober) tell(total int, r *Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
	if p.cfg.Progress != nil {
		p.cfg.Progress(p.done, total, r)
	}
}

func (p *prober) runOne(ctx context.Context, c Check) Result {
	for _, n := range c.needs {
		if why := p.unmet[n]; why != "" {
			return Result{Check: c, Outcome: Skipped, Reason: why}
		}
	}
	limit := 4 * p.cfg.Timeout
	if c.slow {
		limit += p.cfg.Patience
	}
	r := p.exchange(ctx, limit, c.run)
	r.Check = c
	if ctx.Err() != nil {
		r.Outcome, r.Reason = Skipped, "the run was interrupted"
	}
	return r
}

// exchange runs f on an exchange of its own. F ends early with a verdict that it throws;
// nothing else is caught.
func (p *prober) exchange(ctx context.Context, limit time.Duration, f func(*Exchange)) (r Result) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	x := &Exchange{p: p, ctx: ctx}
	defer func() {
		thrown := recover()
		x.close()
		v, ok := thrown.(verdict)
		if thrown != nil && !ok {
			panic(thrown)
		}
		r = Result{Outcome: v.outcome, Reason: printable.String(v.reason), Note: printable.String(x.note), Records: x.records, Duration: time.Since(start)}
	}()
	f(x)
	return r
}
