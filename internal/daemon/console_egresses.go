package daemon

import (
	"context"
	"sync"

	"hosier/egress/tor"
	"hosier/internal/console"
)

// consoleEgresses are the ways out of the configuration in force. All tors are asked at
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
		all[i] = console.Tor{
			Name: s.Name, State: string(s.State), Ready: s.State == tor.Ready, Version: s.Version, Bootstrap: s.Bootstrap, Phase: s.Phase,
			Streams: s.Streams, More: circuits[i].More, Error: s.Error, ErrorTime: s.ErrorTime,
		}
		if circuits[i].Open != nil {
			all[i].Circuits = []console.Circuit{}
		}
		for _, c := range circuits[i].Open {
			all[i].Circuits = append(all[i].Circuits, console.Circuit{ID: c.ID, State: c.State, Purpose: c.Purpose, Path: c.Path})
		}
	}
	return all
}
