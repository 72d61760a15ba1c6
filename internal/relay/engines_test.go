package relay

// portableSuites lists what runs on goroutines everywhere.
func portableSuites() []suite {
	return []suite{
		{engine: "goroutines", newOne: newPortable, network: tcpNetwork()},
		{engine: "goroutines", newOne: newPortable, network: unixNetwork()},
		{engine: "goroutines", newOne: newPortable, network: tlsNetwork()},
	}
}

// newPortable returns an engine that has goroutines for every kind of connection.
func newPortable() *Engine { return &Engine{portable: true} }

func isHalfCopied(r *Relay) bool {
	c := r.runner.(*copier)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.whole[toServer] || c.whole[toClient]
}
