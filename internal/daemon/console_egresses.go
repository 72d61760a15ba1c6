package daemon

import (
	"context"
	"sync"

	"hosier/egress/tor"
	"hosier/internal/console"
)

// consoleEgresses are the egresses of the configuration in force. All tors are asked at
// once, as long as ctx lasts.
func (d *Daemon) consoleEgresses(ctx context.Context) []console.Egress {
	g := d.current.Load()
	all := make([]console.Egress, len(g.config.Egresses))
	var group sync.WaitGroup
	for i, c := range g.config.Egresses {
		x := g.egresses[c.Name]
		all[i] = console.Egress{Name: c.Name, Via: c.Via.String(), Kind: c.Via.Kind().String(), Ready: x.ready(), Open: x.inUse()}
		if x.pool == nil {
			continue
		}
		group.Go(func() { all[i].Tors = consoleTors(ctx, x.pool) })
	}
	group.Wait()
	return all
}

// consoleTors are the members of a pool.
func consoleTors(ctx context.Context, p *tor.Pool) []console.Tor {
	var circuits []tor.Circuits
	var group sync.WaitGroup
	group.Go(func() { circuits = p.Circuits(ctx) })
	status := p.Status(ctx)
	group.Wait()
	all := make([]console.Tor, len(status))
	for i, s := range status {
		all[i] = console.Tor{Status: s, Ready: s.State == tor.Ready, OpenCircuits: circuits[i].Open, MoreCircuits: circuits[i].More}
	}
	return all
}
