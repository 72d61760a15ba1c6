package resolver

import (
	"cmp"
	"slices"
	"time"
)

// Stats are counts since a Resolver was made. Questions answered by the hosts file are in
// none of them.
type Stats struct {
	Hits      uint64 // answered from the cache
	Asked     uint64 // asked of servers
	Coalesced uint64 // joined a question that was being asked
	Failures  uint64 // without an answer of any server

	Entries, Bytes int // of the cache, now; Bytes is an estimate

	Servers []ServerStats // that have been asked, by name
}

// ServerStats are the counts of one server.
type ServerStats struct {
	Server    Server
	Questions uint64        // messages sent, repetitions included
	Answers   uint64        // among them also that a name does not exist
	Failures  uint64        // errors, and questions that were given up
	Latency   time.Duration // of all Answers together
}

// Stats returns the counts.
func (r *Resolver) Stats() Stats {
	s := Stats{
		Hits: r.hits.Load(), Asked: r.misses.Load(), Coalesced: r.coalesced.Load(), Failures: r.failures.Load(),
	}
	s.Entries, s.Bytes = r.cache.size()
	r.mu.Lock()
	for _, u := range r.upstreams {
		s.Servers = append(s.Servers, ServerStats{
			u.Server, u.questions.Load(), u.answers.Load(), u.failures.Load(), time.Duration(u.latency.Load()),
		})
	}
	r.mu.Unlock()
	slices.SortFunc(s.Servers, func(a, b ServerStats) int { return cmp.Compare(a.Server.String(), b.Server.String()) })
	return s
}
