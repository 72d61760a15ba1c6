package resolver

import (
	"sync"
	"time"
)

// The bounds of a cache. An entry costs about 250 bytes and its records.
const (
	cacheEntries = 10_000
	cacheBytes   = 8 << 20
	entryCost    = 250
)

// key names an entry of the cache. Clients of different groups do not share one: a cached
// answer shows that somebody asked for the name.
type key struct {
	question
	group string
}

// entry is an answer, or a failure, that is remembered. It does not change once it is in
// the cache.
type entry struct {
	key
	records
	err     error // why there are no records; nil: because the answer says so
	server  string
	expires time.Time
	fresh   time.Time // when it expired, or will, by its TTL; expires is later where it serves stale

	older, newer *entry // by last use
}

// until returns a copy of e that serves until then.
func (e *entry) until(then time.Time) *entry {
	late := *e
	late.older, late.newer = nil, nil
	late.expires = then
	return &late
}

// cost is about what e takes of memory.
func (e *entry) cost() int {
	n := entryCost + len(e.name) + len(e.group) + 24*len(e.addrs) + len(e.wire)
	for _, s := range e.names {
		n += 16 + len(s)
	}
	return n
}

// cache keeps the entries used last, within bounds of number and size. Nothing sweeps it:
// an entry that has expired goes when it is replaced, or when room is needed. The zero
// value is ready, and safe for concurrent use.
type cache struct {
	mu      sync.Mutex
	entries map[key]*entry
	ring    entry // ring.newer is the oldest entry, ring.older the newest
	bytes   int
}

// get returns the entry for k, also one that has expired, or nil.
func (c *cache) get(k key) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[k]
	if e != nil && c.ring.older != e {
		c.unlink(e)
		c.link(e)
	}
	return e
}

// put adds e, in place of the entry with its key, and drops those used longest ago as far
// as that is needed.
func (c *cache) put(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil {
		c.entries = make(map[key]*entry)
		c.ring.older, c.ring.newer = &c.ring, &c.ring
	}
	if old := c.entries[e.key]; old != nil {
		c.remove(old)
	}
	c.entries[e.key] = e
	c.link(e)
	c.bytes += e.cost()
	for len(c.entries) > cacheEntries || c.bytes > cacheBytes && len(c.entries) > 1 {
		c.remove(c.ring.newer)
	}
}

// flush empties the cache, and returns how many entries it had.
func (c *cache) flush() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.entries)
	c.entries, c.bytes, c.ring = nil, 0, entry{}
	return n
}

// size returns the number of entries and about how many bytes they take.
func (c *cache) size() (entries, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.entries), c.bytes
}

func (c *cache) remove(e *entry) {
	delete(c.entries, e.key)
	c.unlink(e)
	c.bytes -= e.cost()
}

// link makes e the entry used last.
func (c *cache) link(e *entry) {
	e.older, e.newer = c.ring.older, &c.ring
	e.older.newer, e.newer.older = e, e
}

func (c *cache) unlink(e *entry) {
	e.older.newer, e.newer.older = e.newer, e.older
	e.older, e.newer = nil, nil
}
