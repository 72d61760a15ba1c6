package main

const (
	// spareDescriptors are for everything else: listeners, event loops, logs, the admin.
	spareDescriptors = 64
	leastLookups     = 32
	mostLookups      = 4096 // some 60 KiB each
)

// shares divides the descriptors, of which limit may be open, into connections and lookups under
// way; asked is max-conns, 0 for as many as there is room for. A connection takes two, and one
// more while its name is looked up: the client's, and one each for the questions for IPv4 and
// IPv6. So a DNS server that does not answer holds up lookups, and takes nothing that
// connections were promised.
func shares(limit, asked int) (conns, lookups int) {
	limit = max(limit-spareDescriptors, 2*spareDescriptors)
	if asked > 0 {
		return asked, min(max(limit-2*asked, leastLookups), mostLookups)
	}
	lookups = min(max(limit/64, leastLookups), mostLookups)
	return (limit - lookups) / 2, lookups
}
