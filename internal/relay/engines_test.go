package relay

// portableSuites lists what runs on goroutines everywhere.
func portableSuites() []suite {
	return []suite{
		{"goroutines", newPortable, tcpNetwork()},
		{"goroutines", newPortable, unixNetwork()},
		{"goroutines", newPortable, tlsNetwork()},
	}
}

// newPortable returns an engine that has goroutines for every kind of connection.
func newPortable() *Engine { return &Engine{portable: true} }
