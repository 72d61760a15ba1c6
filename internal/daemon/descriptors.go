package daemon

const (
	// spareDescriptors are reserved for everything else: listeners, event loops, logs,
	// the admin listener.
	spareDescriptors = 64
	leastSockets     = 4
	mostSockets      = 48
	dnsServers       = 3 // reckoned with; resolv.conf has no more
)

// shares divides the descriptors, of which limit may be open, into connections and the sockets
// that wait for one DNS server; asked is max-conns, 0 for as many as there is room for. A
// connection takes two: the client's and the target's. Lookups share sockets, so a DNS server
// that does not answer takes nothing that connections were promised.
func shares(limit, asked int) (conns, sockets int) {
	limit = max(limit-spareDescriptors, 2*spareDescriptors)
	sockets = min(max(limit/256, leastSockets), mostSockets)
	if asked > 0 {
		return asked, sockets
	}
	return (limit - dnsServers*sockets) / 2, sockets
}
