package main

import (
	"context"
	"sync"

	"hosier/egress/tor"
	"hosier/internal/console"
)

// consoleEgresses are the ways out of the configuration in force. All tors are asked at
// once, as long as ctx lasts.
func (d *daemon) consoleEgresses(ctx context.Context) []console.Egress {
	g := d.current.Load()
	all := make([]console.Egress, len(g.config.Egresses))
	var group sync.WaitGroup
	for i, c := range g.config.Egresses {
		x := g.exits[c.Name]
		all[i] = console.Egress{Name: c.Name, Via: c.Via.String(), Kind: c.Kind.String(), Ready: x.ready(), Open: x.inUse()}
		if x.pool == nil {
			continue
		}
		group.Go(func() {
			for _, s := range x.pool.Status(ctx) {
				all[i].Tors = append(all[i].Tors, consoleTor(s))
			}
		})
	}
	group.Wait()
	return all
}

func consoleTor(s tor.Status) console.Tor {
	return console.Tor{
		Name: s.Name, State: string(s.State), Ready: s.State == tor.Ready, Version: s.Version, Bootstrap: s.Bootstrap, Phase: s.Phase,
		Streams: s.Streams, Error: s.Error, ErrorTime: s.ErrorTime,
	}
}
